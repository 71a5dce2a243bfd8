"""Sweeps over one tile on a GPU, in Triton: they read a tile, and write nothing of its size.

Two of them are worth their own code, for they are what a pass over all pairs does with every tile:
the sums of exponentials of all temperatures, and the search for entries that reach a row's or a
column's limit.  torch's own operations would read and write the tile several times for each.

A program adds up the rows, or the columns, that it owns, so no sum depends on the order in which
programs run, and the entries that are found, in any order, are sorted afterwards: the same tile
gives the same bytes.  `TRITON_INTERPRET=1` runs the same code on the
CPU; that is how it is tested without a GPU.
"""

from __future__ import annotations

import contextlib
from subprocess import SubprocessError
from typing import Any

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray
from triton.errors import TritonError

ALL_MASS, ALL_GAP, SAME_MASS, SAME_GAP, OTHER_MASS, OTHER_GAP, SQUARES = (1 << b for b in range(7))
_ROWS, _COLS, _WARPS = 16, 128, 4
_PROGRAMS, _MOST_SEGMENTS = 8192, 16
"""Programs at which a GPU is busy; segments into which the other side is cut until there are."""
_STEPS = 16
_BLOCK, _ENTRIES = 128, 1 << 20
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
def _softmax(
    s_ptr,
    cuts_ptr,
    row_class_ptr,
    col_class_ptr,
    scales_ptr,
    out_ptr,
    n_rows,
    n_cols,
    N_STEPS: tl.constexpr,
    N_TAUS: tl.constexpr,
    SUMS: tl.constexpr,
    N_SLOTS: tl.constexpr,
    OF_ROWS: tl.constexpr,
    HAS_CUTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Sums of exp(s / tau) over the rows, or columns, of a program, for one temperature.

    Programs of the temperatures of one block run side by side, so that memory is read once.  The
    second axis of programs has segments of the other side; slots follow the bits of SUMS.
    """
    t = tl.program_id(0) % N_TAUS
    own = tl.program_id(0) // N_TAUS
    segment = tl.program_id(1)
    hi = tl.load(scales_ptr + 2 * t)
    lo = tl.load(scales_ptr + 2 * t + 1)
    all_mass = tl.zeros([ROWS, COLS], tl.float32)
    all_gap = tl.zeros([ROWS, COLS], tl.float32)
    same_mass = tl.zeros([ROWS, COLS], tl.float32)
    same_gap = tl.zeros([ROWS, COLS], tl.float32)
    other_mass = tl.zeros([ROWS, COLS], tl.float32)
    other_gap = tl.zeros([ROWS, COLS], tl.float32)
    squares = tl.zeros([ROWS, COLS], tl.float32)
    for step in range(N_STEPS):
        start = (segment * N_STEPS + step) * (COLS if OF_ROWS else ROWS)
        if OF_ROWS:
            rows = own * ROWS + tl.arange(0, ROWS)
            cols = start + tl.arange(0, COLS)
        else:
            rows = start + tl.arange(0, ROWS)
            cols = own * COLS + tl.arange(0, COLS)
        s, counts = _block(s_ptr, cuts_ptr, n_rows, n_cols, rows, cols, HAS_CUTS)
        # exp(s / tau) = 2^(s hi) 2^(s lo + what the product s hi was rounded by)
        power = s * hi
        lost = tl.fma(s, tl.zeros_like(s) + hi, -power) + s * lo
        e = tl.exp2(power) * (1.0 + 0.6931471805599453 * lost)
        e = tl.where(counts, e, 0.0)
        gap = 1.0 - s
        if SUMS & 1:
            all_mass += e
        if SUMS & 2:
            all_gap += e * gap
        if SUMS & 60:
            of_row = tl.load(row_class_ptr + rows, mask=rows < n_rows, other=-1)[:, None]
            of_col = tl.load(col_class_ptr + cols, mask=cols < n_cols, other=-1)[None, :]
            known = (of_row >= 0) & (of_col >= 0)
            if SUMS & 12:
                same = tl.where(known & (of_row == of_col), e, 0.0)
                if SUMS & 4:
                    same_mass += same
                if SUMS & 8:
                    same_gap += same * gap
            if SUMS & 48:
                other = tl.where(known & (of_row != of_col), e, 0.0)
                if SUMS & 16:
                    other_mass += other
                if SUMS & 32:
                    other_gap += other * gap
        if SUMS & 64:
            squares += e * e
    if OF_ROWS:
        at = own * ROWS + tl.arange(0, ROWS)
        n = n_rows
    else:
        at = own * COLS + tl.arange(0, COLS)
        n = n_cols
    out_ptr += (t * N_SLOTS * tl.num_programs(1) + segment).to(tl.int64) * n
    stride = tl.num_programs(1).to(tl.int64) * n
    is_there = at < n
    if SUMS & 1:
        tl.store(out_ptr + at, tl.sum(all_mass, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 2:
        tl.store(out_ptr + at, tl.sum(all_gap, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 4:
        tl.store(out_ptr + at, tl.sum(same_mass, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 8:
        tl.store(out_ptr + at, tl.sum(same_gap, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 16:
        tl.store(out_ptr + at, tl.sum(other_mass, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 32:
        tl.store(out_ptr + at, tl.sum(other_gap, axis=1 if OF_ROWS else 0), mask=is_there)
        out_ptr += stride
    if SUMS & 64:
        tl.store(out_ptr + at, tl.sum(squares, axis=1 if OF_ROWS else 0), mask=is_there)


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
        at = (rows.to(tl.int64)[:, None] << 32) + cols[None, :]
        tl.store(at_ptr + place, tl.reshape(at, [ROWS * COLS]), mask=is_kept)
        tl.store(values_ptr + place, tl.reshape(s, [ROWS * COLS]), mask=is_kept)


def _on(device: Any) -> contextlib.AbstractContextManager[Any]:
    """Launch on that device: Triton takes the current one, whatever the tensors are on."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def why_not(device: Any) -> str:
    """Why these sweeps cannot be compiled and run on a device; empty where they can.

    Triton needs a C compiler at the first launch, and a card that it knows.
    """
    import torch

    tile = torch.zeros((1, 1), dtype=torch.float32, device=device)
    try:
        softmax_sums(tile, None, None, None, np.ones(1), ALL_MASS, True)
        entries(tile, tile[0], None)
    except (RuntimeError, OSError, ImportError, SubprocessError, TritonError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


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

    Columns have no slot for squares; None where nobody asks for columns.

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
    n_taus = len(inverse_taus)
    exact = inverse_taus * _LOG2_E
    high = exact.astype(np.float32)
    scales = torch.from_numpy(np.stack([high, (exact - high).astype(np.float32)], axis=1))
    scales = scales.to(similarity.device)
    nothing = similarity if cuts is None else cuts

    def summed(of_rows: bool) -> Any:
        wanted = sums if of_rows else sums & ~SQUARES
        n_slots = wanted.bit_count()
        n, n_others = (n_rows, n_cols) if of_rows else (n_cols, n_rows)
        n_own = triton.cdiv(n, _ROWS if of_rows else _COLS)
        n_segments = max(1, min(_MOST_SEGMENTS, _PROGRAMS // (n_own * n_taus)))
        step = _COLS if of_rows else _ROWS
        n_steps = triton.cdiv(triton.cdiv(n_others, step), n_segments)
        if n_steps > _STEPS:  # few different numbers: each is compiled for itself
            n_steps = _STEPS * triton.cdiv(n_steps, _STEPS)
        n_segments = triton.cdiv(n_others, step * n_steps)
        shape = n_taus * n_slots, n_segments, n
        out = torch.empty(shape, dtype=torch.float32, device=similarity.device)
        with _on(similarity.device):
            _softmax[n_own * n_taus, n_segments](
                similarity,
                nothing,
                nothing if row_class is None else row_class,
                nothing if col_class is None else col_class,
                scales,
                out,
                n_rows,
                n_cols,
                N_STEPS=n_steps,
                N_TAUS=n_taus,
                SUMS=wanted,
                N_SLOTS=n_slots,
                OF_ROWS=of_rows,
                HAS_CUTS=cuts is not None,
                ROWS=_ROWS,
                COLS=_COLS,
                num_warps=_WARPS,
            )
        return out.sum(dim=1, dtype=torch.float64).view(n_taus, n_slots, n)

    has_sums_of_columns = both and sums & ~SQUARES
    return summed(True), summed(False) if has_sums_of_columns else None


def entries(similarity: Any, row_limits: Any, col_limits: Any) -> tuple[Any, Any]:
    """Positions (row * 2^32 + column) and values of the entries that reach a limit, in any order.

    Args:
        similarity: (n_rows, n_cols) contiguous float32 tensor.
        row_limits: (n_rows,) float32 tensor.
        col_limits: (n_cols,) likewise; None: rows alone.
    """
    import torch

    n_rows, n_cols = similarity.shape
    device = similarity.device
    grid = triton.cdiv(n_rows, _BLOCK), triton.cdiv(n_cols, _BLOCK)
    most = _ENTRIES
    while True:
        n_found = torch.zeros(1, dtype=torch.int32, device=device)
        at = torch.empty(most, dtype=torch.int64, device=device)
        values = torch.empty(most, dtype=torch.float32, device=device)
        with _on(device):
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
                ROWS=_BLOCK,
                COLS=_BLOCK,
                num_warps=8,
            )
        n = int(n_found.item())
        if n <= most:
            return at[:n], values[:n]
        most = n
