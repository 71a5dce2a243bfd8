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
