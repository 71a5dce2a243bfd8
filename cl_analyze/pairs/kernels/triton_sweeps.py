"""Sweeps over one tile on a GPU, in Triton: each block of the tile is read once.

Two of them are worth their own code, for they are what a pass over all pairs does with every tile:
the sums of exponentials of all temperatures, and the search for entries that reach a row's or a
column's limit.  torch's own operations would read and write the tile several times for each.

Sums of a block leave in float32 and are added up over the blocks by torch, in float64 and in a
fixed order: the same tile gives the same bytes.  `TRITON_INTERPRET=1` runs the same code on the
CPU; that is how it is tested without a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray

ALL_MASS, ALL_GAP, SAME_MASS, SAME_GAP, OTHER_MASS, OTHER_GAP, SQUARES = (1 << b for b in range(7))
_ROWS, _COLS, _WARPS = 128, 128, 8
_ENTRIES = 1 << 16
_LOG2_E = 1.4426950408889634


@triton.jit
def _block(s_ptr, cuts_ptr, n_rows, n_cols, rows, cols, HAS_CUTS: tl.constexpr):
    """Similarities of a block, and which of its pairs count."""
    counts = (rows < n_rows)[:, None] & (cols < n_cols)[None, :]
    at = rows.to(tl.int64)[:, None] * n_cols + cols[None, :]
    s = tl.load(s_ptr + at, mask=counts, other=0.0)
    if HAS_CUTS:
        first = tl.load(cuts_ptr + 2 * rows, mask=rows < n_rows, other=-1)
        second = tl.load(cuts_ptr + 2 * rows + 1, mask=rows < n_rows, other=-1)
        counts = counts & (cols[None, :] != first[:, None]) & (cols[None, :] != second[:, None])
    return s, counts


@triton.jit
def _put(values, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH: tl.constexpr):
    """Sums of a block's rows and columns into (slots, blocks, n)."""
    row_at = (slot * tl.num_programs(1) + tl.program_id(1)).to(tl.int64) * n_rows + rows
    tl.store(row_out + row_at, tl.sum(values, axis=1), mask=rows < n_rows)
    if BOTH:
        col_at = (slot * tl.num_programs(0) + tl.program_id(0)).to(tl.int64) * n_cols + cols
        tl.store(col_out + col_at, tl.sum(values, axis=0), mask=cols < n_cols)


@triton.jit
def _softmax(
    s_ptr,
    cuts_ptr,
    row_class_ptr,
    col_class_ptr,
    scales_ptr,
    row_out,
    col_out,
    n_rows,
    n_cols,
    N_TAUS: tl.constexpr,
    SUMS: tl.constexpr,
    BOTH: tl.constexpr,
    HAS_CUTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Sums of exp(s / tau) for all temperatures; slots in the order of the bits of SUMS."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    s, counts = _block(s_ptr, cuts_ptr, n_rows, n_cols, rows, cols, HAS_CUTS)
    gap = 1.0 - s
    if SUMS & 60:
        of_row = tl.load(row_class_ptr + rows, mask=rows < n_rows, other=-1)[:, None]
        of_col = tl.load(col_class_ptr + cols, mask=cols < n_cols, other=-1)[None, :]
        known = (of_row >= 0) & (of_col >= 0)
        same = known & (of_row == of_col)
        other = known & (of_row != of_col)
    slot = 0
    for t in tl.static_range(N_TAUS):
        # exp(s / tau) = 2^(s hi) 2^(s lo + what the product s hi was rounded by)
        hi = tl.load(scales_ptr + 2 * t)
        lo = tl.load(scales_ptr + 2 * t + 1)
        power = s * hi
        lost = tl.fma(s, tl.zeros_like(s) + hi, -power) + s * lo
        e = tl.exp2(power) * (1.0 + 0.6931471805599453 * lost)
        e = tl.where(counts, e, 0.0)
        if SUMS & 1:
            _put(e, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
            slot += 1
        if SUMS & 2:
            _put(e * gap, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
            slot += 1
        if SUMS & 12:
            of_same = tl.where(same, e, 0.0)
            if SUMS & 4:
                _put(of_same, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
                slot += 1
            if SUMS & 8:
                _put(of_same * gap, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
                slot += 1
        if SUMS & 48:
            of_other = tl.where(other, e, 0.0)
            if SUMS & 16:
                _put(of_other, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
                slot += 1
            if SUMS & 32:
                _put(of_other * gap, row_out, col_out, slot, rows, cols, n_rows, n_cols, BOTH)
                slot += 1
        if SUMS & 64:
            _put(e * e, row_out, col_out, slot, rows, cols, n_rows, n_cols, False)
            slot += 1


@triton.jit
def _entries(
    s_ptr,
    row_limits_ptr,
    col_limits_ptr,
    n_found_ptr,
    at_ptr,
    values_ptr,
    n_rows,
    n_cols,
    most,
    BOTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Position and value of the entries that reach a limit, in any order, up to `most`."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.program_id(1) * COLS + tl.arange(0, COLS)
    s, inside = _block(s_ptr, s_ptr, n_rows, n_cols, rows, cols, False)
    row_limits = tl.load(row_limits_ptr + rows, mask=rows < n_rows, other=float("inf"))
    reached = s >= row_limits[:, None]
    if BOTH:
        col_limits = tl.load(col_limits_ptr + cols, mask=cols < n_cols, other=float("inf"))
        reached = reached | (s >= col_limits[None, :])
    flags = tl.reshape((reached & inside).to(tl.int32), [ROWS * COLS])
    n_reached = tl.sum(flags)
    if n_reached > 0:
        start = tl.atomic_add(n_found_ptr, n_reached)
        place = start + tl.cumsum(flags, 0) - flags
        is_kept = (flags > 0) & (place < most)
        at = rows.to(tl.int64)[:, None] * n_cols + cols[None, :]
        tl.store(at_ptr + place, tl.reshape(at, [ROWS * COLS]), mask=is_kept)
        tl.store(values_ptr + place, tl.reshape(s, [ROWS * COLS]), mask=is_kept)


def softmax_sums(
    similarity: Any,
    cuts: Any,
    row_class: Any,
    col_class: Any,
    inverse_taus: NDArray[np.float64],
    sums: int,
    both: bool,
) -> tuple[Any, Any]:
    """Sums over rows and columns of a tile: (taus, slots, n) in float64 on the device.

    Args:
        similarity: (n_rows, n_cols) float32 tensor.
        cuts: (n_rows, 2) int32 tensor of columns that never count in each row; None: none.
        row_class, col_class: int32 tensors of class codes; None without labels.
        inverse_taus: (taus,) 1 / tau, at most 60.
        sums: bits of `ALL_MASS` and so on; slots follow the bits.
        both: whether columns are asked for.
    """
    import torch

    n_rows, n_cols = similarity.shape
    n_taus, n_slots = len(inverse_taus), sums.bit_count()
    exact = inverse_taus * _LOG2_E
    high = exact.astype(np.float32)
    scales = np.stack([high, (exact - high).astype(np.float32)], axis=1)
    device = similarity.device
    grid = triton.cdiv(n_rows, _ROWS), triton.cdiv(n_cols, _COLS)

    def empty(n_blocks: int, n: int) -> Any:
        return torch.empty((n_taus * n_slots, n_blocks, n), dtype=torch.float32, device=device)

    of_rows = empty(grid[1], n_rows)
    of_cols = empty(grid[0], n_cols) if both else of_rows
    nothing = similarity if cuts is None else cuts
    _softmax[grid](
        similarity,
        nothing,
        nothing if row_class is None else row_class,
        nothing if col_class is None else col_class,
        torch.from_numpy(scales).to(device),
        of_rows,
        of_cols,
        n_rows,
        n_cols,
        N_TAUS=n_taus,
        SUMS=sums,
        BOTH=both,
        HAS_CUTS=cuts is not None,
        ROWS=_ROWS,
        COLS=_COLS,
        num_warps=_WARPS,
    )
    row_sums = of_rows.sum(dim=1, dtype=torch.float64).view(n_taus, n_slots, n_rows)
    if not both:
        return row_sums, None
    return row_sums, of_cols.sum(dim=1, dtype=torch.float64).view(n_taus, n_slots, n_cols)


def entries(similarity: Any, row_limits: Any, col_limits: Any) -> tuple[Any, Any]:
    """Positions (row times columns plus column) and values of the entries that reach a limit.

    Args:
        similarity: (n_rows, n_cols) contiguous float32 tensor.
        row_limits: (n_rows,) float32 tensor.
        col_limits: (n_cols,) likewise; None: rows alone.
    """
    import torch

    n_rows, n_cols = similarity.shape
    device = similarity.device
    grid = triton.cdiv(n_rows, _ROWS), triton.cdiv(n_cols, _COLS)
    most = _ENTRIES
    while True:
        n_found = torch.zeros(1, dtype=torch.int32, device=device)
        at = torch.empty(most, dtype=torch.int64, device=device)
        values = torch.empty(most, dtype=torch.float32, device=device)
        _entries[grid](
            similarity,
            row_limits,
            row_limits if col_limits is None else col_limits,
            n_found,
            at,
            values,
            n_rows,
            n_cols,
            most,
            BOTH=col_limits is not None,
            ROWS=_ROWS,
            COLS=_COLS,
            num_warps=_WARPS,
        )
        n = int(n_found.item())
        if n <= most:
            return at[:n], values[:n]
        most = n
