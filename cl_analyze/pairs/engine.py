"""The only loop over pairs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Array, Backend, Index, Moving
from cl_analyze.pairs.executors import Executor, SerialExecutor
from cl_analyze.pairs.plan import Plan, Span, Unit, spans
from cl_analyze.pairs.saved import SavedPass
from cl_analyze.pairs.tile import Bound, PairSet, SoftmaxAsk, Tile

State = Any
Progress = Callable[[int, int], None]


class Reducer:
    """A reduction over pairs: a frozen, hashable dataclass with pure functions.

    A subclass defines `identity`, and `reduce` or `reduce_side`.  The other functions are right for
    states that are arrays and merge by addition.  States hold NumPy arrays about one block of rows.
    `merge` is associative and `identity` is its identity; tests check both for every reducer.

    A reducer that has a field `tau` uses the tile's exponentials at that temperature.

    Attributes:
        pairs: which pairs count.
        side: what its states are about: `rows`; `columns`, where a rectangular pass keeps those of
            its columns; or `all`, one state for all rows together.
    """

    side: ClassVar[str] = "rows"
    pairs: PairSet

    def identity(self, n_rows: int) -> State:
        """The state of a block of rows that has seen no pair."""
        raise NotImplementedError

    def reduce(self, tile: Tile) -> tuple[State, State]:
        """The tile's contribution to its rows' and to its columns' states (None: nothing)."""
        of_rows, of_columns = self.sides(tile)
        return (
            self.reduce_side(tile, True) if of_rows else None,
            self.reduce_side(tile, False) if of_columns else None,
        )

    def reduce_side(self, tile: Tile, of_rows: bool) -> State:
        """The tile's contribution to its rows' states, or to its columns'."""
        raise NotImplementedError

    def sides(self, tile: Tile) -> tuple[bool, bool]:
        """Whether the tile feeds its rows' states, and its columns'."""
        return tile.both_sides or self.side != "columns", tile.both_sides or self.side == "columns"

    @property
    def softmax_ask(self) -> SoftmaxAsk | None:
        """The sums of exponentials that it takes from a tile; None: none."""
        return None

    def merge(self, a: State, b: State) -> State:
        """The state after the pairs of both."""
        return a + b

    def bound(self, state: State) -> Bound:
        """Per row, the similarity under which pairs no longer matter; None: all matter."""
        return None

    def join(self, states: Sequence[State]) -> State:
        """The state of consecutive rows, from the states of their parts in row order."""
        return np.concatenate(states)

    def finalize(self, states: Sequence[State]) -> Any:
        """The result for all rows, from the blocks' states in row order."""
        return functools.reduce(self.merge, states) if self.side == "all" else self.join(states)


def from_earlier_pass() -> Any:
    """A reducer's field for results of an earlier pass; reducers are compared without it."""
    return field(default=None, compare=False, repr=False)


def _order_in_tile(reducer: Reducer) -> tuple[float, int]:
    """Reducers of one temperature come together, and tau right before tau/2.

    The exponentials at tau/2 are squares of those at tau.  Reducers without a temperature come
    last.
    """
    mantissa, exponent = math.frexp(getattr(reducer, "tau", math.inf))
    return mantissa, -exponent


@dataclass(frozen=True)
class LeftOut:
    """Columns that never count for a row, beside the one of its own index.

    Attributes:
        starts: (n_rows + 1,) columns of row i are starts[i] up to starts[i + 1].
        columns: (P,) the columns, not that of the row itself.
    """

    starts: Index
    columns: Index

    @classmethod
    def one_each(cls, columns: Index) -> LeftOut:
        """One column for each row."""
        return cls(np.arange(len(columns) + 1), columns)

    def of_rows(self, rows: Index) -> LeftOut:
        """The columns of some rows, in their order."""
        counts = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        place = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[rows], counts)
        return LeftOut(starts, self.columns[place])

    def inside(self, rows: Span, cols: Span) -> tuple[Index, Index]:
        """Positions (row, column) within a tile."""
        starts = self.starts[rows[0] : rows[1] + 1]
        columns = self.columns[starts[0] : starts[-1]]
        own = np.repeat(np.arange(rows[1] - rows[0]), np.diff(starts))
        is_inside = (columns >= cols[0]) & (columns < cols[1])
        return own[is_inside], columns[is_inside] - cols[0]


@dataclass(frozen=True)
class PairSource:
    """The rows that a pass reads, and which pairs of them count.

    Attributes:
        rows, cols: unit rows; the same object in a symmetric pass.
        row_index: (n_rows,) global index of each row; None: 0..n-1.
        row_labels, col_labels: class codes, -1 unlabelled; None without labels.
        left_out: further columns that never count.
        apart: whether rows and columns are different items, so that equal indices count.
    """

    rows: UnitRows
    cols: UnitRows
    row_index: Index | None = None
    row_labels: Index | None = None
    col_labels: Index | None = None
    left_out: LeftOut | None = None
    apart: bool = False

    def tile(
        self, backend: Backend, rows: Span, cols: Span, anchors: Array = None, others: Array = None
    ) -> Tile:
        """Compute the similarities of a block of rows with a block of columns.

        Args:
            backend: computes them.
            rows, cols: (start, stop) of both.
            anchors, others: the blocks on the device; None: they are read and moved there.
        """
        anchors = backend.to_device(self.rows.block(*rows)) if anchors is None else anchors
        others = backend.to_device(self.cols.block(*cols)) if others is None else others
        similarity = backend.scratch("similarity", (rows[1] - rows[0], cols[1] - cols[0]))
        backend.xp.matmul(anchors, others.T, out=similarity)
        in_rows, in_cols = slice(*rows), slice(*cols)
        row_ids = np.arange(*rows) if self.row_index is None else self.row_index[in_rows]
        positions = [_inside(row_ids[:0] if self.apart else row_ids, cols)]
        if self.left_out is not None:
            positions.append(self.left_out.inside(rows, cols))
        left_rows, left_cols = (np.concatenate(parts) for parts in zip(*positions, strict=True))
        return Tile(
            similarity=similarity,
            rows=row_ids,
            cols=np.arange(*cols),
            left_out=(left_rows, left_cols),
            both_sides=False,
            backend=backend,
            row_labels=None if self.row_labels is None else self.row_labels[in_rows],
            col_labels=None if self.col_labels is None else self.col_labels[in_cols],
        )


def _inside(columns: Index, span: Span) -> tuple[Index, Index]:
    """Positions (row, column) of the columns that fall into a span."""
    rows = np.flatnonzero((columns >= span[0]) & (columns < span[1]))
    return rows, columns[rows] - span[0]


_Bounds = list[dict[int, NDArray[np.float64]]]
"""For each reducer, block -> the bound of its rows."""
Partials = list[dict[int, State]]
"""For each reducer, block -> the block's state after the tiles of one unit."""


@dataclass(frozen=True)
class _BoundedUnit:
    """A unit and, for each reducer, block -> the bound known when the unit was handed out."""

    unit: Unit
    bounds: _Bounds


@dataclass(frozen=True)
class PairJob:
    """Data that all units of a pass share; picklable: another process opens the files again.

    Attributes:
        reducers: in the order in which tiles ask them.
        source: the rows.
        plan: the tiles.
        backend: where tiles are computed.
    """

    reducers: tuple[Reducer, ...]
    source: PairSource
    plan: Plan
    backend: Backend

    def slots(self, reducer: Reducer) -> list[int]:
        """Rows of each state that this reducer keeps."""
        plan = self.plan
        if reducer.side == "all":
            return [plan.row_spans[-1][1]]
        columns = reducer.side == "columns" and not plan.symmetric
        return [b - a for a, b in (plan.col_spans if columns else plan.row_spans)]

    def run(self, handed: _BoundedUnit) -> Partials:
        """States of the blocks of one unit, its tiles merged in their order."""
        plan, symmetric = self.plan, self.plan.symmetric
        partials: Partials = [{} for _ in self.reducers]
        bounds = [dict(of_blocks) for of_blocks in handed.bounds]
        blocks = _DeviceBlocks(self.source, self.backend, plan)
        tiles = list(plan.tiles(handed.unit))
        for (i, j), next_tile in zip(tiles, [*tiles[1:], None], strict=True):
            states = self._states((i, j), next_tile, blocks, bounds)
            for r, (reducer, (for_rows, for_cols)) in enumerate(
                zip(self.reducers, states, strict=True)
            ):
                parts = [(i, for_rows), (j, for_cols)]
                if reducer.side == "all":
                    parts = [(0, for_rows)]
                elif not symmetric:
                    parts = [parts[reducer.side == "columns"]]
                for block, state in parts:
                    if state is None:
                        continue
                    if block in partials[r]:
                        state = reducer.merge(partials[r][block], state)
                    partials[r][block] = state
                    bound = reducer.bound(state)
                    if bound is not None:
                        bounds[r][block] = np.maximum(bounds[r].get(block, -np.inf), bound)
        return partials

    def _states(
        self,
        at: tuple[int, int],
        next_tile: tuple[int, int] | None,
        blocks: _DeviceBlocks,
        bounds: _Bounds,
    ) -> list[tuple[State, State]]:
        """For each reducer, a tile's contribution to its rows and to its columns.

        Where the memory of the device is full, the tile is computed again, perhaps in parts.

        Args:
            at: row block and column block of the tile.
            next_tile: that of the tile after it.
            blocks: of the unit.
            bounds: for each reducer, block -> bound.

        Raises:
            AnalysisError: the memory is too small for any part.
        """
        sides = self.plan.row_spans[at[0]], self.plan.col_spans[at[1]]
        longest = max(stop - start for start, stop in sides)
        while True:
            begun, most = self.backend.n_shortages, self.backend.most_rows
            n_rows = longest if most is None else min(longest, most)
            try:
                with self.backend.computing():
                    anchors, others = blocks.get(*at)
                    if next_tile is not None:  # its copy to a GPU runs beside this tile's kernels
                        blocks.start(*next_tile)
                    return self._states_of_parts(at, n_rows, anchors, others, bounds)
            except (RuntimeError, MemoryError) as error:
                if not self.backend.is_full(error):
                    raise
                reason = str(error)  # the error itself holds the tile's arrays
            anchors = others = None
            blocks.clear()
            self.backend.make_room(reason, n_rows, begun)

    def _states_of_parts(
        self, at: tuple[int, int], n_rows: int, anchors: Array, others: Array, bounds: _Bounds
    ) -> list[tuple[State, State]]:
        """The states of a tile that is computed in parts of at most n rows and columns.

        A tile that is not larger is its own only part.
        """
        (row0, row1), (col0, col1) = self.plan.row_spans[at[0]], self.plan.col_spans[at[1]]
        row_parts, col_parts = spans(row1 - row0, n_rows), spans(col1 - col0, n_rows)
        found = [
            [self._states_of_part(at, rows, cols, anchors, others, bounds) for cols in col_parts]
            for rows in row_parts
        ]
        if len(row_parts) == len(col_parts) == 1:
            return found[0][0]
        return [
            _joined(reducer, [[states[r] for states in of_rows] for of_rows in found])
            for r, reducer in enumerate(self.reducers)
        ]

    def _states_of_part(
        self,
        at: tuple[int, int],
        rows: Span,
        cols: Span,
        anchors: Array,
        others: Array,
        bounds: _Bounds,
    ) -> list[tuple[State, State]]:
        """The states of a part of a tile; its rows and columns are counted within the tile."""
        symmetric, (i, j) = self.plan.symmetric, at
        row0, col0 = self.plan.row_spans[i][0], self.plan.col_spans[j][0]
        own, theirs = slice(*rows), slice(*cols)
        tile = self.source.tile(
            self.backend,
            (row0 + rows[0], row0 + rows[1]),
            (col0 + cols[0], col0 + cols[1]),
            anchors[own],
            others[theirs],
        )
        tile.both_sides = symmetric and i != j
        tile.asks = self._asks
        states = []
        for of_blocks, reducer in zip(bounds, self.reducers, strict=True):
            if symmetric or reducer.side == "rows":
                of_rows, of_cols = of_blocks.get(i), of_blocks.get(j)
                tile.bounds[reducer] = (
                    None if of_rows is None else of_rows[own],
                    None if of_cols is None else of_cols[theirs],
                )
            states.append(reducer.reduce(tile))
        return states

    @functools.cached_property
    def _asks(self) -> tuple[SoftmaxAsk, ...]:
        """The sums of exponentials that all reducers take."""
        asks = [reducer.softmax_ask for reducer in self.reducers]
        return tuple(dict.fromkeys(ask for ask in asks if ask is not None))


def _joined(reducer: Reducer, parts: list[list[tuple[State, State]]]) -> tuple[State, State]:
    """The states of a tile's rows and columns, from those of its parts: rows of parts."""

    def merged(states: Iterable[State]) -> State:
        given = [state for state in states if state is not None]
        return functools.reduce(reducer.merge, given) if given else None

    def joined(states: list[State]) -> State:
        if reducer.side == "all":
            return merged(states)
        return None if states[0] is None else reducer.join(states)

    of_rows = [merged(for_rows for for_rows, _ in of_row) for of_row in parts]
    of_cols = [merged(for_cols for _, for_cols in of_col) for of_col in zip(*parts, strict=True)]
    return joined(of_rows), joined(of_cols)


class _DeviceBlocks:
    """The blocks of one unit on the backend's device: each is moved there once."""

    def __init__(self, source: PairSource, backend: Backend, plan: Plan) -> None:
        self._source, self._backend, self._plan = source, backend, plan
        self._rows: dict[int, Moving] = {}
        self._cols = self._rows if source.rows is source.cols and plan.symmetric else {}

    def start(self, i: int, j: int) -> None:
        """Start to move row block i and column block j.

        Of a unit off the diagonal, one row block is held.
        """
        plan, source, moving = self._plan, self._source, self._backend.moving
        if i not in self._rows:
            if self._rows is not self._cols:
                self._rows.clear()
            self._rows[i] = moving(source.rows, plan.row_spans[i])
        if j not in self._cols:
            self._cols[j] = moving(source.cols, plan.col_spans[j])

    def get(self, i: int, j: int) -> tuple[Array, Array]:
        """Row block i and column block j."""
        self.start(i, j)
        return self._rows[i].get(), self._cols[j].get()

    def clear(self) -> None:
        """Let go of all blocks."""
        self._rows.clear()
        self._cols.clear()


def reduce_pairs(
    reducers: Iterable[Reducer],
    source: PairSource,
    plan: Plan,
    backend: Backend,
    executor: Executor | None = None,
    progress: Progress | None = None,
    saved: SavedPass | None = None,
) -> dict[Reducer, Any]:
    """Run one pass over the pairs of a plan.

    Args:
        reducers: what to compute; equal configurations share one state.
        source: the rows.
        plan: the tiles; symmetric plans need source.rows is source.cols.
        backend: where tiles are computed.
        executor: default serial.
        progress: called with (pairs done, pairs in all) after each unit.
        saved: keeps the states on the way, and has those of an earlier run.

    Returns:
        Each reducer's finalized result.

    Cost: one matrix product of half (symmetric) or all of the plan's pairs, plus what the reducers
    add; memory O(block^2) per thread, plus the states.
    """
    wanted = sorted(dict.fromkeys(reducers), key=_order_in_tile)
    if not wanted:
        return {}
    if plan.symmetric and source.rows is not source.cols:
        raise ValueError("a symmetric plan needs the same rows on both sides")
    job = PairJob(tuple(wanted), source, plan, backend)
    states = [[reducer.identity(n) for n in job.slots(reducer)] for reducer in wanted]
    n_done = 0
    if saved is not None:
        kept = saved.load(states)
        if kept is not None:
            n_done, states = kept

    def with_bounds(unit: Unit) -> _BoundedUnit:
        bounds: _Bounds = [{} for _ in wanted]
        blocks = sorted({*range(*unit.rows), *(range(*unit.cols) if plan.symmetric else ())})
        for r, reducer in enumerate(wanted):
            for block in blocks if reducer.side == "rows" else ():
                bound = reducer.bound(states[r][block])
                if bound is not None:
                    bounds[r][block] = bound
        return _BoundedUnit(unit, bounds)

    units = list(plan.units())
    done = sum(plan.n_pairs_of(unit) for unit in units[:n_done])
    total = plan.n_pairs
    if saved is not None and n_done:
        saved.on_resume(done, total)
    remaining = units[n_done:]
    results = (executor or SerialExecutor()).run(job, map(with_bounds, remaining))
    for position, (unit, partials) in enumerate(zip(remaining, results, strict=True), n_done + 1):
        for r, (reducer, partial) in enumerate(zip(wanted, partials, strict=True)):
            for block, state in partial.items():
                states[r][block] = reducer.merge(states[r][block], state)
        if saved is not None:
            saved.save(position, states, position == len(units))
        done += plan.n_pairs_of(unit)
        if progress is not None:
            progress(done, total)
    return {reducer: reducer.finalize(kept) for reducer, kept in zip(wanted, states, strict=True)}
