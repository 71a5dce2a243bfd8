"""Options and inputs of the losses, checked where they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_analyze.errors import ConfigError


def positive(name: str, value: float) -> float:
    """The value, a finite number > 0; else a ConfigError, as from all checks here."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name} must be a finite number > 0, found {value!r}")
    return float(value)


def number(name: str, value: float) -> float:
    """A finite number of either sign."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, found {value!r}")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """A finite number >= 0."""
    return 0.0 if not isinstance(value, bool) and value == 0 else positive(name, value)


def share(name: str, value: float, including: bool = False) -> float:
    """A number in (0, 1], or in [0, 1]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1 or (value == 0 and not including):
        bracket = "[" if including else "("
        raise ConfigError(f"{name} must lie in {bracket}0, 1], found {value!r}")
    return float(value)


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """One of some words."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, found {value!r}")
    return value


def check_views(u: Tensor, v: Tensor, labels: Tensor | None) -> None:
    """Two (M, D) tensors with M > 0, and (M,) integer labels or none."""
    for name, value in (("u", u), ("v", v)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"{name} must be a torch tensor of floating-point rows, found {kind}")
    if u.ndim != 2 or u.shape != v.shape or not len(u):
        raise ConfigError(
            "u and v must be (M, D) of one shape with M > 0, found "
            f"{tuple(u.shape)} and {tuple(v.shape)}"
        )
    if labels is None:
        return
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ConfigError(f"labels must be a torch tensor of integers, found {kind}")
    if labels.shape != u.shape[:1]:
        raise ConfigError(
            f"labels must be ({len(u)},), one for each pair, found {tuple(labels.shape)}"
        )


def check_rows(name: str, rows: Tensor, dim: int) -> None:
    """(K, D) rows in the space of the views."""
    if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] != dim or not len(rows):
        found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ConfigError(f"{name} must be a (K, {dim}) tensor with K > 0, found {found}")
