"""What older versions of Python lack, under the names of newer ones: the only look at versions."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["add_note", "tomllib"]


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, as its method `add_note` does; Python 3.10 prints none."""
    error.__dict__.setdefault("__notes__", []).append(note)
