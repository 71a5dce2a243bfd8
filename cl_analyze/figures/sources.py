"""Names, order and colours of checkpoints."""

from __future__ import annotations

import re

from cl_analyze.figures.colours import HUES, OTHER_HUES, ordered
from cl_analyze.results.document import Document
from cl_analyze.results.training_temperature import TAU_IN_NAME, training_temperature

_NUMBER = re.compile(r"[0-9.]+\Z")
_SUFFIX = re.compile(r"\.(npz|npy|pt|pth|csv|tsv)\b")
_LAST_SUFFIX = re.compile(_SUFFIX.pattern[:-2] + r"(?=\[[^\[\]]*\]$|$)")
"""The suffix at the end of a name, or before the name of a variant."""


def series_name(source: str) -> str:
    """A checkpoint's name without temperature and suffix: the name of the series.

    >>> series_name("fashion-mnist-hard-tau-1.0.npz")
    'fashion-mnist-hard'
    """
    stem = _SUFFIX.sub("", source)
    return TAU_IN_NAME.sub("", stem).strip("-_/. ") or "checkpoints"


def short_names(document: Document) -> dict[str, str]:
    """Sources without the start and the suffix that all of them share, for axes and legends."""
    sources = list(document.sources)
    stems = [_LAST_SUFFIX.sub("", source) for source in sources]
    if len(stems) > 1:
        common = 0
        while all(len(s) > common and s[common] == stems[0][common] for s in stems):
            common += 1
        common = _word_start(stems[0], common)
        if any(_NUMBER.match(s[common:]) for s in stems):  # a number alone says little: tau-0.2
            common = _word_start(stems[0], common - 1)
        if all(len(s) > common for s in stems):
            stems = [s[common:] for s in stems]
    names = [_middle(s) for s in stems]
    return dict(zip(sources, names if len(set(names)) == len(names) else stems, strict=True))


def _word_start(text: str, position: int) -> int:
    """The start of the word at a position, 0 at least; a decimal point is part of its number.

    >>> _word_start("temperature-0.07", 14), _word_start("run.step-10", 10)
    (12, 9)
    """
    while position > 0 and not (text[position - 1] in "-_/ " or _is_full_stop(text, position - 1)):
        position -= 1
    return max(position, 0)


def _is_full_stop(text: str, at: int) -> bool:
    """Whether a character is a point, and no decimal one."""
    return text[at] == "." and not (text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit())


def _middle(text: str, most: int = 28) -> str:
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def by_temperature(document: Document) -> list[str]:
    """Sources in order of series, the longest first, and of temperatures; else as given."""
    sources = document.sources
    temperatures = {source: training_temperature(source) for source in sources}
    if None in temperatures.values():
        return list(sources)
    name_of = {source: series_name(source) for source in sources}
    names = list(name_of.values())

    def place(source: str) -> tuple[int, int, float]:
        name = name_of[source]
        return -names.count(name), names.index(name), temperatures[source] or 0.0

    return sorted(sources, key=place)


def source_colours(document: Document) -> dict[str, str]:
    """A colour for each source: by temperature where names tell it, else hues."""
    sources = by_temperature(document)
    if len(sources) > 1 and all(training_temperature(s) is not None for s in sources):
        main = [s for s in sources if series_name(s) == series_name(sources[0])]
        others = [s for s in sources if s not in main]
        hues = [OTHER_HUES[i % len(OTHER_HUES)] for i in range(len(others))]
        return dict(zip([*main, *others], [*ordered(len(main)), *hues], strict=True))
    if len(sources) > len(HUES):
        return dict(zip(sources, ordered(len(sources)), strict=True))
    return dict(zip(sources, HUES, strict=False))
