""".pkl, .pickle, .joblib: loading one runs code, so the error has the line that converts it."""

from __future__ import annotations

from pathlib import Path

from cl_analyze.data.formats.extra import python_line
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError

TRUSTED = "it runs code from the file, so do that with files you trust alone"


def open_pickle(path: Path) -> Container:
    """Refuse a pickle.

    Raises:
        DataError: always; with the command that makes an .npy file, or an .npz of a dictionary.
    """
    name, module = str(path), "joblib" if path.suffix.lower() == ".joblib" else "pickle"
    loaded = (
        f"joblib.load({name!r})" if module == "joblib" else f"pickle.load(open({name!r}, 'rb'))"
    )
    stem = path.with_suffix("").name
    array = python_line(f"import {module}, numpy; numpy.save({stem + '.npy'!r}, {loaded})")
    several = python_line(f"import {module}, numpy; numpy.savez({stem + '.npz'!r}, **{loaded})")
    raise DataError(
        f"pickles are not read, because loading one can run code. Convert it: {array} ({TRUSTED}); "
        f"a dictionary of arrays: {several}"
    )


def of_objects(path: Path) -> str:
    """A remedy: the command that makes a plain matrix of an .npy file with Python objects."""
    line = python_line(
        f"import numpy; numpy.save({path.stem + '-plain.npy'!r}, "
        f"numpy.array(numpy.load({str(path)!r}, allow_pickle=True).tolist()))"
    )
    return f"{line} ({TRUSTED})"
