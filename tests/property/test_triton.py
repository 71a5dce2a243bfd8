"""The sweeps for GPUs, run by Triton's interpreter on the CPU, against NumPy in float64."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cl_analyze.pairs import kernels
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.engine import reduce_pairs
from cl_analyze.pairs.plan import rectangular_plan, symmetric_plan
from tests import reducer_cases
from tests.conftest import ROOT


def check(seed: int, n_rows: int) -> None:
    """All reducers on awkward rows, some of which need the sweeps: in the process of the sweeps."""
    rows, labels = reducer_cases.embeddings(seed, n_rows)
    made = reducer_cases.configurations(rows, labels)
    backend = make_backend("cpu", np.float32, use_torch=True)
    assert backend.arithmetic == "torch cpu float32 triton"
    for plan in (symmetric_plan(n_rows, n_rows // 2), rectangular_plan(n_rows, n_rows, n_rows - 7)):
        wanted = [r for r in made if not (plan.symmetric and reducer_cases.is_rectangular_only(r))]
        exact = make_backend("cpu", np.float64)
        found, expected = (
            reduce_pairs(wanted, reducer_cases.source(rows, labels, b.dtype), plan, b)
            for b in (backend, exact)
        )
        for reducer in wanted:
            if isinstance(reducer, reducer_cases.HAS_EDGES):
                continue
            pairs = zip(
                *(map(reducer_cases.arrays, (found[reducer], expected[reducer]))), strict=True
            )
            for a, b in pairs:
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=str(reducer))
    twice = [
        reduce_pairs(wanted, reducer_cases.source(rows, labels, np.float32), plan, backend)
        for _ in range(2)
    ]
    for reducer in wanted:
        for a, b in zip(*(reducer_cases.arrays(x[reducer]) for x in twice), strict=True):
            assert a.tobytes() == b.tobytes(), reducer


SHAPES = ((1, 1), (1, 130), (17, 1), (16, 128), (33, 257), (130, 40))


def adversarial_tiles():
    """Tiles at the edges of what sweeps may meet: (similarity, cuts, classes of rows and columns).

    Similarities are 1, or -1, or beyond 1 by rounding; classes are all the same or unknown; every
    pair of a row may be left out; sides are shorter and longer than a program's.
    """
    random = np.random.default_rng(0)
    for at, (n_rows, n_cols) in enumerate(SHAPES):
        s = random.uniform(-1, 1, (n_rows, n_cols))
        s[random.random(s.shape) < 0.2] = 1.0
        s[random.random(s.shape) < 0.1] = -1.0
        s[random.random(s.shape) < 0.1] = 1.0 + 2.0**-22
        cuts = np.full((n_rows, 2), np.iinfo(np.int32).max)
        cuts[::2, 0] = random.integers(0, n_cols, len(cuts[::2]))
        cuts[::4, 1] = (cuts[::4, 0] + 1) % n_cols
        classes = [random.integers(-1, 3, n) for n in (n_rows, n_cols)]
        if at % 3 == 1:
            classes = [np.zeros(n, int) for n in (n_rows, n_cols)]
        if at % 3 == 2:
            classes[0][:] = -1
        yield s.astype(np.float32), None if at == 3 else cuts.astype(np.int32), classes


def expected_sums(s, cuts, classes, tau):
    """(7, n_rows) and (7, n_cols): every slot in float64, from its definition."""
    s = s.astype(np.float64)
    e = np.exp(s / tau)
    if cuts is not None:
        columns = np.arange(s.shape[1])
        e[(columns == cuts[:, :1]) | (columns == cuts[:, 1:])] = 0.0
    known = (classes[0][:, None] >= 0) & (classes[1] >= 0)
    same = classes[0][:, None] == classes[1]
    sets = np.ones(s.shape), known & same, known & ~same
    terms = [e * chosen * factor for chosen in sets for factor in (1.0, 1.0 - s)] + [e * e]
    return [np.stack([term.sum(axis) for term in terms]) for axis in (1, 0)]


def check_sums():
    """Softmax sums of adversarial tiles, for each temperature alone and all at once."""
    import torch

    from cl_analyze.pairs.kernels import triton_sweeps as sweeps

    everything = (1 << 7) - 1
    for s, cuts, classes in adversarial_tiles():
        tensors = [torch.from_numpy(s), None if cuts is None else torch.from_numpy(cuts)]
        tensors += [torch.from_numpy(codes.astype(np.int32)) for codes in classes]
        for taus, bits in (((1 / 60, 0.07, 0.5, 100.0), everything), ((0.2,), sweeps.ALL_MASS)):
            inverse = 1.0 / np.array(taus)
            rows, cols = sweeps.softmax_sums(*tensors, inverse, bits, True)
            assert sweeps.softmax_sums(*tensors, inverse, bits, False)[1] is None
            for at, tau in enumerate(taus):
                exact = expected_sums(s, cuts, classes, tau)
                for found, expected in ((rows[at], exact[0]), (cols[at], exact[1])):
                    # squares leave the range at the smallest temperature, where nobody asks them
                    n = len(found) - (tau < 0.1 and len(found) == 7)
                    np.testing.assert_allclose(
                        found[:n].numpy(), expected[:n], rtol=2e-6, atol=2e-6 * expected[0].max()
                    )


def check_entries():
    """The search for entries: limits that are reached exactly, by all or by none, and no room."""
    import torch

    from cl_analyze.pairs.kernels import triton_sweeps as sweeps

    random = np.random.default_rng(1)
    for s, _, _ in adversarial_tiles():
        for rows, cols in ((-2.0, None), (np.inf, np.inf), (None, None), (1.0, 0.5)):
            limits = [
                random.choice(s.ravel(), n) if limit is None else np.full(n, limit, np.float32)
                for n, limit in zip(s.shape, (rows, cols), strict=True)
            ]
            reached = s >= limits[0][:, None]
            has_columns = (rows, cols) != (-2.0, None)
            if has_columns:
                reached |= s >= limits[1]
            tensors = [torch.from_numpy(limit) for limit in limits]
            for room in (1 << 20, 3):
                sweeps._ENTRIES = room
                at, values = sweeps.entries(
                    torch.from_numpy(s), tensors[0], tensors[1] if has_columns else None
                )
                order = np.argsort(at.numpy())
                found = at.numpy()[order]
                expected = np.nonzero(reached)
                np.testing.assert_array_equal(found >> 32, expected[0])
                np.testing.assert_array_equal(found & 0xFFFFFFFF, expected[1])
                np.testing.assert_array_equal(values.numpy()[order], s[reached])


def interpreted(call):
    """Run a call of this module in a process where Triton interprets."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", kernels.VARIABLE: ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import tests.property.test_triton as t; t.{call}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "call", ["check(3, 40)", "check(4, 150)", "check_sums()", "check_entries()"]
)
def test_the_interpreter_finds_what_numpy_finds(call):
    interpreted(call)


def signature(kernel, pointers, constants):
    """Types of a kernel's arguments: pointers as given, numbers of 32 bits, and constants."""
    return {
        name: pointers.get(name) or ("constexpr" if name in constants else "i32")
        for name in kernel.arg_names
    }


@pytest.mark.parametrize("capability", [80, 90])
def test_the_sweeps_compile_for_gpus(capability, tmp_path, monkeypatch):
    """For an A100 and an H100, without one: all sums at once, and the search on both sides."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cl_analyze.pairs.kernels import triton_sweeps as sweeps

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    floats = ("s_ptr", "scales_ptr", "out_ptr", "row_limits_ptr", "col_limits_ptr", "values_ptr")
    whole = ("cuts_ptr", "row_class_ptr", "col_class_ptr", "n_found_ptr")
    pointers = dict.fromkeys(floats, "*fp32") | dict.fromkeys(whole, "*i32") | {"at_ptr": "*i64"}
    sums = {"N_STEPS": 16, "N_TAUS": 5, "SUMS": 127, "N_SLOTS": 7, "HAS_CUTS": True}
    sums |= {"ROWS": sweeps._ROWS, "COLS": sweeps._COLS}
    search = {"BOTH": True, "ROWS": sweeps._BLOCK, "COLS": sweeps._BLOCK}
    for kernel, constants, n_warps in (
        (sweeps._softmax, sums | {"OF_ROWS": True}, sweeps._WARPS),
        (sweeps._softmax, sums | {"OF_ROWS": False, "SUMS": 63, "N_SLOTS": 6}, sweeps._WARPS),
        (sweeps._entries, search, 8),
    ):
        source = ASTSource(
            fn=kernel, signature=signature(kernel, pointers, constants), constexprs=constants
        )
        target = GPUTarget("cuda", capability, 32)
        built = triton.compile(source, target=target, options={"num_warps": n_warps})
        assert len(built.asm["cubin"]) > 1000
