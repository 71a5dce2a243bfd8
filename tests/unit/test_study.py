"""The study runs from end to end, can be repeated, and its page shows what its results say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cl_analyze.figures.description import Points
from cl_analyze.losses import NTXent, simple
from sample_data.make_embeddings import Run as SampleRun
from sample_data.make_embeddings import contrastive_loss
from sample_data.study.__main__ import main as study_main
from sample_data.study.analysis import (
    MEASURES,
    cell,
    from_csv,
    of,
    over_seeds,
    to_csv,
    to_markdown,
)
from sample_data.study.figures import along_tau, trade_off, trade_off_figure
from sample_data.study.figures import main as redraw
from sample_data.study.plan import (
    DATA_SETS,
    QUICK,
    REFERENCE,
    SETTINGS,
    TEMPERATURES,
    BothWays,
    Simple,
    runs,
)
from tests.conftest import ROOT

RESULTS = ROOT / "docs" / "study" / "results.csv"
TINY = ("--data", "digits", "--epochs", "1", "--seeds", "1", "--jobs", "1")
TWO = ("--settings", "contrastive-tau-0.3", "contrastive-tau-1.0")


def study(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "sample_data.study", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, study(*TINY, *TWO, "--out", "out", folder=folder)


def test_a_tiny_study_writes_its_table_and_figures(tiny):
    folder, done = tiny
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"Digits: 2 of 2 runs to train, 8 steps at [0-9.]+ s, 1 at a time", done.stdout
    )
    assert re.search(r"about \d+ (s|minutes) in all", done.stdout)
    out = folder / "out"
    rows = from_csv((out / "results.csv").read_text())
    assert [(row["loss"], row["tau"], row["seed"]) for row in rows] == [
        ("contrastive", 0.3, 0), ("contrastive", 1.0, 0),
    ]  # fmt: skip
    for row in rows:
        assert 0.5 < row["probe"] <= 1
        assert 0.5 < row["knn_backbone"] <= 1
        assert row["uniformity"] < 0 < row["tolerance"] < 1
    assert (out / "tables.md").read_text() == to_markdown(rows, DATA_SETS[1])
    place = out / "digits-1-epochs"
    for name in (
        "along_tau.png", "plane.png", "compare-seed-0/compare.html", "report/report.html",
        "compare-seed-0-backbone/compare.json", "compare-along-tau/figures/along_the_run.png",
        "report/figures/nearest_negatives.png",
    ):  # fmt: skip
        assert (place / name).stat().st_size > 3_000, name
    assert (place / "report" / "command.txt").read_text().startswith("cl-analyze report out/")
    assert "contrastive-tau-1.0" in done.stdout


def test_runs_that_are_there_are_kept_and_a_lost_one_comes_back_the_same(tiny):
    folder, _ = tiny
    seed = folder / "out" / "digits-1-epochs" / "seed-0"
    kept, lost = (seed / f"contrastive-tau-{tau}.npz" for tau in (0.3, 1.0))
    with np.load(lost) as arrays:
        before = {name: arrays[name] for name in arrays.files}
    written = kept.stat().st_mtime_ns
    lost.unlink()
    script = (
        "import sample_data.study.__main__ as study\n"
        "import sys\n"
        "options = study.parsed(sys.argv[1:])\n"
        "if __name__ == '__main__': study.train_all(study.planned(options), options)"
    )
    (folder / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "train.py", *TINY, *TWO, "--out", "out"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1/1 digits-1-epochs/seed-0/contrastive-tau-1.0.npz" in done.stdout
    assert kept.stat().st_mtime_ns == written
    with np.load(lost) as arrays:
        assert set(arrays.files) == set(before)
        for name, array in before.items():
            np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "0"), "--seeds must be at least 1"),
        (("--settings", "contrastive-tau-9"), "invalid choice: 'contrastive-tau-9'"),
        (("--images", "/nowhere"), "/nowhere is not there: on Debian"),
        (("--data", "digits", "--out", "/dev/null/x"), "--out /dev/null/x: Not a directory"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        study_main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_column_of_the_papers_table_is_trained():
    names = [setting.name for setting in SETTINGS]
    taus = ("0.07", "0.1", "0.2", "0.3", "0.5", "0.7", "1.0")
    for family in ("contrastive", "hard-contrastive"):
        assert [name for name in names if re.match(rf"{family}-tau", name)] == [
            f"{family}-tau-{tau}" for tau in taus
        ]
    assert {"simple", "hard-simple", "dcl-tau-0.3", "dhel-tau-0.3", "kcl-gaussian"} <= set(names)
    assert {*QUICK, REFERENCE} <= set(names)
    assert len(runs(DATA_SETS[0], tuple(names), 3)) == 3 * 19


def test_losses_of_the_study_and_the_sample_are_those_of_the_package():
    torch.manual_seed(0)
    u, v = (torch.nn.functional.normalize(torch.randn(32, 8), dim=1) for _ in "uv")
    both = BothWays(Simple())(u, v)
    torch.testing.assert_close(both, 0.5 * (simple(u, v) + simple(v, u)))
    for setting in SETTINGS:
        module = setting.make()
        assert torch.isfinite(module(u, v))
        of_loss = module.loss if isinstance(module, BothWays) else module
        assert getattr(of_loss, "tau", None) == setting.tau
        assert getattr(of_loss, "alpha", 0.1) == 0.1
        torch.testing.assert_close(module(u, v), module(v, u))
    torch.testing.assert_close(contrastive_loss(u, v, SampleRun(0.2)), NTXent(tau=0.2)(u, v))
    # of the hard form, 7 of 62 negatives: the others are as if they were not there
    z = torch.cat([u, v])
    hard = []
    for i in range(64):
        s = (z @ z[i]) / 0.5
        partner = (i + 32) % 64
        others = torch.stack([s[j] for j in range(64) if j not in (i, partner)])
        kept = torch.sort(others, descending=True).values[:7]
        hard.append(torch.logsumexp(torch.cat([s[partner, None], kept]), dim=0) - s[partner])
    torch.testing.assert_close(
        contrastive_loss(u, v, SampleRun(0.5, hard_alpha=0.1)), torch.stack(hard).mean()
    )


def test_the_page_shows_what_the_results_say():
    rows = from_csv(RESULTS.read_text())
    assert to_csv(rows) == RESULTS.read_text()
    page = (ROOT / "docs" / "study.md").read_text()
    for data in DATA_SETS:
        assert to_markdown(rows, data) in page, data.name
        mine = [row for row in rows if row["data"] == data.name]
        for setting in SETTINGS:
            seeds = [row["seed"] for row in of(mine, setting.family, setting.tau)]
            assert len(seeds) >= 3, setting.name
            assert len(set(seeds)) == len(seeds)
        for draw in (along_tau, trade_off):
            assert draw(mine, data).startswith(b"\x89PNG")


def test_the_pages_figures_are_redrawn_from_the_results(tmp_path):
    shutil.copy(RESULTS, tmp_path)
    redraw(tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {
        f"{data.name}-{name}.png" for data in DATA_SETS for name in ("along_tau", "plane")
    }
    page = (ROOT / "docs" / "study.md").read_text()
    for name in drawn:
        assert f"](study/{name})" in page
        size = [(folder / name).read_bytes()[16:24] for folder in (tmp_path, RESULTS.parent)]
        assert size[0] == size[1], "python -m sample_data.study.figures docs/study redraws them"


def test_the_plane_lies_as_the_tools_plane():
    rows = [row for row in from_csv(RESULTS.read_text()) if row["data"] == "digits"]
    whole, corner = trade_off_figure(rows, DATA_SETS[1]).panels
    for panel in (whole, corner):
        assert "← more uniform" in panel.x.label.replace("\u00a0", " ")
    place = {mark.label: (mark.x[0], mark.y[0]) for mark in whole.marks if isinstance(mark, Points)}
    simple, hard = place["simple"], place["hard simple"]
    assert hard[0] < simple[0] < 0  # more uniform is to the left: L, not -L
    assert hard[1] < simple[1]


def test_the_guide_has_the_numbers_of_the_results():
    rows = [row for row in from_csv(RESULTS.read_text()) if row["data"] == "fashion-mnist"]
    guide = (ROOT / "docs" / "guide.md").read_text()
    for measure in MEASURES:
        healthy, collapsed = (
            cell(of(rows, *which), measure) for which in (("contrastive", 0.3), ("simple", None))
        )
        assert f"| {measure.title} | {healthy} | {collapsed} |" in guide


@pytest.mark.parametrize("data", [data.name for data in DATA_SETS])
def test_what_the_page_says_of_both_data_sets_is_so(data):
    rows = [row for row in from_csv(RESULTS.read_text()) if row["data"] == data]
    by_name = {measure.name: measure for measure in MEASURES}

    def mean(name, loss, tau=None):
        return over_seeds(of(rows, loss, tau), by_name[name])[0]

    taus = TEMPERATURES[1:]
    uniform = [mean("uniformity", "contrastive", tau) for tau in taus]
    tolerant = [mean("tolerance", "contrastive", tau) for tau in taus]
    assert uniform == sorted(uniform, reverse=True)
    assert tolerant == sorted(tolerant)
    for loss in ("contrastive", "hard-contrastive"):  # the order turns below 0.1
        assert mean("uniformity", loss, 0.07) < mean("uniformity", loss, 0.1)
    hard = [mean("uniformity", "hard-contrastive", tau) for tau in TEMPERATURES]
    assert max(hard) - min(hard) < 0.11 < 0.5 * (uniform[0] - uniform[-1])
    others = [one for one in SETTINGS if one.family != "simple"]
    assert mean("uniformity", "simple") < min(
        mean("uniformity", one.family, one.tau) for one in others
    )
    assert mean("tolerance", "simple") > max(
        mean("tolerance", one.family, one.tau) for one in others
    )
    for name in ("knn", "probe"):
        for loss in ("dcl", "dhel"):
            assert abs(mean(name, loss, 0.3) - mean(name, "contrastive", 0.3)) < 1.0


def test_what_the_page_says_of_fashion_mnist_is_so():
    rows = [row for row in from_csv(RESULTS.read_text()) if row["data"] == "fashion-mnist"]
    by_name = {measure.name: measure for measure in MEASURES}

    def means(name, loss):
        return [over_seeds(of(rows, loss, tau), by_name[name])[0] for tau in TEMPERATURES]

    knn, probe = means("knn", "contrastive"), means("probe", "contrastive")
    assert knn[1:] == sorted(knn[1:], reverse=True)
    assert knn[0] - knn[-1] > 4.0
    assert TEMPERATURES[int(np.argmax(probe))] == 0.3
    hard = means("knn", "hard-contrastive")
    assert max(hard) - min(hard) < 1.5
    backbone = means("probe_backbone", "contrastive")
    assert max(backbone) - min(backbone) < 1.2


def test_cells_are_means_and_deviations_over_seeds():
    rows = [{"probe": 0.8, "uniformity": -3.0}, {"probe": 0.9, "uniformity": -3.5}]
    by_name = {measure.name: measure for measure in MEASURES}
    assert cell(rows, by_name["probe"]) == "85.0 ± 7.1"
    assert cell(rows, by_name["uniformity"]) == "3.250 ± 0.354"
    assert cell(rows[:1], by_name["probe"]) == "80.0"
