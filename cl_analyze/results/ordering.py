"""Positions in the names of checkpoints (temperatures, steps, epochs), and their natural order."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cl_analyze.quoting import natural

NUMBER = r"[+-]?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?"
TEMPERATURE = "temperature"
_WORDS = {
    TEMPERATURE: "tau|temperature|temp",
    "step": "global_steps?|steps?",
    "epoch": "epochs?|ep",
    "iteration": "iterations?|iters?|iter",
    "checkpoint": "checkpoints?|ckpt",
}
"""Axis -> the words in names that a number on it follows; the first that orders names counts."""
_SUFFIX = re.compile(r"\.(?:npz|npy|pt|pth|csv|tsv|parquet|safetensors|h5|hdf5|h5ad)\b")
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NOTHING = "checkpoints"


@dataclass(frozen=True)
class Axis:
    """What orders checkpoints, by their names.

    Attributes:
        name: "temperature", "step", "epoch", "iteration" or "checkpoint".
        positions: name -> number, of the names that have one.
        series: name -> the name without number and suffix, equal for checkpoints of one run.
    """

    name: str
    positions: dict[str, float]
    series: dict[str, str]


def number_after(word: str) -> re.Pattern[str]:
    """The pattern of a word and the number after it, as step in run/step_1000.npy.

    Args:
        word: a word, or several with | between them.

    >>> number_after("step").search("run/step_1000.npy")[1]
    '1000'
    """
    return re.compile(rf"(?<![A-Za-z])(?:{word})[-_=]?({NUMBER})", re.IGNORECASE)


_PATTERNS = {axis: number_after(words) for axis, words in _WORDS.items()}
AXES = tuple(_WORDS)


def last_number(pattern: re.Pattern[str], text: str) -> tuple[float, re.Match[str]] | None:
    """The last finite number that a pattern finds, and where; None without one.

    >>> last_number(number_after("ep"), "ep2/ep-10.npy")[0]
    10.0
    """
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    try:
        value = float((matches[-1][1] or "").rstrip("."))  # the full stop of a file's suffix
    except ValueError:
        return None
    return (value, matches[-1]) if math.isfinite(value) else None


def position(name: str, axis: str = TEMPERATURE) -> float | None:
    """The number on an axis in a checkpoint's name; None for other names.

    >>> position("fashion-mnist-tau-0.07.npz"), position("epoch3.npy"), position("ep3", "epoch")
    (0.07, None, 3.0)
    """
    found = last_number(_PATTERNS[axis], _SUFFIX.sub("", name))
    return None if found is None else found[0]


def training_temperature(name: str) -> float | None:
    """The temperature in a checkpoint's name, as in tau-0.07 or tau=0.5; None for other names.

    >>> training_temperature("fashion-mnist-tau-0.07.npz"), training_temperature("epoch3.npy")
    (0.07, None)
    """
    return position(name, TEMPERATURE)


def series_name(name: str, axis: str = TEMPERATURE) -> str:
    """A checkpoint's name without suffix and without the number on an axis: that of its run.

    >>> series_name("fashion-mnist-hard-tau-1.0.npz"), series_name("a/step-20.npy", "step")
    ('fashion-mnist-hard', 'a')
    """
    stem = _SUFFIX.sub("", name)
    found = last_number(_PATTERNS[axis], stem)
    if found is not None:
        start, end = found[1].span()
        before, after = stem[:start], stem[end:]
        stem = before + (after if after[:1] not in before[-1:] else after[1:])
    return stem.strip("-_/. ") or _NOTHING


def axis_of(names: Sequence[str]) -> Axis | None:
    """The axis on which most names have a number, of those where numbers differ.

    >>> axis_of(["tau-0.1-step-10", "tau-0.1-step-9"]).name
    'step'
    """
    best: Axis | None = None
    for axis in _WORDS:
        found = {name: at for name in names if (at := position(name, axis)) is not None}
        if len(set(found.values())) > 1 and (best is None or len(found) > len(best.positions)):
            best = Axis(axis, found, {name: series_name(name, axis) for name in found})
    return best


def natural_order(names: Sequence[str], axis: Axis | None) -> list[str]:
    """Names along each run, the longest run first; names without a position keep their places.

    Without an axis, names that differ in numbers alone are ordered by these; others stay as they
    are.

    >>> names = ["step-1000", "step-10000", "step-500"]
    >>> natural_order(names, axis_of(names))
    ['step-500', 'step-1000', 'step-10000']
    >>> natural_order(["b10", "b9"], None), natural_order(["b", "a"], None)
    (['b9', 'b10'], ['b', 'a'])
    """
    if axis is None:
        shapes = {_DIGITS.sub("0", name) for name in names}
        return sorted(names, key=natural) if len(shapes) == 1 else list(names)
    positions, series = axis.positions, axis.series
    runs = list(series.values())
    placed = sorted(
        (name for name in names if name in positions),
        key=lambda name: (-runs.count(series[name]), natural(series[name]), positions[name]),
    )
    following = iter(placed)
    return [next(following) if name in positions else name for name in names]


def cut(names: Sequence[str]) -> list[str]:
    """Names without the words that all share at the start and at the end.

    Words are never cut inside, numbers neither; a number that would stand alone keeps the word
    before it.  Where nothing would be left of a name, all stay whole.

    >>> cut(["a-tau-0.07-final", "a-tau-0.05-final"]), cut(["small encoder", "large encoder"])
    (['tau-0.07', 'tau-0.05'], ['small', 'large'])
    """
    if len(set(names)) < 2:
        return list(names)
    first, shortest = names[0], min(map(len, names))
    same = 0
    while same < shortest and all(name[same] == first[same] for name in names):
        same += 1
    start = _common_start(names, same)
    same = 0
    while same < shortest - start and all(name[-1 - same] == first[-1 - same] for name in names):
        same += 1
    while same and not all(_is_end(name, len(name) - same) for name in names):
        same -= 1
    rests = [name[start : len(name) - same] for name in names]
    if any(_is_number(rest) for rest in rests):  # a number alone says little: tau-0.2
        start = _common_start(names, start - 1)
        rests = [name[start : len(name) - same] for name in names]
    return rests if all(rests) else list(names)


def _common_start(names: Sequence[str], at: int) -> int:
    """The last place up to `at` where a word starts in all names; 0 at least."""
    while at > 0 and not all(_is_start(name, at) for name in names):
        at -= 1
    return max(at, 0)


def _is_start(text: str, at: int) -> bool:
    """Whether a word starts here.

    >>> [at for at in range(17) if _is_start("temperature-0.07", at)]
    [0, 12]
    """
    return at == 0 or text[at - 1] in "-_/ " or _is_full_stop(text, at - 1)


def _is_end(text: str, at: int) -> bool:
    """Whether a word ends before this place."""
    return at == len(text) or text[at] in "-_/ [" or _is_full_stop(text, at)


def _is_full_stop(text: str, at: int) -> bool:
    """Whether a character is a point, and no decimal one."""
    return text[at] == "." and not (text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit())


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9.]+", text) is not None


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Names of at most `most` characters, about: long ones cut in the middle, at words.

    Different names stay different: of those that are cut alike, the part is shown that differs.

    >>> shortened(["a very long class one", "a very long class two", "cat"], 14)
    ['a very…one', 'a very…two', 'cat']
    >>> shortened(["one and the same start", "one but the same start"], 14)
    ['…and…', '…but…']
    """
    short = {name: _middle(name, most) for name in names}
    alike: dict[str, list[str]] = {}
    for name, text in short.items():
        alike.setdefault(text, []).append(name)
    for group in alike.values():
        if len(group) > 1:
            for name, part in zip(group, cut(group), strict=True):
                before, _, after = name.partition(part)
                short[name] = ("…" if before else "") + _middle(part, most)
                short[name] += "…" if after else ""
    taken: set[str] = set()
    for name, text in short.items():
        number = 2
        while short[name] in taken:  # long words that differ inside
            short[name] = f"{text} ({number})"
            number += 1
        taken.add(short[name])
    return [short[name] for name in names]


def _middle(text: str, most: int) -> str:
    """A text without its middle, cut at words, and not inside a number."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    head, tail = half, len(text) - half
    words = [at for at in range(half // 2, half + 1) if _is_end(text, at)]
    head = words[-1] if words else _outside_number(text, head, -1)
    words = [at for at in range(tail, len(text) - half // 3) if _is_start(text, at)]
    tail = words[0] if words else _outside_number(text, tail, 1)
    return f"{text[:head]}…{text[tail:]}"


def _outside_number(text: str, at: int, step: int) -> int:
    """The nearest place to one side that is not inside a number."""
    while 0 < at < len(text) and text[at - 1] in "0123456789." and text[at] in "0123456789.":
        at += step
    return at


def evenly(names: Sequence[str], most: int) -> list[str]:
    """At most so many names, evenly over the sequence: the first, the last, and between.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    n = len(names)
    if n <= most:
        return list(names)
    return [names[round(i * (n - 1) / (most - 1))] for i in range(most)]
