"""Metrics while training, held to naive float64 sums, and what the callback saves."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning")

from torch import nn
from torchmetrics import MetricCollection

import cl_analyze as cla
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.training import (
    Alignment,
    EffectiveRank,
    FalseNegativeShare,
    PenaltyEntropy,
    SaveEmbeddings,
    Tolerance,
    Uniformity,
)
from cl_analyze.training._samples import _mixed, keys
from cl_analyze.training._save_embeddings import joined
from tests.conftest import ROOT, SAMPLES
from tests.forks import SECONDS

DIM, CLASSES = 8, 4
SPLITS = ([97], [1] * 97, [40, 0, 7, 50])


def batch(n=97, seed=1):
    """Rows around four classes, a second view of them, and classes with some unlabelled."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, n)
    u = random.standard_normal((n, DIM)) + 1.5 * np.eye(CLASSES, DIM)[labels]
    v = u + 0.3 * random.standard_normal((n, DIM))
    labels[::9] = -1
    return torch.tensor(u), torch.tensor(v), torch.tensor(labels)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive_uniformity(u, v, labels):
    x, n = unit(u), len(u)
    values = [
        math.exp(-2 * ((x[i] - x[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j
    ]
    return math.log(sum(values) / len(values))


def naive_penalties(u, tau=0.2):
    s = unit(u) @ unit(u).T
    weights = [[math.exp(s[i, j] / tau) * (i != j) for j in range(len(u))] for i in range(len(u))]
    return [[w / sum(row) for w in row] for row in weights]


def naive_entropy(u, v, labels):
    rows = naive_penalties(u)
    return sum(-sum(p * math.log(p) for p in row if p) for row in rows) / len(rows)


def naive_false_negatives(u, v, labels):
    shares = [
        sum(p for j, p in enumerate(row) if labels[j] == labels[i] and j != i)
        for i, row in enumerate(naive_penalties(u))
        if labels[i] >= 0
    ]
    return sum(shares) / len(shares)


def pairs_of_a_class(u, labels):
    x = unit(u)
    return {
        c: [x[i] @ x[j] for i in np.flatnonzero(labels == c) for j in np.flatnonzero(labels == c)
            if i != j]
        for c in range(CLASSES)
    }  # fmt: skip


def naive_tolerance(u, v, labels):
    every = [s for values in pairs_of_a_class(u, labels).values() for s in values]
    return sum(every) / len(every)


def naive_macro(u, v, labels):
    return np.mean([np.mean(values) for values in pairs_of_a_class(u, labels).values() if values])


def naive_indicator(u, v, labels):
    n = (labels >= 0).sum()
    return (sum(sum(values) for values in pairs_of_a_class(u, labels).values()) + n) / n**2


def naive_alignment(u, v, labels):
    return np.mean([((a - b) ** 2).sum() for a, b in zip(unit(u), unit(v), strict=True)])


def naive_distance(u, v, labels):
    return np.mean([math.sqrt(((a - b) ** 2).sum()) for a, b in zip(unit(u), unit(v), strict=True)])


def rank_of(rows):
    values = np.linalg.svd(rows, compute_uv=False)
    p = values / values.sum()
    return math.exp(-sum(q * math.log(q) for q in p if q > 0))


METRICS = {
    "uniformity": (lambda **o: Uniformity(DIM, **o), (0,), naive_uniformity),
    "entropy": (lambda **o: PenaltyEntropy(DIM, **o), (0,), naive_entropy),
    "false negatives": (
        lambda **o: FalseNegativeShare(DIM, unlabelled=-1, **o),
        (0, 2),
        naive_false_negatives,
    ),
    "tolerance": (lambda **o: Tolerance(DIM, CLASSES, unlabelled=-1, **o), (0, 2), naive_tolerance),
    "macro": (
        lambda **o: Tolerance(DIM, CLASSES, "macro_excl", unlabelled=-1, **o),
        (0, 2),
        naive_macro,
    ),
    "indicator": (
        lambda **o: Tolerance(DIM, CLASSES, "indicator", unlabelled=-1, **o),
        (0, 2),
        naive_indicator,
    ),
    "alignment": (lambda **o: Alignment(DIM, **o), (0, 1), naive_alignment),
    "distance": (lambda **o: Alignment(DIM, power=1.0, **o), (0, 1), naive_distance),
    "rank": (lambda **o: EffectiveRank(DIM, **o), (0,), lambda u, v, y: rank_of(u)),
    "rank centred": (
        lambda **o: EffectiveRank(DIM, "normalised_centred", **o),
        (0,),
        lambda u, v, y: rank_of(unit(u) - unit(u).mean(axis=0)),
    ),
}
SAMPLED = ("uniformity", "entropy", "false negatives")


def expected(name, data):
    return METRICS[name][2](*(part.numpy() for part in data))


def feed(metric, name, data, sizes, how="update"):
    start = 0
    for size in sizes:
        getattr(metric, how)(*(data[i][start : start + size] for i in METRICS[name][1]))
        start += size
    return metric


@pytest.mark.parametrize("sizes", SPLITS, ids=["one", "each", "uneven"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_the_naive_sums_whatever_the_batches(name, sizes):
    data = batch()
    metric = feed(METRICS[name][0](), name, data, sizes)
    assert metric.compute().item() == pytest.approx(expected(name, data), rel=2e-6)
    assert metric.compute().dtype == torch.float32
    labelled = name in ("false negatives", "tolerance", "macro", "indicator")
    assert metric.record.n == (int((data[2] >= 0).sum()) if labelled else 97)
    assert metric.record.exact


@pytest.mark.parametrize("name", METRICS)
def test_forward_gives_the_batch_and_adds_it(name):
    data = batch()
    metric = METRICS[name][0]()
    first = tuple(part[:40] for part in data)
    assert metric(*(first[i] for i in METRICS[name][1])).item() == pytest.approx(
        expected(name, first), rel=2e-6
    )
    metric(*(data[i][40:] for i in METRICS[name][1]))
    assert metric.compute().item() == pytest.approx(expected(name, data), rel=2e-6)
    metric.reset()
    feed(metric, name, first, [40])
    assert metric.compute().item() == pytest.approx(expected(name, first), rel=2e-6)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_merge_copy_and_travel(name):
    data, make = batch(), METRICS[name][0]
    first, second = make(), make(**({"seed": 1} if name in SAMPLED else {}))
    feed(first, name, tuple(part[:40] for part in data), [40])
    feed(second, name, tuple(part[40:] for part in data), [57])
    alone = expected(name, tuple(part[:40] for part in data))
    for copy in (pickle.loads(pickle.dumps(first)), first.clone()):
        assert copy.compute().item() == pytest.approx(alone, rel=2e-6)
    first.persistent(True)
    later = make()
    later.load_state_dict(first.state_dict())
    for metric in (first, later):
        feed(metric, name, tuple(part[40:50] for part in data), [10])
        for state, value in metric.metric_state.items():
            assert torch.equal(value, getattr(first, state)), state
    first = first.clone()
    first.reset()
    feed(first, name, tuple(part[:40] for part in data), [40])
    first.merge_state(second)
    assert first.compute().item() == pytest.approx(expected(name, data), rel=2e-6)


@pytest.mark.parametrize("name", METRICS)
def test_states_have_a_bounded_size(name):
    """Also above the number of rows that a sample keeps."""
    options = {"max_rows": 32} if name in SAMPLED else {}
    metric = METRICS[name][0](**options)
    sizes = []
    for seed in range(4):
        feed(metric, name, batch(seed=seed), [97])
        sizes.append([state.numel() for state in metric.metric_state.values()])
    assert sizes[0] == sizes[-1]
    assert sum(sizes[0]) <= 32 * (DIM + 2) + 3
    metric.compute()
    assert metric.record.exact == (name not in SAMPLED)


@pytest.mark.parametrize("name", METRICS)
def test_states_keep_their_types_where_a_model_is_cast(name):
    data, make = batch(), METRICS[name][0]
    types = {state: value.dtype for state, value in make().metric_state.items()}
    for cast in (
        lambda model: model.to(torch.bfloat16),
        lambda model: model.half(),
        lambda model: model[0].set_dtype(torch.float16),
    ):
        metric = feed(make(), name, tuple(part[:40] for part in data), [40])
        cast(nn.ModuleList([metric]))
        feed(metric, name, tuple(part[40:] for part in data), [57])
        assert metric.compute().item() == pytest.approx(expected(name, data), rel=2e-6)
        for _ in range(2):
            found = {state: value.dtype for state, value in metric.metric_state.items()}
            assert found == types
            metric.reset()


@pytest.mark.parametrize("name", METRICS)
def test_metrics_go_on_after_inference_mode_and_sync_on_step(name):
    data, make = batch(), METRICS[name][0]
    metric = make(dist_sync_on_step=True)
    with torch.inference_mode():
        feed(metric, name, data, [97])
        metric.compute()
        metric.reset()
    feed(metric, name, data, [97], "forward")
    assert metric.compute().item() == pytest.approx(expected(name, data), rel=2e-6)


def kept_ids(metric):
    """The rows are their own numbers, in the first column over the second."""
    rows, _ = metric.kept()
    return sorted((rows[:, 0] / rows[:, 1]).round().astype(int).tolist())


def numbered(n):
    return torch.stack([torch.arange(n), torch.ones(n)], dim=1).double()


def test_a_sample_depends_on_the_order_of_rows_and_the_seed_alone():
    rows = numbered(500)
    found = {}
    for seed in (0, 1):
        for size in (500, 33, 1):
            metric = Uniformity(2, max_rows=20, seed=seed)
            metric.dist_sync_on_step = size == 500
            for part in rows.split(size):
                metric.update(part) if size == 1 else metric(part)
            found[seed, size] = kept_ids(metric)
        assert found[seed, 500] == found[seed, 33] == found[seed, 1]
        metric.reset()
        metric.update(rows)
        assert kept_ids(metric) == found[seed, 1]  # the same rows in the next epoch
    assert len(set(found[0, 1])) == 20
    assert found[0, 1] != found[1, 1]


def test_every_row_is_kept_as_often_as_any_other():
    """Of 60 rows 12, with 2,000 seeds: counts of rows and of neighbours are within chance."""
    counts, together = np.zeros(60), np.zeros(59)
    for seed in range(2000):
        order = torch.argsort(keys(seed, 0, 0, 60, torch.device("cpu")))[:12]
        there = np.zeros(60)
        there[order.numpy()] = 1
        counts += there
        together += there[1:] * there[:-1]
    deviation = (counts - 400) / math.sqrt(2000 * 0.2 * 0.8)
    assert abs(deviation).max() < 4
    chance = 12 / 60 * 11 / 59
    assert abs(together - 2000 * chance).max() < 4 * math.sqrt(2000 * chance)
    assert (deviation**2).mean() == pytest.approx(1.0, abs=0.5)


def test_every_row_of_two_batches_is_kept_as_often_as_any_other():
    """The same of the metric itself, with 400 seeds: 8 of 40 rows."""
    counts = np.zeros(40)
    for seed in range(400):
        metric = Uniformity(2, max_rows=8, seed=seed)
        for part in numbered(40).split(25):
            metric.update(part)
        counts[kept_ids(metric)] += 1
    assert counts.sum() == 400 * 8
    assert abs(counts - 80).max() < 4 * math.sqrt(400 * 0.2 * 0.8)


def test_keys_are_splitmix64():
    """The first outputs for seed 0 in Vigna's reference program."""
    state = -7046029254386353131
    words = [int(_mixed(torch.tensor(i) * state)) % 2**64 for i in (1, 2, 3)]
    assert words == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert not torch.equal(*(keys(0, rank, 0, 9, torch.device("cpu")) for rank in (0, 1)))


def test_samples_merge_in_any_order():
    rows = numbered(300)
    parts = []
    for i, size in enumerate((100, 150, 50)):
        metric = Uniformity(2, max_rows=16, seed=i)
        metric.update(rows[sum((100, 150, 50)[:i]) :][:size])
        parts.append(metric)
    orders = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        merged = parts[order[0]].clone()
        for i in order[1:]:
            merged.merge_state(parts[i])
        orders.append(kept_ids(merged))
    assert orders[0] == orders[1] == orders[2]
    assert merged.n_seen == 300
    with pytest.raises(ConfigError, match=r"found seed 0 twice: Uniformity\(..., seed=1\)"):
        parts[0].merge_state(parts[0].clone())
    parts[0].merge_state(Uniformity(2, max_rows=16))  # which has seen nothing
    assert parts[0].n_seen == 100


def test_an_estimate_from_a_sample_is_within_its_error():
    random = np.random.default_rng(5)
    z = torch.tensor(random.standard_normal((6000, 16)) + 0.5)
    whole = cla.uniformity(z).value
    metric = Uniformity(16, max_rows=1000)
    for part in z.split(512):
        metric.update(part)
    value = metric.compute().item()
    record = metric.record
    assert (record.exact, record.n) == (False, 1000)
    assert 0 < record.sampling_error < record.std_error
    assert 0 < abs(value - whole) < 3 * record.sampling_error


def test_standard_errors_are_those_of_the_same_rows():
    u, v, labels = batch()
    alignment = feed(Alignment(DIM), "alignment", (u, v, labels), [40, 57])
    alignment.compute()
    distances = ((unit(u.numpy()) - unit(v.numpy())) ** 2).sum(axis=1)
    assert alignment.record.std_error == pytest.approx(distances.std(ddof=1) / 97**0.5, rel=1e-9)
    uniformity = feed(Uniformity(DIM), "uniformity", (u, v, labels), [97])
    uniformity.compute()
    assert uniformity.record.std_error == pytest.approx(
        cla.uniformity(u.numpy()).std_error, rel=1e-4
    )
    assert uniformity.record.sampling_error is None


def test_sampling_errors_are_as_long_as_estimates_are_off():
    """Over 200 seeds; a factor of two, or the share left out forgotten, is outside."""
    z = torch.tensor(np.random.default_rng(6).standard_normal((600, 6)) + 0.5)
    whole = cla.uniformity(z).value
    off, claimed = [], []
    for seed in range(200):
        metric = Uniformity(6, max_rows=400, seed=seed)
        metric.update(z)
        metric.compute()
        off.append(metric.record.value - whole)
        claimed.append(metric.record.sampling_error)
    assert 0.8 < np.sqrt(np.mean(np.square(off)) / np.mean(np.square(claimed))) < 1.25


def test_a_missing_library_is_named_with_its_remedy():
    script = (
        "import sys; sys.modules['torchmetrics'] = None\n"
        "import cl_analyze.training as training\n"
        "try: training.Uniformity\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "DependencyError cl_analyze.training.Uniformity needs torchmetrics: "
        "pip install 'lightning>=2.4' 'torchmetrics>=1.9'\n"
    )


def test_the_page_says_what_the_size_of_a_sample_does():
    """docs/training.md has the means over ten draws from a sample file at tau = 0.07."""
    with np.load(SAMPLES / "fashion-mnist-tau-0.07.npz") as arrays:
        z, y = torch.tensor(arrays["embeddings"]), torch.tensor(arrays["labels"])
    text = (ROOT / "docs" / "training.md").read_text()
    shown = re.findall(r"^\| ([0-9,]+) \| (-[0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", text, re.M)
    assert len(shown) == 3
    for size, *values in shown:
        n = int(size.replace(",", ""))
        found = []
        for seed in range(10 if n < 2000 else 1):
            sample = FalseNegativeShare(64, tau=0.07, max_rows=n, seed=seed)
            sample.update(z, y)
            rows, labels = sample.kept()
            numbers = cla.analyze(rows, labels, taus=[0.07], metrics=("uniformity", "penalty"))
            found.append(
                [
                    numbers.records.find(name).value
                    for name in ("uniformity", "penalty_entropy", "penalty_false_negative_share")
                ]
            )
        assert [f"{value:.2f}" for value in np.mean(found, axis=0)] == values, n


def test_metrics_with_other_options_never_share_a_state():
    """Also where a first batch makes their states alike."""
    u, v, labels = batch()
    none = torch.full_like(labels, -1)
    same = MetricCollection({"square": Alignment(DIM), "distance": Alignment(DIM, power=1.0)})
    both = MetricCollection([Uniformity(DIM), FalseNegativeShare(DIM, unlabelled=-1)])
    ranks = MetricCollection({d: EffectiveRank(DIM, d) for d in ("raw", "normalised")})
    draws = MetricCollection({str(i): Uniformity(DIM, max_rows=9, seed=i) for i in (0, 1)})
    same.update(u[:9], u[:9])
    both.update(embeddings=u[:9], labels=none[:9])
    ranks.update(u[:0])
    draws.update(u[:0])
    same.update(u[9:], v[9:])
    both.update(embeddings=u[9:], labels=labels[9:])
    ranks.update(u)
    draws.update(u)
    w = torch.cat([u[:9], v[9:]])
    found = same.compute()
    for name, naive in (("square", naive_alignment), ("distance", naive_distance)):
        assert found[name].item() == pytest.approx(naive(u.numpy(), w.numpy(), None), rel=2e-6)
    after = torch.cat([none[:9], labels[9:]]).numpy()
    assert both.compute()["FalseNegativeShare"].item() == pytest.approx(
        naive_false_negatives(u.numpy(), None, after), rel=2e-6
    )
    found = ranks.compute()
    assert found["raw"].item() == pytest.approx(rank_of(u.numpy()), rel=2e-6)
    assert found["normalised"].item() == pytest.approx(rank_of(unit(u.numpy())), rel=2e-6)
    assert draws.compute()["0"] != draws.compute()["1"]


def test_a_collection_shares_states_that_are_the_same():
    data = batch()
    metrics = MetricCollection(
        {"unif": Uniformity(DIM), "entropy": PenaltyEntropy(DIM), "rank": EffectiveRank(DIM)}
    )
    for start in (0, 40):
        metrics.update(data[0][start : start + 40])
    groups = [set(group) for group in metrics.compute_groups.values()]
    assert sorted(map(sorted, groups)) == [["entropy", "unif"], ["rank"]]
    first = tuple(part[:80] for part in data)
    found = metrics.compute()
    assert found["entropy"].item() == pytest.approx(expected("entropy", first), rel=2e-6)
    assert found["rank"].item() == pytest.approx(expected("rank", first), rel=2e-6)


@pytest.mark.parametrize("name", METRICS)
def test_values_do_not_depend_on_scale_or_half_precision(name):
    if name == "rank":
        pytest.skip("raw rows have their scale")
    data = batch()
    scale = torch.logspace(-30, 30, 97, dtype=torch.float64)[:, None]
    metric = METRICS[name][0]()
    feed(metric, name, (data[0] * scale, data[1] * scale, data[2]), [97])
    assert metric.compute().item() == pytest.approx(expected(name, data), rel=2e-6)
    metric = METRICS[name][0]()
    feed(metric, name, (data[0].bfloat16(), data[1].bfloat16(), data[2]), [50, 47])
    assert metric.compute().item() == pytest.approx(expected(name, data), rel=0.02)


def test_rank_of_collapsed_rows_is_that_of_their_directions():
    random = np.random.default_rng(0)
    rows = torch.tensor(random.standard_normal((200, 3)) @ random.standard_normal((3, 64)))
    metric = EffectiveRank(64)
    metric.update(rows)
    assert metric.compute().item() == pytest.approx(rank_of(rows.numpy()), rel=1e-6)


@pytest.mark.parametrize(
    ("metric", "arguments", "reason"),
    [
        (Uniformity(2), (torch.ones(1, 2),), "fewer than two rows"),
        (PenaltyEntropy(2), (torch.ones(1, 2),), "fewer than two rows"),
        (
            FalseNegativeShare(2, unlabelled=-1),
            (torch.eye(2), torch.tensor([-1, -1])),
            "no row is labelled",
        ),
        (Tolerance(2, 3), (torch.eye(2), torch.tensor([0, 1])), "no class has two members"),
        (Tolerance(2, 3, "indicator", -1), (torch.eye(2), torch.tensor([-1, -1])), "no row is"),
        (Alignment(2), (torch.ones(0, 2), torch.ones(0, 2)), "there are no pairs"),
        (EffectiveRank(2, "raw_centred"), (torch.ones(3, 2),), "the rows do not vary"),
        (EffectiveRank(2), (torch.ones(0, 2),), "there are no rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_undefined_is_nan_with_the_reason(metric, arguments, reason):
    metric.update(*arguments)
    with pytest.warns(UserWarning, match=f"{type(metric).__name__} is undefined: .*{reason}"):
        assert math.isnan(metric.compute())
    assert metric.record.value is None


ROWS = torch.eye(3)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: Uniformity(0), ConfigError, "dim must be a whole number of at least 1, found 0"),
        (lambda: Uniformity(3, t=-1.0), ConfigError, "t must be finite and > 0, found -1"),
        (lambda: Uniformity(3, max_rows=1), ConfigError, "max_rows must be .* at least 2, found 1"),
        (lambda: PenaltyEntropy(3, tau=math.nan), ConfigError, "tau must be finite and > 0"),
        (lambda: Tolerance(3, 2, "micro"), ConfigError, "one of micro_excl, .* found 'micro'"),
        (lambda: EffectiveRank(3, "unit"), ConfigError, "definition must be one of raw, .* 'unit'"),
        (lambda: Uniformity(4).update(ROWS), DataError, r"\(dim=4\).* \(rows, 4\), found \(3, 3\)"),
        (lambda: Uniformity(3).update(ROWS[0]), DataError, r"found \(3,\)"),
        (lambda: Uniformity(3).update(ROWS.long()), DataError, "tensor of floats, found torch.int"),
        (lambda: Uniformity(3).update(ROWS.numpy()), DataError, "tensor of floats, found float32"),
        (lambda: Uniformity(3).update(ROWS - 1.0 * ROWS[1]), DataError,
         "1 of 3 rows of embeddings have NaN, infinity or zero norm, first row 1 .*diverged"),
        (lambda: Alignment(3).update(ROWS, ROWS / 0), DataError, "3 of 3 rows of view2 have NaN"),
        (lambda: Alignment(3).update(ROWS, ROWS[:2]), DataError, "3 rows and view2 2: row i of"),
        (lambda: Tolerance(3, 2).update(ROWS, torch.tensor([0, 1, 2])), DataError,
         "classes are 0 to 1, found 2"),
        (lambda: Tolerance(3, 2).update(ROWS, torch.tensor([0, 1])), DataError,
         r"labels must have shape \(3,\), one a row, found \(2,\)"),
        (lambda: Tolerance(3, 2).update(ROWS, torch.ones(3)), DataError, "tensor of integers"),
        (lambda: Tolerance(3, 2, unlabelled=-1).update(ROWS, torch.tensor([0, 1, -100])), DataError,
         "found -100: pass unlabelled=-100"),
        (lambda: FalseNegativeShare(3).update(ROWS, torch.tensor([0, 1, -1])), DataError,
         "found -1: pass unlabelled=-1 .* as --unlabelled -1"),
        (lambda: FalseNegativeShare(3).update(ROWS, torch.tensor([0, 1, 2**24])), DataError,
         "classes must be below 16777216, found 16777216"),
        (lambda: SaveEmbeddings("x", every_n_epochs=0), ConfigError, "every_n_epochs must be"),
        (lambda: SaveEmbeddings("x", dataloader=-1), ConfigError, "dataloader must be"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()


RANKS = """
import sys, warnings, torch, torch.distributed as dist
from tests.unit.test_training import METRICS, SAMPLED, batch, expected, feed, kept_ids, numbered
from cl_analyze.training import Uniformity
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
data = batch()
parts = {"uneven": (61, 36), "one has none": (97, 0)}
for how, sizes in parts.items():
    mine = tuple(part[: sizes[0]] if rank == 0 else part[sizes[0] :] for part in data)
    for name in METRICS:
        metric = METRICS[name][0]()
        feed(metric, name, mine, [20, sizes[rank] - 20] if sizes[rank] else [0])
        value = metric.compute()
        torch.testing.assert_close(value.item(), expected(name, data), rtol=2e-6, atol=0)
        feed(metric, name, mine, [sizes[rank]])          # and goes on with its own rows
        seen = metric.metric_state.get("n_seen")
        assert (seen is None) == (name not in SAMPLED)
        assert seen is None or int(seen) == 2 * sizes[rank], (seen, sizes)
sample = Uniformity(2, max_rows=40)
rows = numbered(1000)
sample.update(rows[:700] if rank == 0 else rows[700:])
own = set(kept_ids(sample))
with sample.sync_context():
    both = kept_ids(sample)
    assert int(sample.n_seen) == 1000
gathered = [None, None]
dist.all_gather_object(gathered, both)
assert gathered[0] == gathered[1] and len(set(both)) == 40, gathered
assert {i for i in both if (i < 700) == (rank == 0)} <= own
assert 5 <= sum(i >= 700 for i in both) <= 20                    # 12 of 40 on average
assert set(kept_ids(sample)) == own
print("ok")
dist.destroy_process_group()
"""


def on_two_ranks(script, tmp_path, arguments=()):
    """Run a script on two ranks over gloo; every rank must print ok."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    path = tmp_path / "rank.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(path), str(rank), port, *arguments],
            cwd=tmp_path,
            env={**environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                 "NODE_RANK": "0", "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        results = [process.communicate(timeout=SECONDS) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    for process, (out, err) in zip(ranks, results, strict=True):
        assert process.returncode == 0, err
        assert out.split()[-1] == "ok"


def test_two_ranks_compute_what_one_does(tmp_path):
    on_two_ranks(RANKS, tmp_path)


MODEL = """
import lightning.pytorch as lightning
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection
from cl_analyze.losses import NTXent
from cl_analyze.training import Alignment, EffectiveRank, FalseNegativeShare, SaveEmbeddings
from cl_analyze.training import Tolerance, Uniformity

def data(n=90, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    rows = torch.randn(n, 10, generator=generator) + 2.0 * torch.eye(3, 10)[labels]
    return TensorDataset(rows, labels, torch.arange(n))

class Small(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(10, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        self.loss = NTXent(tau=0.2)
        self.spread = MetricCollection([Uniformity(4), EffectiveRank(4)])
        self.classes = MetricCollection([Tolerance(4, 3), FalseNegativeShare(4)])
        self.alignment = Alignment(4)

    def views(self, rows):
        noise = torch.Generator().manual_seed(7)
        rows = rows.to(self.net[0].weight.dtype)
        return [self.net(rows + 0.1 * torch.randn(rows.shape, generator=noise).to(rows.dtype))
                for _ in "ab"]

    def training_step(self, batch, index):
        return self.loss(*self.views(batch[0]))

    def validation_step(self, batch, index):
        rows, labels, ids = batch
        z, (u, v) = self.net(rows.to(self.net[0].weight.dtype)), self.views(rows)
        self.spread.update(z)
        self.classes.update(z, labels)
        self.alignment.update(u, v)
        self.log_dict(self.spread)
        self.log_dict(self.classes)
        self.log("Alignment", self.alignment)
        return {"embeddings": z, "view1": u, "view2": v, "labels": labels, "ids": ids}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

def trainer(*callbacks, epochs=4, **options):
    return lightning.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks),
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options)

def loaders(size=32):
    return DataLoader(data(), 30, shuffle=True), DataLoader(data(91, seed=1), size)
"""


@pytest.fixture(scope="module")
def small():
    """What the script that ranks run defines, here."""
    names = {}
    exec(compile(MODEL, "model", "exec"), names)
    return names


quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.isinstance.treespec"
)


@quiet
def test_a_model_that_trains_leaves_checkpoints_to_compare(small, tmp_path, cli):
    saved = SaveEmbeddings(tmp_path / "run", every_n_epochs=2)
    model = small["Small"]()
    train, valid = small["loaders"]()
    trainer = small["trainer"](saved)
    trainer.fit(model, train, valid)
    files = sorted((tmp_path / "run").iterdir())
    assert [file.name for file in files] == ["epoch-0001-step-6.npz", "epoch-0003-step-12.npz"]
    logged = trainer.callback_metrics
    with np.load(files[1]) as arrays:
        last = {name: arrays[name] for name in arrays.files}
    assert set(last) == {"embeddings", "labels", "view1", "view2", "ids"}
    assert last["embeddings"].shape == (91, 4)
    assert last["embeddings"].dtype == np.float32
    with torch.no_grad():
        rows = small["data"](91, seed=1).tensors[0]
        np.testing.assert_allclose(last["embeddings"], model.net(rows).numpy(), rtol=1e-5)
    z, y = last["embeddings"], last["labels"]
    assert logged["Uniformity"].item() == pytest.approx(cla.uniformity(z).value, rel=1e-6)
    assert logged["Tolerance"].item() == pytest.approx(cla.tolerance(z, y)[0].value, rel=1e-6)
    share = cla.penalty(z, y, taus=[0.2]).find("penalty_false_negative_share")
    assert logged["FalseNegativeShare"].item() == pytest.approx(share.value, rel=1e-6)
    quality = cla.analyze(str(files[1]), metrics="quality")
    for name, metric in (("EffectiveRank", "effective_rank"), ("Alignment", "alignment")):
        assert logged[name].item() == pytest.approx(quality.records.find(metric).value, rel=1e-5)

    result = cli("compare", *files, "--x", "epoch", "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert "ids" in found["tables"]["checkpoints"][1]["rows"]
    moved = [row for row in found["tables"]["compare"] if row["metric"] == "uniformity"]
    assert all(row["paired"] for row in moved)


@quiet
def test_embeddings_of_a_function_or_of_validate(small, tmp_path):
    """Nothing is asked of validation_step; shuffled loaders are put in the order of their ids."""
    seen = []

    def embed(module, batch):
        seen.append((module.training, torch.is_grad_enabled()))
        return {"embeddings": module.net(batch[0]).bfloat16(), "ids": 1000 - batch[2]}

    saved = SaveEmbeddings(tmp_path / "deep" / "run", embed=embed, every_n_epochs=5)
    trainer = small["trainer"](saved)
    trainer.validate(small["Small"](), small["loaders"]()[1], verbose=False)
    (file,) = (tmp_path / "deep" / "run").iterdir()
    assert file.name == "validate.npz"
    with np.load(file) as arrays:
        assert arrays["embeddings"].dtype == np.float32
        assert arrays["ids"].tolist() == list(range(910, 1001))
    assert set(seen) == {(False, False)}


@quiet
def test_nothing_is_saved_between_and_in_dry_runs(small, tmp_path):
    saved = SaveEmbeddings(tmp_path / "run", every_n_epochs=3)
    with pytest.warns(UserWarning, match="nothing was saved in 2 epochs with every_n_epochs=3"):
        small["trainer"](saved, epochs=2).fit(small["Small"](), *small["loaders"]())
    small["trainer"](saved, epochs=3, fast_dev_run=True).fit(small["Small"](), *small["loaders"]())
    assert not (tmp_path / "run").exists()


@quiet
@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda m, b: None, "embed must return a dictionary with 'embeddings' .*found NoneType"),
        (lambda m, b: {"z": b[0]}, r"'embeddings' .*found keys \['z'\]"),
        (lambda m, b: {"embeddings": b[0], "labels": b[1][:3]},
         r"'embeddings': \(32, 10\), 'labels': \(3,\)}: every array needs one entry a row"),
        (lambda m, b: {"embeddings": b[0], "labels": torch.tensor(1)}, r"'labels': \(\)}"),
        (lambda m, b: {"embeddings": b[0][:, : 4 + int(b[2][0] > 0)]},
         r"batch 1 of embed have shapes {'embeddings': \(5,\)}, those before {.*\(4,\)}"),
        (lambda m, b: {"embeddings": b[0]} | ({"labels": b[1]} if b[2][0] else {}),
         "batch 1 of embed .*'labels'.*those before .*: every batch needs the same arrays"),
        (lambda m, b: {"embeddings": b[0], "labels": b[1][:, None]},
         r"'labels' of shape \(32, 1\).*return labels.flatten\(\)"),
        (lambda m, b: {"embeddings": b[0], "ids": b[1]}, "91 rows have 3 different ids"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused(small, tmp_path, embed, message):
    saved = SaveEmbeddings(tmp_path / "run", embed=embed)
    with pytest.raises((ConfigError, DataError), match=message):
        small["trainer"](saved).validate(small["Small"](), small["loaders"]()[1], verbose=False)
    assert not (tmp_path / "run").exists()


@quiet
def test_names_say_which_checkpoint_loader_and_step(small, tmp_path):
    """A checkpoint that is validated, two loaders, several validations in an epoch."""
    train, valid = small["loaders"]()
    saved = SaveEmbeddings(tmp_path / "run")
    trainer = small["trainer"](saved, epochs=1, val_check_interval=1 / 3)
    trainer.fit(small["Small"](), train, valid)
    trainer.save_checkpoint(tmp_path / "epoch=0-step=3.ckpt")
    trainer.validate(small["Small"](), valid, tmp_path / "epoch=0-step=3.ckpt", verbose=False)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "epoch-0000-step-1.npz", "epoch-0000-step-2.npz", "epoch-0000-step-3.npz",
        "epoch=0-step=3.npz",
    ]  # fmt: skip
    with (
        np.load(tmp_path / "run" / "epoch=0-step=3.npz") as one,
        np.load(tmp_path / "run" / "epoch-0000-step-3.npz") as other,
    ):
        np.testing.assert_array_equal(one["embeddings"], other["embeddings"])

    embed = {"embed": lambda module, batch: {"embeddings": module.net(batch[0])}}
    both = [SaveEmbeddings(tmp_path / "two", dataloader=i, **embed) for i in (0, 1)]

    class Two(small["Small"]):
        def validation_step(self, batch, index, dataloader_idx=0):
            return None

    trainer = small["trainer"](*both)
    trainer.validate(Two(), [valid, small["DataLoader"](small["data"](50), 25)], verbose=False)
    sizes = {}
    for file in (tmp_path / "two").iterdir():
        with np.load(file) as arrays:
            sizes[file.name] = len(arrays["embeddings"])
    assert sizes == {"validate.npz": 91, "validate-loader-1.npz": 50}
    third = SaveEmbeddings(tmp_path / "three", dataloader=2, **embed)
    with pytest.raises(ConfigError, match="validation loader 2 gave no batch"):
        small["trainer"](third).validate(Two(), valid, verbose=False)


@quiet
@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_half_precision_is_logged_and_saved(small, tmp_path, precision):
    seen = []

    def embed(module, batch):
        z = module.net(batch[0].to(next(module.parameters()).dtype))
        seen.append(z.dtype)
        return {"embeddings": z, "ids": batch[2]}

    trainer = small["trainer"](SaveEmbeddings(tmp_path, embed=embed), precision=precision)
    trainer.validate(small["Small"](), small["loaders"]()[1], verbose=False)
    assert set(seen) == {torch.bfloat16}
    with np.load(tmp_path / "validate.npz") as arrays:
        value = cla.uniformity(arrays["embeddings"]).value
    assert trainer.callback_metrics["Uniformity"].item() == pytest.approx(value, rel=1e-5)


@quiet
def test_rows_that_are_no_numbers_are_saved_with_a_warning(small, tmp_path):
    def embed(module, batch):
        z = module.net(batch[0])
        z[0] = torch.nan
        return {"embeddings": z}

    trainer = small["trainer"](SaveEmbeddings(tmp_path, embed=embed))
    with pytest.warns(UserWarning, match=r"3 of 91 rows of .*validate.npz have NaN or infinity"):
        trainer.validate(small["Small"](), small["loaders"]()[1], verbose=False)


@quiet
def test_an_epoch_that_fails_leaves_nothing_behind(small, tmp_path):
    calls = []

    def embed(module, batch):
        calls.append(len(batch[0]))
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return {"embeddings": module.net(batch[0])}

    saved = SaveEmbeddings(tmp_path / "run", embed=embed)
    valid = small["loaders"]()[1]
    with pytest.raises(RuntimeError, match="out of luck"):
        small["trainer"](saved).validate(small["Small"](), valid, verbose=False)
    assert not (tmp_path / "run").exists()
    small["trainer"](saved).validate(small["Small"](), valid, verbose=False)
    with np.load(tmp_path / "run" / "validate.npz") as arrays:
        assert len(arrays["embeddings"]) == 91


@quiet
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, y: {"embeddings": z[:, :, None, None]}, r"return z.flatten\(1\)"),
        (lambda z, y: {"embeddings": z[:, None, :, None].repeat(1, 5, 1, 7)}, "rows, dimensions"),
        (lambda z, y: {"embeddings": z[:, 0]}, r"must be \(rows, dimensions\)"),
        (lambda z, y: {"embeddings": z, "view1": z[:, None]}, "'view1' of shape"),
        (lambda z, y: {"embeddings": z, "labels": torch.eye(9)[y]}, r"return labels.argmax\(1\)"),
        (lambda z, y: {"embeddings": z, "labels": y[:, None]}, "one value a row"),
        (lambda z, y: {"embeddings": z, "ids": z}, "'ids' of shape"),
    ],
)  # fmt: skip
def test_what_the_command_line_would_refuse_is_refused_at_once(small, tmp_path, change, message):
    """At the first validation: a run of days should not end in files that cannot be read."""

    def embed(module, batch):
        return change(module.net(batch[0]), batch[1])

    saved = SaveEmbeddings(tmp_path / "run", embed=embed)
    with pytest.raises(ConfigError, match=message):
        small["trainer"](saved).validate(small["Small"](), small["loaders"]()[1], verbose=False)
    assert not (tmp_path / "run").exists()


@quiet
def test_a_folder_that_cannot_be_made_is_named(small, tmp_path):
    (tmp_path / "file").write_text("")
    saved = SaveEmbeddings(tmp_path / "file" / "run")
    with pytest.raises(ConfigError, match=r"cannot write .*validate.npz: Not a directory"):
        small["trainer"](saved).validate(small["Small"](), small["loaders"]()[1], verbose=False)


def test_ranks_that_differ_are_refused():
    rows, ids = np.eye(3), np.arange(3)
    both = [{"embeddings": rows, "ids": ids}, {"embeddings": rows, "ids": ids + 2}]
    assert joined(both)["ids"].tolist() == [0, 1, 2, 3, 4]
    assert joined([{}, both[1], {}])["ids"].tolist() == [2, 3, 4]
    assert joined([{}, {}]) == {}
    with pytest.raises(ConfigError, match=r"same arrays, found rows of shapes .* and .*'labels'"):
        joined([both[0], {**both[1], "labels": ids}])
    with pytest.raises(DataError, match="6 rows have 3 different ids"):
        joined([both[0], both[0]])


TRAINED = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
class NoIds(Small):
    def validation_step(self, batch, index):
        return {"embeddings": self.net(batch[0])}
run = trainer(SaveEmbeddings("run"), epochs=1, devices=2, strategy="ddp")
model = Small()
run.fit(model, *loaders(16))
assert run.world_size == 2
run.strategy.barrier()
with np.load("run/epoch-0000-step-2.npz") as arrays:
    assert arrays["ids"].tolist() == list(range(91))             # one of 92 was a repeat
    rows = data(91, seed=1).tensors[0]
    np.testing.assert_allclose(arrays["embeddings"], model.net(rows).detach().numpy(), rtol=1e-5)
try:
    trainer(SaveEmbeddings("none"), epochs=1, devices=2, strategy="ddp").validate(
        NoIds(), loaders(16)[1], verbose=False)
except Exception as error:
    assert "2 ranks share the rows" in str(error), error
else:
    raise SystemExit("not refused")

class SameIds(Small):                # found when the first rank joins the rows: an error on both
    def validation_step(self, batch, index):
        return {"embeddings": self.net(batch[0]), "ids": batch[1]}
class OneRank(Small):                # found on one rank
    def validation_step(self, batch, index):
        return {"embeddings": self.net(batch[0]), "ids": batch[2]} if self.global_rank else {}
for model, message in ((SameIds(), "92 rows have 3 different ids"), (OneRank(), "found keys []")):
    try:
        trainer(SaveEmbeddings("none"), epochs=1, devices=2, strategy="ddp").validate(
            model, loaders(16)[1], verbose=False)
    except Exception as error:
        assert message in str(error), error
    else:
        raise SystemExit("not refused")
torch.distributed.destroy_process_group()
print("ok")
"""


def test_two_ranks_save_every_row_once(tmp_path):
    on_two_ranks(MODEL + TRAINED, tmp_path)
