"""The only loop over pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Backend, Index
from cl_analyze.pairs.executors import Executor, SerialExecutor, single_threaded_blas
from cl_analyze.pairs.plan import Plan
from cl_analyze.pairs.tile import Tile

State = Any
Progress = Callable[[int, int], None]


class Reducer(Protocol):
    """A reduction over pairs: a frozen, hashable configuration with five pure functions.

    States hold NumPy arrays about one block of rows.  `merge` is associative and `identity` is its
    identity; tests check both for every reducer.

    Attributes:
        sort_key: reducers are asked in ascending order of it, so that those that can share a
            tile's exponentials come one after the other.
        side: whose states a rectangular pass keeps: its rows' or its columns'.
    """

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Where in a tile's work this reducer comes."""
        ...

    @property
    def side(self) -> str:
        """`rows` or `columns`."""
        ...

    def identity(self, n_rows: int) -> State:
        """The state of a block of rows that has seen no pair."""
        ...

    def reduce(self, tile: Tile) -> tuple[State, State]:
        """The tile's contribution to its rows' and to its columns' states (None: nothing)."""
        ...

    def merge(self, a: State, b: State) -> State:
        """The state after the pairs of both."""
        ...

    def bound(self, state: State) -> NDArray[np.float64] | None:
        """Per row, the similarity under which pairs no longer matter; None: all matter."""
        ...

    def finalize(self, states: Sequence[State]) -> Any:
        """The result for all rows, from the blocks' states in row order."""
        ...


@dataclass(frozen=True)
class PairSource:
    """What a pass reads.

    Attributes:
        rows, cols: unit rows; the same object in a symmetric pass.
        row_index: (n_rows,) global index of each row; None where rows are 0..n-1.
        row_labels, col_labels: class codes, -1 unlabelled; None without labels.
        left_out: (n_rows,) for each row one column that never counts beside itself, -1 none.
    """

    rows: UnitRows
    cols: UnitRows
    row_index: Index | None = None
    row_labels: Index | None = None
    col_labels: Index | None = None
    left_out: Index | None = None

    def tile(self, backend: Backend, rows: tuple[int, int], cols: tuple[int, int]) -> Tile:
        """Compute the similarities of a block of rows with a block of columns."""
        anchors = backend.to_device(self.rows.block(*rows))
        others = backend.to_device(self.cols.block(*cols))
        similarity = backend.scratch("similarity", (rows[1] - rows[0], cols[1] - cols[0]))
        backend.matmul(anchors, others, out=similarity)
        row_ids = (
            np.arange(rows[0], rows[1])
            if self.row_index is None
            else self.row_index[rows[0] : rows[1]]
        )
        positions = [_inside(row_ids, cols)]
        if self.left_out is not None:
            positions.append(_inside(self.left_out[rows[0] : rows[1]], cols))
        return Tile(
            similarity=similarity,
            rows=row_ids,
            cols=np.arange(cols[0], cols[1]),
            left_out=(
                np.concatenate([p[0] for p in positions]),
                np.concatenate([p[1] for p in positions]),
            ),
            both_sides=False,
            backend=backend,
            row_labels=None if self.row_labels is None else self.row_labels[rows[0] : rows[1]],
            col_labels=None if self.col_labels is None else self.col_labels[cols[0] : cols[1]],
        )


def _inside(columns: Index, span: tuple[int, int]) -> tuple[Index, Index]:
    """Positions (row, column) of the columns that fall into a span."""
    rows = np.flatnonzero((columns >= span[0]) & (columns < span[1]))
    return rows, columns[rows] - span[0]


def shared_exponential_order(tau: float) -> tuple[float, ...]:
    """Sort key under which tau comes right before tau/2, whose exponentials are its squares."""
    mantissa, exponent = math.frexp(tau)
    return (mantissa, -float(exponent))


@dataclass
class _Accumulated:
    """States of one reducer for every block, with the bounds that let it prune."""

    reducer: Reducer
    states: list[State]
    bounds: list[NDArray[np.float64] | None] = field(default_factory=list)

    def add(self, block: int, partial: State) -> None:
        if partial is None:
            return
        self.states[block] = self.reducer.merge(self.states[block], partial)
        self.bounds[block] = self.reducer.bound(self.states[block])


def reduce_pairs(
    reducers: Iterable[Reducer],
    source: PairSource,
    plan: Plan,
    backend: Backend,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[Reducer, Any]:
    """Run one pass over the pairs of a plan.

    Args:
        reducers: what to compute; equal configurations share one state.
        source: the rows.
        plan: the tiles; symmetric plans need source.rows is source.cols.
        backend: where tiles are computed.
        executor: default serial.
        progress: called with (pairs done, pairs in all) after each tile.

    Returns:
        Each reducer's finalized result.

    Cost: one matrix product of half (symmetric) or all of the plan's pairs, plus what the reducers
    add; memory O(block^2) per thread, plus the states.
    """
    wanted = sorted(dict.fromkeys(reducers), key=lambda reducer: reducer.sort_key)
    if not wanted:
        return {}
    if plan.symmetric and source.rows is not source.cols:
        raise ValueError("a symmetric plan needs the same rows on both sides")
    kept: dict[Reducer, _Accumulated] = {}
    for reducer in wanted:
        columns = reducer.side == "columns" and not plan.symmetric
        blocks = plan.col_spans if columns else plan.row_spans
        identities = [reducer.identity(stop - start) for start, stop in blocks]
        kept[reducer] = _Accumulated(
            reducer, identities, [reducer.bound(state) for state in identities]
        )

    def compute(pair: tuple[int, int]) -> dict[Reducer, tuple[State, State]]:
        i, j = pair
        tile = source.tile(backend, plan.row_spans[i], plan.col_spans[j])
        tile.both_sides = plan.symmetric and i != j
        for reducer in wanted:
            bounds = kept[reducer].bounds
            row_bound, col_bound = bounds[i], bounds[j] if plan.symmetric else None
            if row_bound is not None:
                tile.bounds[reducer] = (row_bound, row_bound if col_bound is None else col_bound)
        return {reducer: reducer.reduce(tile) for reducer in wanted}

    done = 0
    total = plan.n_pairs
    with single_threaded_blas():
        results = (executor or SerialExecutor()).map(compute, plan.tiles)
        for (i, j), partials in zip(plan.tiles, results, strict=True):
            for reducer, (for_rows, for_cols) in partials.items():
                if plan.symmetric:
                    kept[reducer].add(i, for_rows)
                    kept[reducer].add(j, for_cols)
                elif reducer.side == "columns":
                    kept[reducer].add(j, for_cols)
                else:
                    kept[reducer].add(i, for_rows)
            if progress is not None:
                rows, cols = plan.row_spans[i], plan.col_spans[j]
                done += (rows[1] - rows[0]) * (cols[1] - cols[0])
                progress(done, total)
    return {reducer: found.reducer.finalize(found.states) for reducer, found in kept.items()}
