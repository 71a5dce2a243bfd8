"""Rendering of a document into files: tables, figures, the HTML report.  Computes nothing.

files.py      which files a command writes
headlines.py  the few numbers that sum a checkpoint up
html.py       the self-contained HTML report
comparison.py a comparison in words
notebook.py   a report as a notebook shows it
sentences.py  one plain sentence on what a number means for this file
text/         tables for the terminal; grid.py lays them out
words.py      numbers as words
static/, templates/  the page
"""

from cl_analyze.report.files import PAGES, write_report, write_tables_and_figures

__all__ = ["PAGES", "write_report", "write_tables_and_figures"]
