"""From requests to a report.

run.py         prepares each checkpoint and computes the metrics, one checkpoint after the other
collected.py   collects inputs, records and tables of all checkpoints for the report
report.py      Report, the result of an analysis
drawing.py     its figures, drawn one by one
cost.py        forecast of the time and memory of a long run
"""

from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import families, run_analysis, uniform_penalty

__all__ = ["Report", "families", "run_analysis", "uniform_penalty"]
