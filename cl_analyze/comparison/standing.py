"""The headline numbers of every checkpoint with their pseudo-values, to compare any two of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.differences import Identity, identity, record_difference
from cl_analyze.metrics.headlines import headline_records
from cl_analyze.results.document import Pairing
from cl_analyze.results.stats import PairedDifference
from cl_analyze.results.tables import Record

Index = NDArray[np.int64]

FEWEST_ROWS = 256
"""Rows that are kept of each checkpoint however small the budget is."""


class KeptHeadlines:
    """Headline numbers of checkpoints whose rows are those of the reference.

    All other numbers lose their pseudo-values as soon as they are compared with the reference.
    Pseudo-values are kept in the order of the reference's rows.  Where those of all checkpoints
    exceed the budget, a seeded sample of the rows is kept, and errors are scaled to all rows.

    Attributes:
        numbers: the headline numbers that were added, as keys.
    """

    def __init__(self, count: int, most_bytes: int, asked: tuple[str, ...], seed: int) -> None:
        """Nothing is kept yet.

        Args:
            count: number of checkpoints.
            most_bytes: budget of the pseudo-values of all of them.
            asked: metrics that were asked for by their own names.
            seed: of the sample.
        """
        self._count, self._most_bytes, self._asked, self._seed = count, most_bytes, asked, seed
        self.numbers: dict[Identity, None] = {}
        self._sample: Index | None = None
        self._share = 1.0
        self._records: dict[tuple[str, Identity], Record] = {}
        self._groups: dict[str, Index] = {}

    def add(
        self,
        source: str,
        records: Iterable[Record],
        order: Index | None,
        groups: Index | None = None,
        pairing: Pairing | None = None,
    ) -> None:
        """Keep the headline numbers of a checkpoint; the first is the reference.

        Args:
            source: name of the checkpoint.
            records: its records.
            order: (N,) for each row of the reference, the row that is the same item; None: rows do
                not match, and differences from this checkpoint are unpaired.
            groups: (N,) codes of its rows that belong together.
            pairing: what its rows are paired with.
        """
        listed = headline_records(records, source, "compare", self._asked, pairing)
        self.numbers.update((identity(record), None) for record in listed)
        if order is None:
            return
        if self._sample is None:
            n, n_bytes = len(order), sum(a.nbytes for r in listed for a in r.arrays().values())
            most = self._most_bytes * n // max(n_bytes * self._count, 1)
            self._sample = np.arange(n)
            if most < n:
                random = np.random.default_rng(self._seed)
                size = min(max(most, FEWEST_ROWS), n)
                self._sample = np.sort(random.choice(n, size, replace=False))
            self._share = len(self._sample) / n
        rows = order[self._sample]
        if groups is not None:
            self._groups[source] = groups[rows]
        for record in listed:
            pseudo, noise = record.pseudo_values, record.pseudo_noise
            if pseudo is None or len(pseudo) != len(order):
                continue
            self._records[source, identity(record)] = replace(
                record,
                pseudo_values=pseudo[rows],
                pseudo_noise=None if noise is None else noise[rows],
            )

    def difference(self, one: Record, other: Record) -> PairedDifference:
        """One headline number less another; unpaired where pseudo-values of one are not kept."""
        kept = [self._records.get((record.source, identity(record))) for record in (one, other)]
        if kept[0] is None or kept[1] is None or self._sample is None:
            return record_difference(one, other, None)
        return record_difference(
            kept[0],
            kept[1],
            np.arange(len(self._sample)),
            self._groups.get(one.source),
            share=self._share,
        )
