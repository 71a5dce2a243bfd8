"""Rendering of a document into files: tables, figures, the HTML report.  Computes nothing.

files.py      which files a command writes
html.py       the self-contained HTML report
summary.py    the first screen of the page: checkpoints, verdicts, ranges in words
row_lists.py  lists of single rows for the page
numbers.py    columns of numbers, and the page's tables of every number
comparison.py a comparison in words
decision.py   the choice of a checkpoint in a few sentences
notebook.py   a report as a notebook shows it
sentences.py  one plain sentence on what a number means for this file
words.py      numbers as words
text/         tables for the terminal
grid.py       how a table for the terminal is laid out
static/, templates/  the page
"""

from cl_analyze.report.files import PAGES, write_report, write_tables_and_figures

__all__ = ["PAGES", "write_report", "write_tables_and_figures"]
