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


@pytest.mark.parametrize(("seed", "n_rows"), [(3, 40), (4, 150)])
def test_the_interpreter_finds_what_numpy_finds(seed, n_rows):
    pytest.importorskip("triton")
    code = f"from tests.property.test_triton import check; check({seed}, {n_rows})"
    environment = {**os.environ, "TRITON_INTERPRET": "1", kernels.VARIABLE: ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
