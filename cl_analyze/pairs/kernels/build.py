"""Compiles the kernels: when the package is built, or later, into an installed package.

    python -m cl_analyze.pairs.kernels

compiles them beside this file, after a change to their sources or where there was no compiler when
the package was installed.  `hatch_build.py` loads this file by its path, before the package is
installed, so it imports the standard library alone; and what compiling needs only then, for every
start of the tool imports this file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

SOURCES = ("kernels.c", "sweeps.h")
LIBRARY = "_kernels.so"
REASON = "_kernels.txt"
"""Beside the sources where the build made no library: why."""
FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden"),
    # named reductions become vectors, products and sums fuse; no other sum is reordered
    *("-fopenmp-simd", "-ffp-contract=fast", "-fno-trapping-math", "-fno-math-errno"),
)
FOLDER = Path(__file__).parent


def digest(folder: Path) -> str:
    """SHA-256 of the sources in a folder; the library knows that of its own."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()


def _compiler() -> list[str]:
    """The command of the C compiler: of CC, of Python's own build, or one by its usual name."""
    import shlex
    import shutil
    import sysconfig

    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    of_python = shlex.split(sysconfig.get_config_var("CC") or "")[:1]
    return next(([name] for name in (*of_python, "cc", "gcc", "clang") if shutil.which(name)), [])


def compile_kernels(target: Path, flags: Iterable[str] = (), folder: Path = FOLDER) -> str:
    """Compile the kernels into a library.

    Args:
        target: the library's path, replaced whole.
        flags: more flags for the compiler.
        folder: of the sources.

    Returns:
        Why there is no library; empty where there is one.
    """
    import shutil
    import subprocess
    import tempfile

    command = _compiler()
    if not command:
        return "no compiler at build time"
    source = f'-DSOURCE_DIGEST="{digest(folder)}"'
    with tempfile.TemporaryDirectory() as temporary:
        built = Path(temporary) / LIBRARY
        arguments = [*command, *FLAGS, *flags, source, "-o", str(built), str(folder / SOURCES[0])]
        try:
            done = subprocess.run(arguments, capture_output=True, check=False)
        except OSError as error:
            return f"{command[0]} did not run at build time: {error.strerror or error}"
        if done.returncode != 0 or not built.exists():
            said = done.stderr.decode(errors="replace").strip()
            lines = (said or f"exit code {done.returncode}").splitlines()
            wrong = next((line for line in lines if "error" in line), lines[-1])
            return f"{command[0]} failed at build time: {wrong}"
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copyfile(built, beside)
        beside.replace(target)  # processes that use the old library keep it
    return ""


def build_into(folder: Path, unwanted: str = "") -> tuple[Path, str]:
    """Make the library in a folder, or the note that says why there is none.

    Args:
        folder: where the file goes.
        unwanted: why not to compile, where there shall be no library.

    Returns:
        The file that was made, and why there is no library.
    """
    library, note = folder / LIBRARY, folder / REASON
    reason = unwanted or compile_kernels(library)
    if not reason:
        note.unlink(missing_ok=True)
        return library, ""
    library.unlink(missing_ok=True)
    note.write_text(reason + "\n", encoding="utf-8")
    return note, reason
