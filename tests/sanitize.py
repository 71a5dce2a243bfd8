"""The compiled kernels under the address and undefined-behaviour sanitizers of the C compiler.

    python -m tests.sanitize [EXAMPLES]

compiles them with both sanitizers and runs all checks of `tests/kernel_checks.py` on tiles of all
kinds and shapes (default: 3 of each), for every instruction set of this processor.  The first fault
ends it with the sanitizer's report and exit code 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cl_analyze.pairs import kernels
from cl_analyze.pairs.kernels import build

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
_LIBRARY = "CL_ANALYZE_SANITIZED"


def _runtime() -> str:
    """Path of the sanitizer's own library, which must be loaded before Python's."""
    command = [*build._compiler(), "-print-file-name=libasan.so"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _checks(path: Path, n_examples: int) -> None:
    """All checks, in the process that has the sanitizers."""
    from tests.kernel_checks import KINDS, SHAPES, TILE_CHECKS, Case, check_merge

    best = kernels.INSTRUCTION_SETS.index(kernels.Library(path).instruction_set)
    for name in kernels.INSTRUCTION_SETS[: best + 1]:
        library = kernels.Library(path, name)
        for seed in range(n_examples):
            check_merge(library, seed)
            for kind in KINDS:
                for shape in SHAPES:
                    for both_sides in (False, True):
                        for labelled in (False, True):
                            for check in TILE_CHECKS:
                                check(library, Case(kind, shape, seed, both_sides, labelled))
        print(f"{name}: no fault", flush=True)


def main() -> int:
    """Compile, and run the checks in a process that loads the sanitizers first."""
    n_examples = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if _LIBRARY in os.environ:
        _checks(Path(os.environ[_LIBRARY]), n_examples)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in build.SOURCES:
            shutil.copy(build.FOLDER / name, folder)
        reason = build.compile_kernels(folder / build.LIBRARY, FLAGS, folder)
        if reason:
            print(reason, file=sys.stderr)
            return 1
        environment = {
            **os.environ,
            _LIBRARY: str(folder / build.LIBRARY),
            "LD_PRELOAD": _runtime(),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "PYTHONMALLOC": "malloc",
        }
        command = [sys.executable, "-m", "tests.sanitize", str(n_examples)]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
