"""A comparison in words: which differences are real, which are noise, how the space moved."""

from __future__ import annotations

from dataclasses import dataclass

from cl_analyze.differences import params_text
from cl_analyze.document import Document
from cl_analyze.report.headlines import headlines
from cl_analyze.report.words import percent
from cl_analyze.tables import Cell, Record, number_text

SIGNIFICANT = 0.05
_ALL_DIGITS = 1e-12


@dataclass(frozen=True)
class Told:
    """What is said of one checkpoint beside the reference.

    Attributes:
        source, reference: of whom.
        matched: how rows were matched.
        real, noise: differences of the headline numbers in words, by what they are.
        unknown: headline numbers without an error bar.
        n_real, n_tested: of all numbers with an error bar.
        movement: how the space moved; empty where rows are not matched.
    """

    source: str
    reference: str
    matched: str
    real: tuple[str, ...]
    noise: tuple[str, ...]
    unknown: tuple[str, ...]
    n_real: int
    n_tested: int
    movement: str

    def sentences(self) -> list[str]:
        """The same as sentences."""
        lines = [f"{self.matched[:1].upper()}{self.matched[1:]}."]
        if self.real:
            lines.append(f"Real: {'; '.join(self.real)}.")
        if self.noise:
            lines.append(f"Within noise: {'; '.join(self.noise)}.")
        if self.unknown:
            lines.append(f"Without an error bar: {'; '.join(self.unknown)}.")
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
    for headline in headlines(document):
        record = headline.find(document, source)
        row = None
        if record is not None:
            row = by_number.get((record.metric, record.definition, params_text(record)))
        if record is None or row is None:
            continue
        text = f"{headline.title} {difference_text(row)}"
        if row["p_holm"] is None:
            unknown.append(text)
        else:
            (real if is_real(row) else noise).append(text)
    (place,) = document.rows("checkpoints", source=source)
    tested = [row for row in rows if row["p_holm"] is not None]
    return Told(
        source,
        reference_of(document) or "",
        str(place["rows"]),
        tuple(real),
        tuple(noise),
        tuple(unknown),
        sum(is_real(row) for row in tested),
        len(tested),
        _moved(document, source),
    )


def is_real(row: dict[str, Cell]) -> bool:
    """Whether a row of compare.csv differs beyond noise."""
    return isinstance(row["p_holm"], float) and row["p_holm"] < SIGNIFICANT


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
    ks = [int(r.params["k"]) for r in document.records("neighbour_overlap") if r.source == source]
    k = min(ks, key=lambda each: (abs(each - 10), each), default=0)
    overlap = one("neighbour_overlap", k=k)
    parts = []
    if cka is not None and cka.value is not None:
        parts.append(f"CKA {number_text(cka.value, cka.std_error)}")
    if overlap is not None and overlap.value is not None:
        near = "the nearest neighbour is" if k == 1 else f"of the {k} nearest neighbours"
        parts.append(
            f"{near} the same for {percent(overlap.value)} of the rows"
            if k == 1
            else f"{percent(overlap.value)} {near} are the same"
        )
    if residual is not None and residual.value is not None:
        parts.append(
            "after the best rotation rows are "
            f"{max(residual.value, 0.0) ** 0.5:.3g} apart (root mean square)"
        )
    moved = document.rows("moved_classes", source=source)
    text = f"How the space moved: {', '.join(parts)}" if parts else ""
    if parts and len(moved) > 1:
        text += f"; the class that moved most: {moved[0]['label']}"
    return f"{text}." if text else ""
