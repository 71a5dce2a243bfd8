"""A comparison in words: which differences are real, which are noise, how the space moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cl_analyze.differences import SIGNIFICANT, is_real, params_text
from cl_analyze.document import Document
from cl_analyze.report.headlines import headlines
from cl_analyze.report.words import percent
from cl_analyze.tables import Cell, Record, number_text

_ALL_DIGITS = 1e-12
_NO_DISTANCE = 1e-9


@dataclass(frozen=True)
class Told:
    """What is said of one checkpoint beside the reference.

    Attributes:
        source, reference: of whom.
        matched: how rows were matched.
        real, noise: differences of the headline numbers in words, by what they are.
        unknown: headline numbers without an error bar.
        headlines: title, metric, difference, and whether it is real (None: no error bar) of each.
        n_real, n_tested: of all numbers with an error bar.
        movement: how the space moved; empty where rows are not matched.
    """

    source: str
    reference: str
    matched: str
    real: tuple[str, ...]
    noise: tuple[str, ...]
    unknown: tuple[str, ...]
    headlines: tuple[tuple[str, str, str, bool | None], ...]
    n_real: int
    n_tested: int
    movement: str

    def sentences(self, with_headlines: bool = True) -> list[str]:
        """The same as sentences; without the headlines, what a table of these leaves to say."""
        lines = [f"{self.matched[:1].upper()}{self.matched[1:]}."]
        if not with_headlines:
            return lines + self._rest()
        if self.real:
            lines.append(f"Real: {'; '.join(self.real)}.")
        if self.noise:
            lines.append(f"Not established: {'; '.join(self.noise)}.")
        if self.unknown:
            lines.append(f"Without an error bar: {'; '.join(self.unknown)}.")
        return lines + self._rest()

    def _rest(self) -> list[str]:
        lines = []
        if self.n_tested:
            lines.append(
                f"{self.n_real} of {self.n_tested} numbers differ beyond noise (Holm p < "
                f"{SIGNIFICANT:g})."
            )
        if self.movement:
            lines.append(self.movement)
        return lines


def reference_of(document: Document) -> str | None:
    """The checkpoint that others are compared with; None where there is no comparison."""
    for row in document.rows("checkpoints", reference=True):
        return str(row["source"])
    return None


def told_apart(document: Document, source: str) -> Told:
    """What is said of a checkpoint that is not the reference."""
    rows = document.rows("compare", source_a=source)
    by_number = {(row["metric"], row["definition"], row["params"]): row for row in rows}
    real: list[str] = []
    noise: list[str] = []
    unknown: list[str] = []
    listed: list[tuple[str, str, str, bool | None]] = []
    for headline in headlines(document):
        record = headline.find(document, source)
        row = None
        if record is not None:
            row = by_number.get((record.metric, record.definition, params_text(record)))
        if record is None or row is None:
            continue
        text = f"{headline.title} {difference_text(row)}"
        verdict = None if row["p_holm"] is None else is_real(row["p_holm"])
        listed.append((headline.title, headline.metric, difference_text(row), verdict))
        if row["p_holm"] is None:
            unknown.append(text)
        else:
            (real if is_real(row["p_holm"]) else noise).append(text)
    (place,) = document.rows("checkpoints", source=source)
    tested = [row for row in rows if row["p_holm"] is not None]
    return Told(
        source,
        reference_of(document) or "",
        str(place["rows"]),
        tuple(real),
        tuple(noise),
        tuple(unknown),
        tuple(listed),
        sum(is_real(row["p_holm"]) for row in tested),
        len(tested),
        _moved(document, source),
    )


_MOST_NAMED = 8


def pareto_sentence(document: Document, names: Mapping[str, str]) -> str:
    """Which checkpoints no other beats in uniformity and tolerance at once; empty where unknown."""
    rows = document.rows("checkpoints")
    front = [names[str(row["source"])] for row in rows if row["pareto"]]
    start = "Pareto front of uniformity and tolerance (no other checkpoint is better in both):"
    if not front:
        return ""
    if len(front) == len(rows):
        return f"{start} all {len(rows)} checkpoints."
    if len(front) > _MOST_NAMED:
        return f"{start} {len(front)} of {len(rows)} checkpoints, in checkpoints.csv."
    return f"{start} {', '.join(front)}."


def difference_text(row: dict[str, Cell]) -> str:
    """A difference with its sign and error.

    >>> difference_text({"difference": 0.125, "std_error": 0.01})
    '+0.125 ± 0.010'
    """
    value, error = float(row["difference"] or 0.0), row["std_error"]
    if not isinstance(error, float) or error <= _ALL_DIGITS * abs(value) or error == 0.0:
        return f"{value:+.4g}" if value else "0"
    text = number_text(value, error)
    return f"{text if value < 0 else '+' + text} ± {number_text(error, error)}"


def _moved(document: Document, source: str) -> str:
    """How the space moved, from the three numbers of movement."""

    def one(metric: str, **params: object) -> Record | None:
        for record in document.records(metric):
            same = all(record.params.get(key) == value for key, value in params.items())
            if record.source == source and record.value is not None and same:
                return record
        return None

    cka, residual = one("cka"), one("procrustes_residual")
    ks = [
        int(r.params["k"])
        for r in document.records("neighbour_overlap")
        if r.source == source and r.value is not None
    ]
    k = min(ks, key=lambda each: (abs(each - 10), each), default=0)
    overlap = one("neighbour_overlap", k=k)
    parts = []
    if cka is not None and cka.value is not None:
        parts.append(f"CKA {number_text(cka.value, cka.std_error)}")
    if overlap is not None and overlap.value is not None:
        of = "the nearest neighbour" if k == 1 else f"the {k} nearest neighbours"
        chance = percent(k / max(overlap.n - 1, 1))
        parts.append(f"{percent(overlap.value)} of {of} are the same ({chance} by chance)")
    if residual is not None and residual.value is not None:
        apart = number_text(residual.value, residual.std_error)
        parts.append(
            "no distance is left after the best rotation"
            if residual.value < _NO_DISTANCE
            else f"the mean squared distance after the best rotation is {apart}"
        )
    moved = document.rows("moved_classes", source=source)
    text = f"How the space moved: {', '.join(parts)}" if parts else ""
    if len(moved) > 1 and residual is not None and (residual.value or 0.0) > _NO_DISTANCE:
        text += f"; the class that moved most: {moved[0]['label']}"
    return f"{text}." if text else ""
