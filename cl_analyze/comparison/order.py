"""--x: a number in a checkpoint's name places it along a run."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from cl_analyze.errors import ConfigError

_NUMBER = r"[+-]?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_LABEL = re.compile(r"([A-Za-z]+)[-_=]*\(")


def axis_label(x: str) -> str:
    """What the axis is called: the word itself, or the one before the pattern's group.

    >>> axis_label("step"), axis_label("tau=([0-9.]+)"), axis_label("([0-9]+)k")
    ('step', 'tau', '([0-9]+)k')
    """
    found = _LABEL.search(x)
    return x if _WORD.match(x) else found[1] if found else x


def positions(paths: Sequence[str], x: str) -> list[float]:
    """The number of each path.

    Args:
        paths: as the user named them.
        x: a word that stands before the number, as step in run/step_1000.npy, or a regular
            expression with one group around the number.

    Raises:
        ConfigError: no valid expression, none or several groups, or a path without a number.

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
    found, missing = [], []
    for path in paths:
        matches = list(pattern.finditer(path))
        number = _number(matches[-1][1]) if matches else None
        if number is None:
            missing.append(path)
        else:
            found.append(number)
    if missing:
        what = f"{x} followed by a number" if is_word else f"number where {x!r} looks for it"
        raise ConfigError(f"--x: no {what} in {', '.join(missing[:5])}")
    return found


def _number(text: str | None) -> float | None:
    """A finite number; a trailing full stop (before a suffix) does not count."""
    try:
        value = float((text or "").rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
