"""Several checkpoints side by side.

order.py    --x: what places a checkpoint along a run
cache.py    what was measured of a checkpoint, kept by the hash of its content
run.py      measure each, compare it with the reference, see how its space moved
"""

from cl_analyze.comparison.run import run_comparison

__all__ = ["run_comparison"]
