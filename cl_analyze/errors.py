"""Errors that the user can correct.

Every message says the requirement, the value found, its place, and the remedy.  The command line
prints one line on stderr and exits with code 2; in Python they are ordinary exceptions.
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
"""Parts of the messages of libraries that had no memory and raise no MemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one of its causes, says that memory ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no number"))
    (True, False)
    """
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            break
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM:
            return True
        of_libraries = isinstance(cause, RuntimeError | ImportError | OSError | SystemError)
        if of_libraries and any(words in str(cause).lower() for words in _NO_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def error_text(error: BaseException) -> str:
    """The message for users: an `AnalysisError`'s own, memory, a lost file, or a bug."""
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
    """Whether the system could not open or read a file, such as one deleted during the run."""
    return isinstance(error, OSError) and bool(error.filename) and error.strerror is not None
