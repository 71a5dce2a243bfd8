"""Rows as saved and on the sphere, read the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]
Form = Literal["raw", "normalised"]

FORMS: tuple[Form, ...] = ("raw", "normalised")


@dataclass(frozen=True)
class FormRows:
    """Rows in one of the two forms.

    Attributes:
        form: raw (as saved, divided by one number so that squares stay in range) or normalised
            (each row of norm 1).
        rows: the rows.
        scale: the number that raw rows are divided by.
    """

    form: Form
    rows: UnitRows
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return self.rows.n_rows, self.rows.dim

    def block(self, start: int, stop: int) -> Matrix:
        """Rows start..stop-1 in float64."""
        if self.form == "normalised":
            return self.rows.exact_block(start, stop)
        return self.rows.stored_block(start, stop) / self.scale

    def blocks(self, step: int) -> Iterator[tuple[slice, Matrix]]:
        """Positions and rows of blocks of `step` rows."""
        n_rows = self.rows.n_rows
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield slice(start, stop), self.block(start, stop)

    def take(self, chosen: Index) -> Matrix:
        """The given rows in float64."""
        if self.form == "normalised":
            return self.rows.take(chosen)
        return self.rows.stored_take(chosen) / self.scale


def forms(rows: UnitRows, scale: float) -> tuple[FormRows, FormRows]:
    """Both forms of the rows, raw first."""
    return FormRows("raw", rows, scale), FormRows("normalised", rows)
