"""The errors that are the user's to mend.

Every message says what must hold, what was found, where, and what to do.  The command line turns
them into one line on stderr and exit code 2; from Python they are ordinary exceptions.
"""

from __future__ import annotations

import errno


class AnalysisError(Exception):
    """The analysis cannot be done as asked; the message says why and what would help."""


class CheckFailedError(Exception):
    """A check failed: the verdict of a gate, not an error of the program."""


class DataError(AnalysisError):
    """A file or an array does not hold what an analysis needs."""


class ConfigError(AnalysisError):
    """An option or a combination of options makes no sense."""


class DependencyError(AnalysisError):
    """A library that this input needs is not installed."""


_NO_MEMORY = (
    "cannot allocate memory",
    "unable to allocate",
    "can't allocate",
    "can't start new thread",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "failed to map segment",
)
"""What libraries say where memory ran out, beside raising MemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that memory ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no number"))
    (True, False)
    """
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == errno.ENOMEM:
            return True
        of_libraries = isinstance(seen, RuntimeError | ImportError | OSError | SystemError)
        if of_libraries and any(words in str(seen).lower() for words in _NO_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def error_text(error: BaseException) -> str:
    """What people are told of an error: ours as it is, memory that ran out, or a bug."""
    if isinstance(error, AnalysisError):
        return str(error)
    if is_out_of_memory(error):
        what = str(error).splitlines()[0] if str(error) else "memory ran out"
        return (
            f"out of memory: {what}; this process may use too little of it (ulimit -v, a "
            "container's limit): raise that, or pass --memory SIZE, --threads 1, or --anchors M "
            "for an estimate from M rows"
        )
    if is_of_the_system(error):
        place = getattr(error, "filename", None)
        is_gone = getattr(error, "errno", None) == errno.ENOENT
        hint = ": was it moved or deleted?" if is_gone else ""
        return f"{place}: {getattr(error, 'strerror', None) or error}{hint}"
    return f"internal error: {type(error).__name__}: {error}"


def is_of_the_system(error: BaseException) -> bool:
    """Whether the system could not open or read a file, as one that was deleted during the run."""
    return isinstance(error, OSError) and bool(error.filename) and error.strerror is not None
