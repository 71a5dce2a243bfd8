"""A document as lines for a terminal: the tables that commands print.

records.py      names in words, lists of numbers, matrices by a parameter
families.py     similarity, penalty and quality
losses.py       losses by temperature
checkpoints.py  the tables of `compare` and `report`, and the choice
long.py         --long: a line for each record
"""

from __future__ import annotations

from collections.abc import Sequence

from cl_analyze.lines import WIDTH, Line, separated
from cl_analyze.report.text import checkpoints, long
from cl_analyze.report.text.families import penalty_block, quality_block, similarity_block
from cl_analyze.report.text.losses import loss_block
from cl_analyze.report.text.records import (
    by_source,
    checkpoint_table,
    heading,
    list_lines,
)
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record

_BLOCKS = {
    "similarity": similarity_block,
    "penalty": penalty_block,
    "losses": loss_block,
    "quality": quality_block,
}
"""Family -> the block of one source."""


def document_lines(document: Document, width: int = WIDTH, is_long: bool = False) -> list[Line]:
    """The tables of a document.

    Args:
        document: what a command computed.
        width: columns of the terminal; tables that are wider are split by columns.
        is_long: a line for each record, with code names; such lines are as long as they are.
    """
    if document.command == "compare":
        if is_long:
            return long.compared_lines(document, width)
        return checkpoints.comparison_lines(document, width)
    if document.command == "report":
        lines = long.report_lines if is_long else checkpoints.report_lines
        return lines(document, width)
    families = _long_family if is_long else _family
    return separated(
        families(name, [document.results[i] for i in indices], document, width)
        for name, indices in document.families.items()
    )


def _family(name: str, records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A family of metrics: a block for each source, or one table of few numbers."""
    own = by_source(records)
    if name in _BLOCKS:
        return separated(_BLOCKS[name](found, document, width) for found in own.values())
    if len(own) > 1:
        return checkpoint_table(records, document, width)
    return [heading(records[0], document), *list_lines(records, document, width)]


def _long_family(
    name: str, records: Sequence[Record], document: Document, width: int
) -> list[Line]:
    """A family of metrics in the long form."""
    if name == "penalty":
        return long.penalty_lines(records, document, width)
    if name == "losses":
        return long.loss_lines(records, document, width)
    if name == "quality":
        return long.quality_lines(records, document, width)
    return long.record_lines(records, document)
