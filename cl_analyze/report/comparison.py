"""A comparison in words: which differences are real, and how the space moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from cl_analyze.figures.runs import run_of
from cl_analyze.figures.sources import short_names
from cl_analyze.metrics.differences import SIGNIFICANT, is_real, params_text
from cl_analyze.metrics.headlines import Headline, headlines
from cl_analyze.report.words import percent
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Param, Record, nearest_k, number_text

_ALL_DIGITS = 1e-12
_NO_DISTANCE = 1e-9
_WIDE = 8.0
"""Standard errors in a 95% interval (of many rows 4) from which on ± would mislead."""
_MOST_NAMED = 8


@dataclass(frozen=True)
class HeadlineDifference:
    """The difference of one headline number from the reference.

    Attributes:
        title, metric: of the headline.
        text: the difference with its error.
        is_real: whether it is significant among the checkpoints; None where it has no error bar.
    """

    title: str
    metric: str
    text: str
    is_real: bool | None


@dataclass(frozen=True)
class Comparison:
    """One checkpoint beside the reference.

    Attributes:
        source: the checkpoint.
        against: the checkpoint that it is compared with: the reference, or for a variant its
            original.
        matched: how its rows were matched with those of the reference.
        headlines: differences of the headline numbers.
        n_real, n_tested: numbers that differ after adjustment over the whole table, and numbers
            that were tested, which takes an error bar.
        movement: how the space moved; empty where rows are not matched.
    """

    source: str
    against: str
    matched: str
    headlines: tuple[HeadlineDifference, ...]
    n_real: int
    n_tested: int
    movement: str

    def sentences(self, with_headlines: bool = True) -> list[str]:
        """The comparison in sentences; without headlines for a page that has a table of them."""
        lines = [f"{self.matched[:1].upper()}{self.matched[1:]}."]
        kinds = {True: "Real", False: "Not established", None: "Without an error bar"}
        for is_real_one, kind in kinds.items() if with_headlines else ():
            own = [f"{h.title} {h.text}" for h in self.headlines if h.is_real is is_real_one]
            if own:
                lines.append(f"{kind}: {'; '.join(own)}.")
        if self.n_tested:
            lines.append(
                f"{self.n_real} of {self.n_tested} tested numbers differ, adjusted over the whole "
                f"table (Holm p < {SIGNIFICANT:g})."
            )
        return [*lines, self.movement] if self.movement else lines


def tested_differences(document: Document) -> int:
    """Number of differences with a p-value in the table `compare`."""
    return sum(row["p"] is not None for row in document.rows("compare"))


def reference_of(document: Document) -> str | None:
    """The checkpoint that others are compared with; None where there is no comparison."""
    for row in document.rows("checkpoints", reference=True):
        return str(row["source"])
    return None


def comparison_of(document: Document, source: str) -> Comparison:
    """A checkpoint that is not the reference, beside the reference."""
    by_number = _by_number(document, source)
    rows = by_number.values()
    differences = []
    for headline in headlines(document):
        row = _row_of(document, headline, source, by_number)
        if row is not None:
            verdict = None if row["p_headline"] is None else is_real(row["p_headline"])
            text = difference_text(row)
            differences.append(HeadlineDifference(headline.title, headline.metric, text, verdict))
    (checkpoint,) = document.rows("checkpoints", source=source)
    return Comparison(
        source,
        str(checkpoint["against"]),
        str(checkpoint["rows"]),
        tuple(differences),
        n_real=sum(is_real(row["p_holm"]) for row in rows),
        n_tested=sum(row["p_holm"] is not None for row in rows),
        movement=_movement(document, source),
    )


def dimensions_sentences(document: Document) -> list[str]:
    """For each checkpoint with variants of fewer dimensions, how few are enough.

    Those are the fewest of which neither they nor any larger number have an established loss of
    accuracy: the 95% interval of each difference, not adjusted for their number, reaches 0.  An
    adjustment over all numbers of the comparison would pass over losses.
    """
    kept: dict[str, dict[int, str]] = {}
    for row in document.rows("checkpoints"):
        change, _, dims = str(row["variant"]).partition("=")
        if change == "dims" and row["against"] == row["original"]:
            kept.setdefault(str(row["against"]), {})[int(dims)] = str(row["source"])
    return [_dimensions_sentence(document, *item) for item in kept.items()]


def _dimensions_sentence(document: Document, original: str, kept: Mapping[int, str]) -> str:
    """How few dimensions of a checkpoint are enough, by each accuracy."""
    (whole,) = document.rows("checkpoints", source=original)
    listed = ", ".join(str(dims) for dims in sorted(kept))
    start = f"{original}, cut to {listed} of {whole['d']} dimensions"
    differences = {dims: _by_number(document, kept[dims]) for dims in sorted(kept, reverse=True)}
    parts = []
    for headline in headlines(document):
        if headline.metric not in _ACCURACIES or headline.find(document, original) is None:
            continue
        fewest = "none of them"
        for dims, by_number in differences.items():
            row = _row_of(document, headline, kept[dims], by_number)
            if row is None or row["low"] is None or float(row["high"] or 0.0) < 0.0:
                break
            fewest = f"{dims} ({_interval_text(row)})"
        parts.append(f"{headline.title}: {fewest}")
    if not parts:
        return (
            f"{start}: how few are enough cannot be judged: no accuracy was compared (it needs "
            "labels, or partners of the rows)."
        )
    return (
        f"{start}: the fewest without an established loss (95% interval of the difference): "
        f"{'; '.join(parts)}."
    )


def alike_sentences(document: Document) -> list[str]:
    """Which checkpoints are most and least alike by CKA, and the largest step of each run.

    Variants are left out, and fewer than three checkpoints.
    """
    checkpoints = [row for row in document.rows("checkpoints") if row["variant"] is None]
    own = {str(row["source"]) for row in checkpoints}
    rows = [
        row
        for row in document.rows("compare_matrix", metric="cka")
        if row["value"] is not None and {row["source_a"], row["source_b"]} <= own
    ]
    if len(own) < _FEWEST_ALIKE or not rows:
        return []
    names = short_names(document)
    of_pair = {frozenset((str(row["source_a"]), str(row["source_b"]))): row for row in rows}

    def told(row: dict[str, Cell]) -> str:
        one, other = (names[str(row[end])] for end in ("source_b", "source_a"))
        value = number_text(float(row["value"] or 0.0), _error_of(row))
        return f"{one} and {other} ({value})"

    rows.sort(key=lambda row: -float(row["value"] or 0.0))
    p_values = [row["p_permutation"] for row in rows]
    n_by_chance = sum(p is not None and float(p) >= SIGNIFICANT for p in p_values)
    lines = [f"Most alike by CKA: {told(rows[0])}; least: {told(rows[-1])}."]
    if n_by_chance:
        lines[0] += (
            f" {n_by_chance} of {len(rows)} pairs are no more alike than unrelated rows "
            f"(p >= {SIGNIFICANT:g} under permutations)."
        )
    elif None not in p_values:
        lines[0] += (
            f" Every pair is more alike than unrelated rows (p < {SIGNIFICANT:g} under "
            "permutations)."
        )
    for series in run_of(document).series.values() if checkpoints[0]["axis"] is not None else ():
        ends = [frozenset(pair) for pair in pairwise(series)]
        steps = [of_pair[pair] for pair in ends if pair in of_pair]
        if len(steps) > 1:
            largest = min(steps, key=lambda row: float(row["value"] or 0.0))
            lines.append(f"Largest step by CKA: {told(largest)}.")
    return lines


_FEWEST_ALIKE = 3


def _error_of(row: dict[str, Cell]) -> float | None:
    return None if row["std_error"] is None else float(row["std_error"])


def _interval_text(row: dict[str, Cell]) -> str:
    """Both ends of the interval of a difference, with their signs.

    >>> _interval_text({"low": -0.0159, "high": 0.0079})
    '-0.0159 to +0.0079'
    """
    low, high = float(row["low"] or 0.0), float(row["high"] or 0.0)
    ends = (number_text(end, (high - low) / 4.0) for end in (low, high))
    return " to ".join(text if text.startswith("-") else f"+{text}" for text in ends)


_ACCURACIES = ("knn_accuracy", "probe_accuracy", "recall_at_k")
"""Headline metrics that say what a representation is good for; high values are better."""


_ByNumber = Mapping[tuple[Cell, Cell, Cell], dict[str, Cell]]
"""Metric, definition and parameters -> row of compare.csv."""


def _by_number(document: Document, source: str) -> _ByNumber:
    """The differences of a checkpoint."""
    rows = document.rows("compare", source_a=source)
    return {(row["metric"], row["definition"], row["params"]): row for row in rows}


def _row_of(
    document: Document, headline: Headline, source: str, by_number: _ByNumber
) -> dict[str, Cell] | None:
    """The difference of a headline number of a checkpoint."""
    record = headline.find(document, source)
    if record is None:
        return None
    return by_number.get((record.metric, record.definition, params_text(record)))


def pareto_sentence(document: Document, names: Mapping[str, str]) -> str:
    """Which checkpoints no other beats in uniformity and tolerance at once.

    Empty where that is unknown, and where all or all but one are such: that says nothing of them.
    """
    rows = document.rows("checkpoints", variant=None)
    front = [names[str(row["source"])] for row in rows if row["pareto"]]
    if not front or len(front) >= max(len(rows) - 1, 2):
        return ""
    members = ", ".join(front)
    if len(front) > _MOST_NAMED:
        members = f"{len(front)} of {len(rows)} checkpoints, in checkpoints.csv"
    gap = " gap" if len({row["d"] for row in rows}) > 1 else ""
    start = (
        f"Pareto front of uniformity{gap} and tolerance (no other checkpoint is better in both):"
    )
    return f"{start} {members}."


def difference_text(row: dict[str, Cell]) -> str:
    """A difference with its sign and error, or with its interval where that is much wider.

    Of a few degrees of freedom the error may be small by chance, which the interval takes in.

    >>> difference_text({"difference": 0.125, "std_error": 0.01, "low": 0.105, "high": 0.145})
    '+0.125 ± 0.010'
    >>> difference_text({"difference": 0.125, "std_error": 0.01, "low": -0.002, "high": 0.252})
    '+0.125 (-0.002 to +0.252)'
    """
    value, error = float(row["difference"] or 0.0), row["std_error"]
    if not isinstance(error, float) or error <= _ALL_DIGITS * abs(value) or error == 0.0:
        return f"{value:+.4g}" if value else "0"
    text = number_text(value, error)
    text = text if value < 0 else "+" + text
    low, high = row["low"], row["high"]
    if low is not None and high is not None and float(high) - float(low) > _WIDE * error:
        return f"{text} ({_interval_text(row)})"
    return f"{text} ± {number_text(error, error)}"


def _movement(document: Document, source: str) -> str:
    """How the space moved, from the three numbers of movement."""
    (checkpoint,) = document.rows("checkpoints", source=source)
    against = str(checkpoint["against"])

    def first(metric: str, **params: Param) -> tuple[Record, float] | None:
        for record in document.records(metric, None, source, against=against, **params):
            if record.value is not None:
                return record, record.value
        return None

    parts = []
    cka, residual = first("cka"), first("procrustes_residual")
    if cka is not None:
        parts.append(f"CKA {number_text(cka[1], cka[0].std_error)}")
    overlaps = document.records("neighbour_overlap", source=source, against=against)
    k = nearest_k((int(r.params["k"]) for r in overlaps if r.value is not None), 10)
    overlap = first("neighbour_overlap", k=k)
    if overlap is not None:
        neighbours = "the nearest neighbour" if k == 1 else f"the {k} nearest neighbours"
        chance = percent(k / max(overlap[0].n - 1, 1))
        parts.append(f"{percent(overlap[1])} of {neighbours} are the same ({chance} by chance)")
    is_apart = residual is not None and residual[1] > _NO_DISTANCE
    if residual is not None:
        distance = number_text(residual[1], residual[0].std_error)
        parts.append(
            f"the mean squared distance after the best rotation is {distance}"
            if residual[1] >= _NO_DISTANCE
            else "no distance is left after the best rotation"
        )
    moved = document.rows("moved_classes", source=source)
    text = f"How the space moved: {', '.join(parts)}" if parts else ""
    if len(moved) > 1 and is_apart:
        text += f"; the class that moved most: {moved[0]['label']}"
    return f"{text}." if text else ""
