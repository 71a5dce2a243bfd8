"""What must hold for every metric: invariance, determinism, and independence of how it is run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.metrics.quality import neural_collapse, spectrum
from cl_analyze.results.tables import to_json
from tests.conftest import NIGHTLY

FEW = settings(max_examples=60 if NIGHTLY else 6)
"""Each example is two whole analyses."""


def embeddings(seed, n=45, d=6):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, n)
    return random.standard_normal((n, d)) + 1.5 * np.eye(4, d)[labels], labels


def records(rows, labels, **options):
    run = cla.RunOptions(**{"precision": "float64", **options})
    return cla.analyze(rows, labels=labels, taus=[0.05, 0.3], metrics="all", run=run)


PROBED = ("probe_accuracy", "probe_calibration_error", "nc3", "nc4_disagreement")
"""What depends on the rows of each fold and on features being standardised one by one."""
GROUPED = (
    *(metric.name for metric in spectrum.METRICS),
    *(metric.name for metric in neural_collapse.METRICS),
    "hubness_skewness",
    "uniformity_wasserstein",  # the one of Gaussians
    "outlier_share",
    "lidar",
    "hubness_robin_hood",
    "antihub_share",
    "knn_accuracy",
)
"""What has its error from random groups, or halves, of rows."""


def assert_same(one, other, tolerance, but=(), errors_but=()):
    """Values and errors agree, but those of some metrics and the errors of some others."""
    for a, b in zip(one.records, other.records, strict=True):
        assert (a.metric, a.definition, a.params) == (b.metric, b.definition, b.params)
        if a.metric in but:
            continue
        for key in ("value", "std_error"):
            if key == "std_error" and a.metric in errors_but:
                continue
            x, y = getattr(a, key), getattr(b, key)
            assert (x is None) == (y is None), a.name
            if x is not None:
                slack = tolerance + 2 * (a.sampling_error or 0.0)
                assert x == pytest.approx(y, rel=slack, abs=slack), (a.name, a.params, key)


@FEW
@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_scaling_rows_changes_nothing_but_their_norms(seed, scale):
    rows, labels = embeddings(seed)
    one, other = records(rows, labels), records(rows * scale, labels)
    assert_same(one, other, 1e-7, but=(*PROBED, "norm_mean", "norm_std"))
    for metric in ("norm_mean", "norm_std"):
        expected = scale * one.records.find(metric).value
        assert other.records.find(metric).value == pytest.approx(expected, rel=1e-9)


@FEW
@given(st.integers(0, 1000))
def test_rotating_the_space_changes_nothing(seed):
    rows, labels = embeddings(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((6, 6)))
    assert_same(records(rows, labels), records(rows @ rotation, labels), 1e-7, but=PROBED)


@FEW
@given(st.integers(0, 1000))
def test_permuting_rows_with_their_labels_changes_nothing(seed):
    rows, labels = embeddings(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    one, other = records(rows, labels), records(rows[order], labels[order])
    assert_same(one, other, 1e-7, but=PROBED, errors_but=GROUPED)


@FEW
@given(st.integers(0, 1000))
def test_renaming_classes_changes_nothing(seed):
    rows, labels = embeddings(seed)
    names = np.array(["zebra", "ant", "mole", "bee"])[labels]
    assert_same(records(rows, labels), records(rows, names), 1e-12, but=PROBED)


@FEW
@given(st.integers(0, 1000), st.integers(3, 60), st.integers(1, 4))
def test_blocks_and_threads(seed, block, threads):
    rows, labels = embeddings(seed)
    whole = records(rows, labels)
    assert_same(whole, records(rows, labels, block=block, threads=threads), 1e-7)


def test_threads_change_no_byte_of_results_and_tables():
    rows, labels = embeddings(0, n=300)
    texts = set()
    for threads in (1, 2, 3):
        report = cla.analyze(
            rows.astype(np.float32), labels=labels, run=cla.RunOptions(threads=threads, block=64)
        )
        document = report.document.to_dict()
        texts.add(to_json({"results": document["results"], "tables": document["tables"]}))
    assert len(texts) == 1


def test_torch_device_computes_the_same():
    pytest.importorskip("torch")
    from cl_analyze.data.labels import encode
    from cl_analyze.data.opening import from_memory
    from cl_analyze.data.rows import RowArray
    from cl_analyze.data.unit import UnitRows
    from cl_analyze.metrics import METRICS
    from cl_analyze.metrics.family import measure
    from cl_analyze.metrics.runner import PairRunner
    from cl_analyze.metrics.subject import Subject
    from cl_analyze.options import MetricOptions
    from cl_analyze.pairs.backend import make_backend
    from cl_analyze.pairs.executors import SerialExecutor

    rows, labels = embeddings(1, n=120)
    array = RowArray.of(rows)
    noise = np.random.default_rng(9).standard_normal(rows.shape)
    other = RowArray.of(rows + 0.3 * noise)
    found = []
    for use_torch in (False, True):
        unit = UnitRows(array, np.float64, 1 << 30)
        subject = Subject(
            "x", unit, encode(from_memory(labels, "labels")), (unit, UnitRows(other, np.float64, 0))
        )
        backend = make_backend("cpu", np.float64, use_torch)
        runner = PairRunner(subject, backend, SerialExecutor(), block=50)
        options = MetricOptions(taus=(0.01, 0.3), curve_anchors=30)
        results = measure(METRICS.values(), subject, options, runner)
        found.append([record for result in results for record in result.records])
    for a, b in zip(*found, strict=True):
        assert (a.value is None) == (b.value is None)
        if a.value is not None:
            assert a.value == pytest.approx(b.value, rel=1e-9, abs=1e-9)
            assert (a.std_error is None) == (b.std_error is None)
            if a.std_error is not None:
                assert a.std_error == pytest.approx(b.std_error, rel=1e-6, abs=1e-12)


def test_sampled_deletions_agree_with_exact_ones_on_average():
    from cl_analyze.data.labels import encode
    from cl_analyze.data.opening import from_memory
    from cl_analyze.data.rows import RowArray
    from cl_analyze.data.unit import UnitRows
    from cl_analyze.metrics import METRICS
    from cl_analyze.metrics.family import measure
    from cl_analyze.metrics.runner import PairRunner
    from cl_analyze.metrics.subject import Subject
    from cl_analyze.options import MetricOptions
    from cl_analyze.pairs.backend import make_backend
    from cl_analyze.pairs.executors import SerialExecutor

    rows, labels = embeddings(2, n=900, d=12)
    array = RowArray.of(rows)
    codes = encode(from_memory(labels, "labels"))

    def errors(**options):
        subject = Subject("x", UnitRows(array, np.float64, 1 << 30), codes)
        runner = PairRunner(subject, make_backend("cpu", np.float64), SerialExecutor())
        results = measure(
            METRICS.values(), subject, MetricOptions(taus=(0.07, 0.3), **options), runner
        )
        return {
            (r.metric, r.definition, str(r.params)): r.std_error
            for result in results
            for r in result.records
            if r.metric.startswith("penalty") or r.params.get("group") == "positive"
        }

    exact = errors()
    seeds = range(32 if NIGHTLY else 8)
    sampled = [errors(exact_deletions=100, sampled_anchors=300, seed=seed) for seed in seeds]
    for key, error in exact.items():
        ratios = [one[key] / error for one in sampled]
        assert 0.9 < np.mean(ratios) < 1.1, (key, ratios)
