"""Compiled kernels: what reducers do with a tile, in one sweep over its entries.

A similarity costs a few nanoseconds.  What NumPy does to it afterwards, one operation at a time
over 4 MB, costs several times as much.  The sweeps in `sweeps.h` read each entry once: exponentials
of all temperatures with their sums over rows and columns, nearest neighbours with insertion, bins,
the jackknife's terms.

    kernels.c    the library's shell: the tile, cuts, keys; includes the sweeps once for every
                 instruction set
    sweeps.h     the sweeps, in C11 that compilers turn into vector instructions
    fused.py     the sums of exponentials of a whole pass at once, here or on a GPU
    tile.py      a tile as the sweeps see it: what reducers call
    gpu_tile.py, triton_sweeps.py
                 the same on a GPU, in Triton
    build.py     compiles them
    __init__.py  finds the library, and says which instruction set serves

The library is optional: it is compiled when the package is built, and where there is no compiler
NumPy serves.  Reducers have both ways side by side, and the property tests run on both.
The library holds no state and starts no thread; calls let go of the interpreter lock.  The same
tile gives the same bytes, whichever thread calls.

NumPy still does: float64, but for Riesz kernels and near pairs; temperatures under 1/60, whose
exponentials leave the range of float32 without a shift; Riesz kernels whose power is not a whole
number from 1 to 16.

Environment:
    CL_ANALYZE_KERNELS: off, or the instruction set to use: baseline, avx2 or avx512.  Default: the
        best that the processor has.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from cl_analyze.errors import ConfigError
from cl_analyze.pairs.kernels import build

VARIABLE = "CL_ANALYZE_KERNELS"
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
_NUMBER, _POINTER, _REAL = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "softmax_sums": (_POINTER, _NUMBER, _POINTER, _POINTER, _NUMBER, _POINTER, _POINTER),
    "neighbours": (_POINTER, _NUMBER, _NUMBER, *[_POINTER] * 6),
    "histogram": (_POINTER, _NUMBER, _NUMBER, _POINTER, _POINTER),
    "penalty_histogram": (_POINTER, _NUMBER, _NUMBER, _NUMBER, *[_POINTER] * 4),
    "leave_one_out": (_POINTER, _NUMBER, _REAL, _NUMBER, _NUMBER, _POINTER, _POINTER, _POINTER),
    "received": (*(_POINTER, _NUMBER, _REAL, _NUMBER, _NUMBER, _POINTER, _NUMBER, _POINTER),),
    "moments": (_POINTER, _NUMBER, _NUMBER, _NUMBER, _POINTER, _POINTER, _POINTER),
    "riesz_sums": (_POINTER, _NUMBER, _REAL, _POINTER, _POINTER),
    "near_pairs": (_POINTER, _REAL, _NUMBER, _POINTER, _POINTER),
    "softplus_sums": (_POINTER, _NUMBER, _POINTER, _REAL, _POINTER, _POINTER),
    "kernel_sums": (_POINTER, _NUMBER, _REAL, _REAL, _POINTER, _POINTER),
    "hard_negatives": (
        *(_POINTER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _POINTER, _POINTER, _NUMBER),
        *[_POINTER] * 8,
    ),
}


REMEDY = "python -m cl_analyze.pairs.kernels"
_STALE = f"the library was made from other sources; run: {REMEDY}"


class _StaleError(Exception):
    """The library's sources are not those beside it."""


class Library:
    """The compiled functions for one instruction set, as attributes.

    Args:
        path: of the shared library.
        instruction_set: one of `INSTRUCTION_SETS`; empty: the best that the processor has.

    Raises:
        ConfigError: the processor does not have that instruction set.
        OSError: the library cannot be loaded.
        AttributeError: it has no such functions.
        _StaleError: it was made from other sources.
    """

    def __init__(self, path: Path, instruction_set: str = "") -> None:
        functions = ctypes.CDLL(str(path))
        functions.cl_analyze_source.restype = ctypes.c_char_p
        if functions.cl_analyze_source().decode() != build.digest(path.parent):
            raise _StaleError
        best = functions.cl_analyze_best()
        chosen = INSTRUCTION_SETS.index(instruction_set) if instruction_set else best
        if chosen > best:
            raise ConfigError(
                f"{VARIABLE}={instruction_set}: this processor has {INSTRUCTION_SETS[best]} at most"
            )
        self.instruction_set = INSTRUCTION_SETS[chosen]
        for name, arguments in _ARGUMENTS.items():
            function = getattr(functions, f"{name}_{self.instruction_set}")
            function.argtypes = arguments
            function.restype = _NUMBER if name == "near_pairs" else None
            setattr(self, name, function)
        for name in ("merge_keys", "insert_keys"):
            function = getattr(functions, name)
            function.argtypes = (_NUMBER, _NUMBER, _POINTER, _POINTER, _POINTER)
            function.restype = None
            setattr(self, name, function)
        self.least_values = functions.least_values
        self.least_values.argtypes = (_NUMBER, _NUMBER, _POINTER, _POINTER)
        self.least_values.restype = None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def loaded() -> Library | None:
    """The compiled functions; None where they were not built, or are switched off.

    Raises:
        ConfigError: `CL_ANALYZE_KERNELS` is no instruction set of this processor.
    """
    return loaded_for(os.environ.get(VARIABLE, ""))


def loaded_for(wanted: str) -> Library | None:
    """The compiled functions for an instruction set; empty: the best; off: None.

    Raises:
        ConfigError: it is none, or not one of this processor.
    """
    return _load(wanted)[0]


def described() -> str:
    """The instruction set that serves, or `none` and the reason, for people.

    Raises:
        ConfigError: see `loaded`.
    """
    loaded, reason = _load(os.environ.get(VARIABLE, ""))
    return f"none ({reason})" if loaded is None else loaded.instruction_set


def missing() -> str:
    """Why there is no library although nobody switched it off; empty where there is one."""
    wanted = os.environ.get(VARIABLE, "")
    return "" if wanted == "off" else _load(wanted)[1]


@functools.cache
def _load(wanted: str) -> tuple[Library | None, str]:
    """The library, or why there is none."""
    if wanted == "off":
        return None, f"{VARIABLE}=off"
    if wanted and wanted not in INSTRUCTION_SETS:
        listed = ", ".join(INSTRUCTION_SETS)
        raise ConfigError(f"{VARIABLE} must be off or one of {listed}, found {wanted!r}")
    path, reason = build.FOLDER / build.LIBRARY, build.FOLDER / build.REASON
    if not path.exists():
        why = reason.read_text(encoding="utf-8").strip() if reason.exists() else "not built"
        return None, why
    try:
        return Library(path, wanted), ""
    except OSError:
        return None, "the library cannot be loaded on this system"
    except AttributeError:
        return None, _STALE
    except _StaleError:
        return None, _STALE
