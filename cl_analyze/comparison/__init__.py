"""Several checkpoints side by side.

order.py        which checkpoints, in which order (--x), with which reference (--against)
cache.py        the numbers of a checkpoint, kept by the hash of its content
checkpoints.py  warnings before checkpoints are compared, and the table of them
run.py          measure each, compare it with the reference, see how its space moved
"""

from cl_analyze.comparison.run import run_comparison

__all__ = ["run_comparison"]
