"""Fonts for names in any script, and Matplotlib loaded in any environment."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

_BOXES = "Last Resort"
"""A font of Matplotlib that draws each character as a box with the name of the script."""
FONT = "DejaVu Sans"
"""Comes with Matplotlib: figures look the same everywhere, but for names that it lacks."""


def matplotlib() -> Any:
    """Matplotlib, loaded even where MPLBACKEND names a backend that is not installed here.

    A notebook sets the variable for programs that it starts.  Figures here need no backend.
    """
    is_new = "matplotlib" not in sys.modules
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    if is_new and wanted is not None:
        with contextlib.suppress(ValueError):  # it is not installed here
            matplotlib.rcParams["backend"] = wanted
    return matplotlib


def texts_of(part: Any) -> Iterator[str]:
    """All texts of a figure's description."""
    if isinstance(part, str):
        yield part
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        for field in dataclasses.fields(part):
            yield from texts_of(getattr(part, field.name))
    elif isinstance(part, tuple | list):
        for item in part:
            if not isinstance(item, float | int):
                yield from texts_of(item)


def families(texts: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The fonts for some texts, and the characters that no font has.

    Returns:
        Names of font families: `FONT`, then fonts with characters that `FONT` lacks; characters
        that are drawn as boxes.
    """
    plain = _characters_of(_path_of(FONT))
    missing = frozenset(c for text in texts for c in text if ord(c) > 127 and ord(c) not in plain)
    return _families_for(missing)


@cache
def _families_for(missing: frozenset[str]) -> tuple[tuple[str, ...], str]:
    left = {ord(c) for c in missing}
    chosen = [FONT]
    fonts = matplotlib_fonts() if left else {}
    while left:
        name = max(fonts, key=lambda font: (len(left & fonts[font]), font), default="")
        if not name or not left & fonts[name]:
            break
        chosen.append(name)
        left -= fonts[name]
    return tuple(chosen), "".join(map(chr, sorted(left)))


def _path_of(name: str) -> str:
    matplotlib()
    from matplotlib import font_manager

    return str(font_manager.findfont(name))


@cache
def _characters_of(path: str) -> frozenset[int]:
    """Characters of a font; empty for a font that cannot be read (fonts of coloured pictures)."""
    from matplotlib import font_manager

    with contextlib.suppress(Exception):  # FreeType raises many kinds of errors
        return frozenset(font_manager.get_font(path).get_charmap())
    return frozenset()


@cache
def matplotlib_fonts() -> dict[str, frozenset[int]]:
    """Upright installed fonts by name, and their characters."""
    matplotlib()
    from matplotlib import font_manager

    upright = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(_BOXES)
    ]
    return {font.name: _characters_of(font.fname) for font in upright}
