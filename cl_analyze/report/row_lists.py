"""Lists of single rows for the page: hubs, near-duplicates, suspected false negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell

MOST_ROWS = 20
_HUB_K = 10


@dataclass(frozen=True)
class RowList:
    """A table of rows to look at.

    Attributes:
        title, note: above the table.
        file: the CSV file that has all of them.
        heads: (text, whether it is a number) of each column.
        rows: (checkpoint by its short name, texts of the cells).
        n_all: rows that the file has.
    """

    title: str
    note: str
    file: str
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    n_all: int


def row_lists(document: Document) -> list[RowList]:
    """The lists that the document has rows for, 20 rows at most in each."""
    hubs = document.rows("hubs", k=_HUB_K)
    hubs.sort(key=lambda row: -float(row["in_degree"] or 0.0))
    twins = document.rows("near_duplicates")
    twins.sort(key=lambda row: -float(row["cosine"] or 0.0))
    suspects = document.rows("suspects")
    suspects.sort(key=lambda row: -float(row["relative_margin"] or 0.0))
    listed = [
        _listed(
            document,
            "Hubs",
            f"Rows that are most often among the {_HUB_K} nearest of others: they turn up in "
            "many answers. Check whether they are blank, generic or damaged.",
            "hubs",
            hubs,
            (("row", "row"), ("row_id", "id"), ("class", "class"), ("in_degree", "times nearest")),
        ),
        _listed(
            document,
            "Near-duplicates",
            "Pairs of rows of cosine above 1 − 10⁻⁶. Copies in the data make kNN accuracy look "
            "better than it is.",
            "near_duplicates",
            twins,
            (
                ("row", "row"), ("row_id", "id"), ("class", "class"),
                ("other_row", "other row"), ("other_id", "other id"),
                ("other_class", "other class"), ("cosine", "cosine"),
            ),
        ),
        _listed(
            document,
            "Suspected false negatives",
            "Negatives that lie nearer to a row than its positive does: the same thing under "
            "another name, or a wrong label. The margin is the negative's cosine over the "
            "positive's.",
            "suspects",
            suspects,
            (
                ("row", "row"), ("row_id", "id"), ("other_row", "other row"),
                ("other_id", "other id"), ("similarity", "cosine"),
                ("positive_similarity", "cosine of the positive"),
                ("relative_margin", "margin"), ("same_class", "same class"),
            ),
        ),
    ]  # fmt: skip
    return [table for table in listed if table.rows]


_NUMBERS = {
    "row", "other_row", "in_degree", "cosine", "similarity", "positive_similarity",
    "relative_margin",
}  # fmt: skip


def _listed(
    document: Document,
    title: str,
    note: str,
    name: str,
    rows: Sequence[dict[str, Cell]],
    columns: Sequence[tuple[str, str]],
) -> RowList:
    """The first rows of a table; columns that are empty in all of them are left out."""
    names = short_names(document)
    shown = rows[:MOST_ROWS]
    kept = [
        (key, head)
        for key, head in columns
        if any(row.get(key) is not None for row in shown) and not _is_repeated(key, shown)
    ]
    heads = [(head, key in _NUMBERS) for key, head in kept]
    cells = [
        (names[str(row["source"])], tuple(_text(row.get(key)) for key, _ in kept)) for row in shown
    ]
    if len(document.sources) > 1:
        heads = [("checkpoint", False), *heads]
        cells = [(source, (source, *texts)) for source, texts in cells]
    return RowList(title, note, f"tables/{name}.csv", tuple(heads), tuple(cells), len(rows))


def _is_repeated(key: str, rows: Sequence[dict[str, Cell]]) -> bool:
    """Whether ids are the numbers of the rows."""
    number = {"row_id": "row", "other_id": "other_row"}.get(key)
    return number is not None and all(str(row.get(key)) == str(row[number]) for row in rows)


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.4f}".replace("-", "−") if isinstance(cell, float) else str(cell)
