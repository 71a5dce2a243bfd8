"""What is handed to a tracker, and the names under which it is filed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cl_analyze.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image


@dataclass(frozen=True)
class Contents:
    """Numbers, tables and figures at one step.

    Attributes:
        numbers: name -> number.
        tables: name -> DataFrame.
        figures: name -> figure of Matplotlib, which is drawn when it is looked up.
        figure_names: names of the figures that are handed over.
        step: optimiser step or epoch that they belong to; None: the tracker's own count.
        prefix: folder of all names; empty: none.
    """

    numbers: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Any]
    figure_names: tuple[str, ...] = ()
    step: int | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        is_whole = hasattr(self.step, "__index__") and not isinstance(self.step, bool)
        if self.step is not None and not (is_whole and self.step >= 0):
            raise ConfigError(f"step must be a whole number of at least 0, found {self.step!r}")
        parts = self.prefix.split("/") if self.prefix else []
        if not all(_is_plain(part) for part in parts):
            raise ConfigError(
                "prefix may have letters, digits, '_', '-', '.' and single '/' between them, "
                f"found {self.prefix!r}"
            )

    def name(self, *parts: str) -> str:
        """A name below the prefix.

        >>> Contents({}, {}, {}, prefix="dev").name("tables", "spectrum")
        'dev/tables/spectrum'
        """
        return "/".join([*([self.prefix] if self.prefix else []), *parts])

    def named_numbers(self) -> dict[str, float]:
        """The numbers by their names below the prefix."""
        return {self.name(key): value for key, value in self.numbers.items()}

    def images(self) -> Iterator[tuple[str, Image]]:
        """The figures one after the other, by name, as images."""
        from PIL import Image

        for name in self.figure_names:
            with io.BytesIO() as file:
                self.figures[name].savefig(file, format="png")
                image = Image.open(file)
                yield name, image.convert("RGB")


def _is_plain(part: str) -> bool:
    plain = part.replace("_", "").replace("-", "").replace(".", "")
    return plain.isascii() and plain.isalnum()
