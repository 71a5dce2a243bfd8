"""Which checkpoints are compared, in which order (--x), with which reference (--against)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cl_analyze.data.opening import real_path
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.names import source_names
from cl_analyze.options import Request

_NUMBER = r"[+-]?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_LABEL = re.compile(r"([A-Za-z]+)[-_=]*\(")


@dataclass(frozen=True)
class Given:
    """A checkpoint that is asked for.

    Attributes:
        request: the checkpoint, whose rows are to be matched with those of the others.
        name: as it was typed.
        title: as it is shown.
        x: its place along the run; None: no order was asked for.
    """

    request: Request
    name: str
    title: str
    x: float | None


def arranged(requests: Sequence[Request], x: str | None) -> list[Given]:
    """The checkpoints in the order of their numbers, see `positions`; without x as they come.

    Raises:
        ConfigError: standard input is among them, two are the same array, or every number is equal.
    """
    names = [
        str(request.embeddings)
        if request.source is None and isinstance(request.embeddings, str | Path)
        else str(request.source)
        for request in requests
    ]
    if "-" in names:
        raise ConfigError("compare reads its files twice: - (standard input) cannot be compared")
    titles = source_names(requests)
    order: Sequence[int] = range(len(requests))
    numbers: Sequence[float | None] = [None] * len(requests)
    if x is not None:
        numbers = places = positions(names, x)
        if len(set(places)) < 2:
            raise ConfigError(
                f"--x {x}: every checkpoint is at {places[0]:g}, which orders nothing: give "
                "another word or pattern, or leave --x out"
            )
        order = sorted(order, key=places.__getitem__)
    return [Given(replace(requests[i], match=True), names[i], titles[i], numbers[i]) for i in order]


def reference_index(given: Sequence[Given], against: str | None) -> int:
    """Which checkpoint has the name, the title, the path or the stem; None: the first.

    Raises:
        ConfigError: no checkpoint has.
    """
    if against is None:
        return 0
    names, titles = [one.name for one in given], [one.title for one in given]
    paths, stems = [str(real_path(name)) for name in names], [Path(title).stem for title in titles]
    for known in (names, titles, paths, stems):
        for wanted in (against, str(real_path(against))):
            if wanted in known:
                return known.index(wanted)
    raise ConfigError(
        f"--against {against}: none of the checkpoints; they are {', '.join(titles[:8])}"
    )


def axis_label(x: str) -> str:
    """The name of the axis: the word itself, or the word before the group of the pattern.

    >>> axis_label("step"), axis_label("tau=([0-9.]+)"), axis_label("([0-9]+)k")
    ('step', 'tau', '([0-9]+)k')
    """
    label = None if _WORD.match(x) else _LABEL.search(x)
    return label[1] if label else x


def positions(paths: Sequence[str], x: str) -> list[float]:
    """The number in each path, the last one where there are several.

    Args:
        paths: as the user typed them.
        x: the word before the number, as step in run/step_1000.npy, or a regular expression with
            one group around the number.

    Raises:
        ConfigError: an invalid expression, no group or several, or a path without a number.

    >>> positions(["a/step-10.npy", "a/step-2.npy"], "step")
    [10.0, 2.0]
    """
    if not x:
        raise ConfigError("--x is empty; is a variable unset?")
    is_word = _WORD.match(x) is not None
    try:
        pattern = re.compile(rf"(?<![A-Za-z]){x}[-_=]?({_NUMBER})" if is_word else x, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"--x: {x!r} is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"--x: {x!r} needs one group around the number, as in 'tau=([0-9.]+)', found "
            f"{pattern.groups}"
        )
    numbers, missing = [], []
    for path in paths:
        matches = list(pattern.finditer(path))
        number = _number(matches[-1][1]) if matches else None
        if number is None:
            missing.append(path)
        else:
            numbers.append(number)
    if missing:
        wanted = f"{x} followed by a number" if is_word else f"number where {x!r} looks for it"
        raise ConfigError(f"--x: no {wanted} in {', '.join(missing[:5])}")
    return numbers


def _number(text: str | None) -> float | None:
    """The text as a finite number, without a full stop at the end (that of a suffix)."""
    try:
        value = float((text or "").rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
