"""The checkpoints of a comparison, their order (--x) and their reference (--against)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cl_analyze.data.opening import real_path
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.names import originals_of, source_names
from cl_analyze.options import Request
from cl_analyze.results.ordering import last_number, number_after

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_LABEL = re.compile(r"([A-Za-z]+)[-_=]*\(")


@dataclass(frozen=True)
class Given:
    """A checkpoint of the command line or of the Python call.

    Attributes:
        request: the checkpoint, with the option to match its rows with other checkpoints.
        name: name as typed.
        title: name in the output.
        x: position along the run; None without --x.
        original: title of the checkpoint whose variant this is; of an original its own title.
        series: the name without the position, equal for checkpoints of one run.
    """

    request: Request
    name: str
    title: str
    x: float | None
    original: str
    series: str = ""

    @property
    def is_variant(self) -> bool:
        """Whether it is a variant of another checkpoint."""
        return bool(self.request.variant)

    @property
    def dims(self) -> int | None:
        """Dimensions that a variant of fewer dimensions keeps; None for others."""
        change, _, number = self.request.variant.partition("=")
        return int(number) if change == "dims" else None


def arranged(requests: Sequence[Request], x: str | None) -> list[Given]:
    """The checkpoints in the order of their positions, see `positions`; without x as typed.

    Raises:
        ConfigError: a checkpoint is standard input, two checkpoints are the same array, or all
            positions are equal.
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
    originals = originals_of(requests, titles)
    order: Sequence[int] = range(len(requests))
    x_values: Sequence[float | None] = [None] * len(requests)
    series: Sequence[str] = [""] * len(requests)
    if x is not None:
        numbers, series = positions(names, x)
        x_values = numbers
        if len(set(numbers)) < 2:
            raise ConfigError(
                f"--x {x}: every checkpoint is at {numbers[0]:g}, which orders nothing: give "
                "another word or pattern, or leave --x out"
            )
        order = sorted(order, key=numbers.__getitem__)
    given: list[Given] = []
    for i in order:  # a variant stands behind its original
        variant = requests[i].variant
        request = replace(requests[i], match=True)
        name = f"{names[i]}[{variant}]" if variant else names[i]
        given.append(Given(request, name, titles[i], x_values[i], originals[i], series[i]))
    return given


def step_before(given: Sequence[Given], i: int) -> int | None:
    """The checkpoint before another along its own run; None for the first, and for variants."""
    own = given[i]
    if own.x is None or own.is_variant:
        return None
    earlier = [
        j
        for j, other in enumerate(given)
        if not other.is_variant and other.series == own.series and (other.x or 0.0) < own.x
    ]
    return earlier[-1] if earlier else None


def by_dimensions(given: Sequence[Given], dims: Mapping[str, int]) -> list[Given] | None:
    """The checkpoints, those with variants of fewer dimensions at the dimensions that they keep.

    Args:
        given: the checkpoints.
        dims: title -> dimensions of the rows.

    Returns:
        The checkpoints, others without a position; None where there are no such variants.
    """
    cut = {checkpoint.original for checkpoint in given if checkpoint.dims is not None}
    if not cut:
        return None
    return [
        replace(checkpoint, x=float(dims[checkpoint.title]))
        if checkpoint.dims is not None or checkpoint.title in cut
        else checkpoint
        for checkpoint in given
    ]


def measuring_order(given: Sequence[Given], reference: int) -> list[tuple[int, int | None]]:
    """Each checkpoint and the one that it is compared with, in the order of their measurement.

    Checkpoints are compared with the reference, variants with their original, so that the
    reference, one original and one more checkpoint are held at a time.

    Returns:
        Indices; the reference comes first, and is compared with none.
    """
    index_of = {checkpoint.title: i for i, checkpoint in enumerate(given)}
    own = given[reference].original
    groups = [own, *dict.fromkeys(c.original for c in given if c.original != own)]
    order: list[tuple[int, int | None]] = [(reference, None)]
    for original in groups:
        for i, checkpoint in enumerate(given):
            if checkpoint.original == original and i != reference:
                with_original = checkpoint.is_variant
                order.append((i, index_of[original] if with_original else reference))
    return order


def reference_index(checkpoints: Sequence[Given], against: str | None) -> int:
    """Index of the checkpoint whose name, title, path or stem is `against`; None: the first.

    Raises:
        ConfigError: no checkpoint has this name.
    """
    if against is None:
        return 0
    names = [checkpoint.name for checkpoint in checkpoints]
    titles = [checkpoint.title for checkpoint in checkpoints]
    paths, stems = [str(real_path(name)) for name in names], [Path(title).stem for title in titles]
    for known in (names, titles, paths, stems):
        for name in (against, str(real_path(against))):
            if name in known:
                return known.index(name)
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


def positions(paths: Sequence[str], x: str) -> tuple[list[float], list[str]]:
    """The number in each path (the last match where there are several), and the path without it.

    Args:
        paths: paths as typed.
        x: the word before the number, as step in run/step_1000.npy, or a regular expression with
            one group around the number.

    Raises:
        ConfigError: an invalid expression, no group or several, or a path without a number.

    >>> positions(["a/step-10.npy", "a/step-2.npy"], "step")
    ([10.0, 2.0], ['a/step-.npy', 'a/step-.npy'])
    """
    if not x:
        raise ConfigError("--x is empty; is a variable unset?")
    is_word = _WORD.match(x) is not None
    try:
        pattern = number_after(x) if is_word else re.compile(x, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"--x: {x!r} is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"--x: {x!r} needs one group around the number, as in 'tau=([0-9.]+)', found "
            f"{pattern.groups}"
        )
    numbers, rests, missing = [], [], []
    for path in paths:
        found = last_number(pattern, path)
        if found is None:
            missing.append(path)
        else:
            start, end = found[1].span(1)
            numbers.append(found[0])
            rests.append(path[:start] + path[end:])
    if missing:
        sought = f"{x} followed by a number" if is_word else f"number where {x!r} looks for it"
        raise ConfigError(f"--x: no {sought} in {', '.join(missing[:5])}")
    return numbers, rests
