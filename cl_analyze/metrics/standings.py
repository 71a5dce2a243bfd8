"""Which checkpoint is best in each headline number, and which others cannot be told from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.metrics.differences import is_real, largest_comparable, params_text
from cl_analyze.metrics.headlines import headlines
from cl_analyze.metrics.metric import Better
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import axis_of, natural_order
from cl_analyze.results.stats import PairedDifference, holm
from cl_analyze.results.tables import Cell, Record, Table

DifferenceOf = Callable[[Record, Record], PairedDifference]
"""The first record less the second, paired where rows can be matched."""

Standing = Literal["best", "tied", "worse", "unknown"]

COLUMNS = columns_of("standings")


def better_side(record: Record) -> Better | None:
    """Whether high or low values of a number are better; None: neither."""
    for family in (*METRICS.values(), *BETWEEN.values()):
        if record.metric in family.definitions:
            return family.better(record.metric, record.params)
    return None


def standings(document: Document, difference_of: DifferenceOf) -> Table | None:
    """The table `standings`: every checkpoint beside the best one, for each headline number.

    The best has the best value in the metric's better direction; of equal values, the first in
    natural order.  Each other checkpoint is compared with it by the paired difference:

        best     the best value, or one equal to it
        tied     the difference from the best is not significant (p_holm >= 0.05)
        worse    the difference is significant
        unknown  the number has no better side or no value, the difference has no error, or the two
                 cannot be compared, see `not_comparable`; also a number that each checkpoint has
                 at the temperature of its own training

    Where checkpoints differ in what a number depends on (its dimensions, its rows), the largest set
    that can be compared with one another has a best; the others are unknown.

    p-values are two-sided.  The best is picked from the same data, so that any two of the K
    checkpoints could have been compared.  Holm's adjustment therefore runs over all K (K - 1) / 2
    pairs of one number; those without the best count as not rejected, so that they need not be
    computed.  So in at most 5% of all runs a number calls a checkpoint worse that is not, whichever
    checkpoint comes out as the best.  K - 1 tests as the family would ignore that choice: the
    largest of several equal values lies well above the smallest by chance alone.  Numbers are read
    one at a time and are not adjusted for one another.
    Low and high are the 95% interval of the one difference, not adjusted.

    Variants (fewer dimensions, fewer bits, transforms) take part like all others: each can be used
    in place of its original.

    Args:
        document: the results of several checkpoints.
        difference_of: the difference of two records.

    Returns:
        A row for each headline number and checkpoint; None for a single checkpoint and without
        headline numbers.

    Cost: K - 1 paired differences for each number, in O(N).
    """
    sources = document.sources
    rows: list[dict[str, Cell]] = []
    if len(sources) > 1:
        for headline in headlines(document):
            found = [headline.find(document, source) for source in sources]
            records = [record for record in found if record is not None]
            side = None if headline.at_training_temperature else better_side(records[0])
            if not DECLARED[headline.metric].is_law:
                rows += _rows(records, side, document, difference_of)
    return Table("standings", COLUMNS, tuple(rows)) if rows else None


def _rows(
    records: Sequence[Record],
    side: Better | None,
    document: Document,
    difference_of: DifferenceOf,
) -> list[dict[str, Cell]]:
    """The rows of one number."""
    known = [(record,) for record in records if record.value is not None]
    compared = [record for (record,) in largest_comparable(known, document.n_rows)]
    best = None
    if side is not None and len(compared) > 1:
        sign = 1.0 if side == "higher" else -1.0
        order = natural_order(document.sources, axis_of(document.sources))
        compared.sort(key=lambda record: order.index(record.source))
        best = max(compared, key=lambda record: sign * float(record.value or 0.0))
    changes = [
        difference_of(record, best)
        if best is not None and record is not best and record in compared
        else None
        for record in records
    ]
    p_values = [None if change is None else change.p_value for change in changes]
    n_tested = sum(p is not None for p in p_values)
    if best is not None and not n_tested and any(r.value != best.value for r in compared):
        best, changes = None, [None] * len(records)  # no difference has an error: nothing is told
    adjusted = holm(p_values, n_tested * (n_tested + 1) // 2)
    rows: list[dict[str, Cell]] = []
    for record, change, p_holm in zip(records, changes, adjusted, strict=True):
        standing: Standing = "unknown"
        if best is not None and record in compared and record.value == best.value:
            standing = "best"
        elif p_holm is not None:
            standing = "worse" if is_real(p_holm) else "tied"
        rows.append(
            {
                "metric": record.metric,
                "definition": record.definition,
                "params": params_text(record),
                "source": record.source,
                "best": None if best is None else best.source,
                "value": record.value,
                "difference": 0.0 if record is best else None if change is None else change.value,
                "std_error": None if change is None else change.std_error,
                "low": None if change is None else change.low,
                "high": None if change is None else change.high,
                "p": None if change is None else change.p_value,
                "p_holm": p_holm,
                "standing": standing,
                "paired": None if change is None else change.paired,
            }
        )
    return rows
