"""Libraries that are imported when a file asks for them: of the extra `formats`, and torch."""

from __future__ import annotations

import contextlib
import errno
import importlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cl_analyze.errors import AnalysisError, DataError, DependencyError, is_out_of_memory
from cl_analyze.extras import pip_install

_OF_THE_SYSTEM = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT)
"""Errors that do not say that a file is damaged."""


def imported(module: str, path: Path, install: str = "") -> Any:
    """A library that reads this file.

    Args:
        module: the module of it.
        path: the file.
        install: the command that installs it; empty: it is of the extra `formats`.

    Raises:
        DependencyError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        library = module.partition(".")[0]
        raise DependencyError(
            f"{path}: reading this format needs {library}: {install or pip_install('formats')}"
        ) from error


def python_line(code: str) -> str:
    r"""The command that runs a line of Python, for a message with a remedy.

    >>> python_line("print('a b')")
    'python -c "print(\'a b\')"'
    """
    plain = not set(code) & set('"$`\\!')
    return f'python -c "{code}"' if plain else f"python -c {shlex.quote(code)}"


@contextlib.contextmanager
def own_errors(doing: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into an error of ours.

    There is no list of such errors: the libraries raise their own, those of codecs, and Python's.

    Args:
        doing: the start of the message: the step that failed.
    """
    try:
        yield
    except AnalysisError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise DataError(f"{doing}: what it decodes to does not fit into memory") from error
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            raise DataError(f"{doing}: {error.strerror or error}") from error
        lines = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{doing}: {lines[0]}; is it damaged? Save it again") from error
