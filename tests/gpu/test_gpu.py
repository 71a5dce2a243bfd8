"""On a GPU: every reducer against float64 on the CPU, and whole runs; skipped without one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_every_reducer_is_exact_on_the_gpu():
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "bench" / "gpu.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert bench.check("cuda", 1500)


def test_a_run_on_the_gpu_gives_the_numbers_of_a_run_on_the_cpu():
    import cl_analyze as cla

    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 9_000)
    rows = random.standard_normal((9_000, 32)) + 2.0 * np.eye(10, 32)[labels]
    rows = rows.astype(np.float32)
    reports = [
        cla.analyze(rows, labels, taus=(0.07, 0.5), run=cla.RunOptions(device=device))
        for device in ("cpu", "cuda")
    ]
    of_cpu, of_gpu = ([(r.metric, r.value, r.std_error) for r in x.records] for x in reports)
    for (metric, value, error), (other_metric, other_value, other_error) in zip(
        of_cpu, of_gpu, strict=True
    ):
        assert metric == other_metric
        np.testing.assert_allclose(other_value, value, rtol=1e-5, atol=1e-6, err_msg=metric)
        if error is not None:
            np.testing.assert_allclose(other_error, error, rtol=1e-3, atol=1e-8, err_msg=metric)


def test_the_same_bytes_twice():
    code = (
        "import numpy as np, cl_analyze as cla;"
        "x = np.random.default_rng(0).standard_normal((9000, 16)).astype('f4');"
        "r = cla.analyze(x, metrics=['uniformity'], run=cla.RunOptions(device='cuda'));"
        "print(repr([(v.metric, v.value, v.std_error) for v in r.records]))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(printed) == 1


def test_a_run_goes_on_where_the_memory_of_the_gpu_ends():
    """Of all sums, with tiles that need twice what the process may have."""
    from cl_analyze.pairs.backend import make_backend
    from cl_analyze.pairs.engine import reduce_pairs
    from cl_analyze.pairs.plan import symmetric_plan
    from cl_analyze.pairs.reducers import NearestNeighbours, RowLogSumExp
    from tests.reducer_cases import arrays, embeddings, source

    rows, labels = embeddings(0, 20_000, 32)
    wanted = [RowLogSumExp(0.1), NearestNeighbours(5)]
    given, plan = source(rows, labels, np.float32), symmetric_plan(20_000, 10_000)
    whole = reduce_pairs(wanted, given, plan, make_backend("cuda", np.float32))
    torch.cuda.empty_cache()
    backend = make_backend("cuda", np.float32)
    of_device = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(4 * 10_000**2 / of_device)
    try:
        cut = reduce_pairs(wanted, given, plan, backend)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert backend.most_rows is not None
    for reducer in wanted:
        for a, b in zip(arrays(cut[reducer]), arrays(whole[reducer]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, err_msg=str(reducer))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one CUDA device")
def test_two_gpus_give_the_bytes_of_one():
    import cl_analyze as cla

    rows = np.random.default_rng(0).standard_normal((40_000, 32)).astype(np.float32)
    one, two = (
        cla.analyze(rows, metrics=["uniformity"], run=cla.RunOptions(device=device))
        for device in ("cuda:0", "cuda:0,cuda:1")
    )
    assert [(r.metric, r.value, r.std_error) for r in one.records] == [
        (r.metric, r.value, r.std_error) for r in two.records
    ]
