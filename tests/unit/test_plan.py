"""Plans visit every pair once, whatever the shape."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cl_analyze.pairs.plan import class_plan, rectangular_plan, symmetric_plan


def visited(plan):
    """How often each (row block, column block) is computed, and their units' pair counts."""
    tiles = Counter(tile for unit in plan.units() for tile in plan.tiles(unit))
    assert sum(plan.n_pairs_of(unit) for unit in plan.units()) == plan.n_pairs
    return tiles


@given(st.integers(1, 3000), st.integers(1, 64))
def test_a_symmetric_plan_visits_every_tile_on_and_above_the_diagonal_once(n_rows, block):
    plan = symmetric_plan(n_rows, block)
    n = len(plan.row_spans)
    assert visited(plan) == Counter((i, j) for i in range(n) for j in range(i, n))
    assert plan.row_spans[0][0] == 0
    assert plan.row_spans[-1][1] == n_rows
    assert all(stop - start <= block for start, stop in plan.row_spans)


@given(st.integers(1, 900), st.integers(1, 2000), st.integers(1, 64))
def test_a_rectangular_plan_visits_every_tile_once(n_rows, n_cols, block):
    plan = rectangular_plan(n_rows, n_cols, block)
    rows, cols = len(plan.row_spans), len(plan.col_spans)
    assert visited(plan) == Counter((i, j) for i in range(rows) for j in range(cols))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 30), st.integers(1, 9))
def test_a_class_plan_visits_every_pair_of_one_class(sizes, unlabelled, block):
    codes = np.repeat(np.arange(-1, len(sizes)), [unlabelled, *sizes])
    if not len(codes):
        return
    plan = class_plan(codes, block)
    tiles = visited(plan)
    assert max(tiles.values(), default=1) == 1
    owner = np.repeat(np.arange(len(plan.row_spans)), [b - a for a, b in plan.row_spans])
    same = (codes[:, None] == codes) & (codes >= 0)
    needed = {(owner[i], owner[j]) for i, j in np.argwhere(same) if i <= j}
    assert needed <= set(tiles)
    edges = [edge for span in plan.row_spans for edge in span]
    assert edges[0] == 0
    assert edges[-1] == len(codes)
    assert edges[1:-1:2] == edges[2::2]
    assert all(0 < b - a <= block for a, b in plan.row_spans)
    for a, b in plan.row_spans:  # a block of several classes holds them whole
        classes = set(codes[a:b].tolist())
        assert len(classes) == 1 or (codes[:a].tolist() + codes[b:].tolist()).count(codes[a]) == 0
        assert len(classes) == 1 or codes[b - 1] not in codes[b:]
    # and few others: a block is paired with no block beyond its last class
    for i, j in tiles:
        last = codes[plan.row_spans[i][1] - 1]
        assert last >= codes[plan.col_spans[j][0]]


def test_diagonal_units_come_first():
    plan = symmetric_plan(10_000, 100)
    units = list(plan.units())
    n_groups = len(plan.row_groups)
    assert all(unit.rows == unit.cols for unit in units[:n_groups])
    assert all(unit.rows != unit.cols for unit in units[n_groups:])
