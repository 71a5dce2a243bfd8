"""Compiles the kernels into this package: `python -m cl_analyze.pairs.kernels`."""

import sys

from cl_analyze.pairs.kernels.build import FOLDER, build_into

try:
    sys.exit(build_into(FOLDER)[1] or 0)
except OSError as error:
    sys.exit(f"{FOLDER} cannot be written: {error.strerror}")
