"""Comparison of several checkpoints.

order.py        the checkpoints, their order (--x) and their reference (--against)
selection.py    the metrics that are asked for: families, and single ones
cache.py        the numbers of a checkpoint in a folder, by the hash of its content
checkpoints.py  warnings about differing checkpoints, and the table of checkpoints
run.py          measure each checkpoint, compare it with the reference, and its movement from there
"""

from cl_analyze.comparison.run import run_comparison

__all__ = ["run_comparison"]
