"""The checkpoints of a comparison: warnings where they differ, their table, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_analyze.inputs.listener import Recorder
from cl_analyze.metrics.differences import Match
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.quoting import some
from cl_analyze.results.stats import rounding
from cl_analyze.results.tables import Cell, Table


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a comparison.

    Attributes:
        title: name of the source.
        x: position along the run; None without --x.
        n, d: number of rows, number of dimensions.
        match: match of the rows with the rows of the checkpoint that it is compared with.
        families: results without pseudo-values, the movement from that checkpoint included.
        against: title of the checkpoint that it is compared with: the reference, or for a variant
            its original; None for the reference.
        variant, original: name of the variant, and the checkpoint whose variant it is; None for a
            checkpoint as it is saved.
    """

    title: str
    x: float | None
    n: int
    d: int
    match: Match
    families: dict[str, FamilyResult]
    against: str | None = None
    variant: str | None = None
    original: str | None = None

    def value(self, metric: str) -> float | None:
        """The first value of a metric; None where no record has a value."""
        records = (record for result in self.families.values() for record in result.records)
        values = (record.value for record in records if record.metric == metric)
        return next((value for value in values if value is not None), None)


def warn(checkpoints: Sequence[Checkpoint], reference: Checkpoint, recorder: Recorder) -> None:
    """Warn where differing checkpoints leave numbers out of the comparison, or unpaired."""
    other_dims = [checkpoint.title for checkpoint in checkpoints if checkpoint.d != reference.d]
    if other_dims:
        recorder.warn(
            f"dimensions differ from the {reference.d} of {reference.title} in {some(other_dims)}: "
            "what depends on them is not compared; uniformity_gap is"
        )
    unpaired: dict[str, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        if checkpoint.against is not None and checkpoint.match.order is None:
            unpaired.setdefault(checkpoint.match.text, []).append(checkpoint)
    for text, others in unpaired.items():
        not_compared = "; what depends on the number of rows is not compared"
        recorder.warn(
            f"{some(other.title for other in others)} against {others[0].against}: {text}"
            + (not_compared if any(other.n != reference.n for other in others) else "")
        )
    if any("no labels to check" in checkpoint.match.text for checkpoint in checkpoints):
        recorder.note(
            "rows are taken for the same items in the same order (there are neither ids nor labels "
            "to check it by): give --ids where they are not"
        )


def checkpoints_table(
    checkpoints: Sequence[Checkpoint], reference: Checkpoint, axis: str | None
) -> Table:
    """The table of checkpoints: position along the run, size, match, and place on the front.

    Args:
        checkpoints, reference: the checkpoints, and which of them is the reference.
        axis: name of the axis of the run; None: checkpoints have no positions.
    """
    front = pareto_front(checkpoints)
    rows: list[dict[str, Cell]] = [
        {
            "source": checkpoint.title,
            "axis": axis,
            "x": checkpoint.x,
            "reference": checkpoint is reference,
            "against": checkpoint.against,
            "variant": checkpoint.variant,
            "original": checkpoint.original,
            "n": checkpoint.n,
            "d": checkpoint.d,
            "rows": checkpoint.match.text,
            "pareto": None if front is None else checkpoint.title in front,
        }
        for checkpoint in checkpoints
    ]
    return Table("checkpoints", tuple(rows[0]), tuple(rows))


def pareto_front(checkpoints: Sequence[Checkpoint]) -> set[str] | None:
    """The Pareto front of uniformity (lower is better) and tolerance (higher is better).

    Variants are left out: fewer dimensions are nearer to their uniform sphere by themselves.

    A checkpoint is on the front where no other is better in one number and no worse in the other.
    Point values decide.  Where dimensions differ, uniformity_gap takes the place of uniformity.

    Returns:
        The titles on the front; None where fewer than two checkpoints have both numbers.
    """
    checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint.variant is None]
    is_same_d = len({checkpoint.d for checkpoint in checkpoints}) == 1
    metric = "uniformity" if is_same_d else "uniformity_gap"
    points: dict[str, tuple[float, float]] = {}
    for checkpoint in checkpoints:
        uniformity, tolerance = checkpoint.value(metric), checkpoint.value("tolerance")
        if uniformity is not None and tolerance is not None:
            points[checkpoint.title] = (uniformity, -tolerance)
    if len(points) < 2:
        return None

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        """Whether `one` is better in a number, beyond rounding, and not worse in the other."""
        pairs = [(a, b, rounding(a, b)) for a, b in zip(one, other, strict=True)]
        is_worse = any(a > b + step for a, b, step in pairs)
        return not is_worse and any(a < b - step for a, b, step in pairs)

    return {
        title
        for title, point in points.items()
        if not any(beats(other, point) for other in points.values())
    }
