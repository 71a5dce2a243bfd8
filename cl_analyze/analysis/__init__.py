"""From requests to a report.

run.py         prepare, plan, reduce, measure: one checkpoint after the other
collected.py   inputs, records and tables of all of them, on their way into a document
report.py      what an analysis hands out
cost.py        what a long run will take, told before it starts
"""

from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import families, run_analysis, uniform_penalty

__all__ = ["Report", "families", "run_analysis", "uniform_penalty"]
