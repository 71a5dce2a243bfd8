"""Checkpoints side by side: the warnings before they are compared, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_analyze.comparison.order import axis_label
from cl_analyze.differences import Match
from cl_analyze.inputs.listener import Recorder
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.quoting import some
from cl_analyze.stats import rounding
from cl_analyze.tables import Cell, Table


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a comparison.

    Attributes:
        title: name of the source.
        x: place along the run; None: no order was asked for.
        n, d: rows and dimensions.
        match: how the rows were matched with those of the reference.
        families: results without pseudo-values, of the movement from the reference too.
    """

    title: str
    x: float | None
    n: int
    d: int
    match: Match
    families: dict[str, FamilyResult]

    def value(self, metric: str) -> float | None:
        """The first value of a metric; None where there is no value."""
        records = (record for result in self.families.values() for record in result.records)
        values = (record.value for record in records if record.metric == metric)
        return next((value for value in values if value is not None), None)


def warn(checkpoints: Sequence[Checkpoint], reference: Checkpoint, recorder: Recorder) -> None:
    """Say where the checkpoints differ so that some numbers are not compared, or not in pairs."""
    other_dims = [one.title for one in checkpoints if one.d != reference.d]
    if other_dims:
        recorder.warn(
            f"dimensions differ from the {reference.d} of {reference.title} in {some(other_dims)}: "
            "what depends on them is not compared; uniformity_gap is"
        )
    unpaired: dict[str, list[Checkpoint]] = {}
    for one in checkpoints:
        if one is not reference and one.match.order is None:
            unpaired.setdefault(one.match.text, []).append(one)
    for text, ones in unpaired.items():
        more = "; what depends on the number of rows is not compared"
        recorder.warn(
            f"{some(one.title for one in ones)} against {reference.title}: {text}"
            + (more if any(one.n != reference.n for one in ones) else "")
        )
    if any("no labels to check" in one.match.text for one in checkpoints):
        recorder.note(
            "rows are taken for the same items in the same order (there are neither ids nor labels "
            "to check it by): give --ids where they are not"
        )


def checkpoints_table(
    checkpoints: Sequence[Checkpoint], reference: Checkpoint, x: str | None
) -> Table:
    """The place of each checkpoint along the run, and on the front of the trade-off."""
    front = pareto_front(checkpoints)
    rows: list[dict[str, Cell]] = [
        {
            "source": one.title,
            "axis": None if x is None else axis_label(x),
            "x": one.x,
            "reference": one is reference,
            "n": one.n,
            "d": one.d,
            "rows": one.match.text,
            "pareto": None if front is None else one.title in front,
        }
        for one in checkpoints
    ]
    return Table("checkpoints", tuple(rows[0]), tuple(rows))


def pareto_front(checkpoints: Sequence[Checkpoint]) -> set[str] | None:
    """Checkpoints that no other beats in uniformity (lower) and tolerance (higher) at once.

    Where dimensions differ, uniformity_gap stands for uniformity.  Point values decide.

    Returns:
        The titles on the front; None where fewer than two checkpoints have both numbers.
    """
    metric = "uniformity" if len({one.d for one in checkpoints}) == 1 else "uniformity_gap"
    places: dict[str, tuple[float, float]] = {}
    for one in checkpoints:
        uniformity, tolerance = one.value(metric), one.value("tolerance")
        if uniformity is not None and tolerance is not None:
            places[one.title] = (uniformity, -tolerance)
    if len(places) < 2:
        return None

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        """Whether one is better in a number, beyond rounding, and no worse in the other."""
        pairs = [(a, b, rounding(a, b)) for a, b in zip(one, other, strict=True)]
        is_worse = any(a > b + step for a, b, step in pairs)
        return not is_worse and any(a < b - step for a, b, step in pairs)

    return {
        title
        for title, place in places.items()
        if not any(beats(other, place) for other in places.values())
    }
