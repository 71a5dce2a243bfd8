"""What programs that track experiments have after `Report.log`: the real libraries are asked.

Libraries that the extra `test` leaves out are tested where they are installed.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import cl_analyze as cla
from cl_analyze.errors import ConfigError
from cl_analyze.trackers import TRACKERS
from cl_analyze.trackers.contents import Contents
from tests.forks import SECONDS

quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def report():
    random = np.random.default_rng(3)
    labels = np.arange(60) % 3
    rows = random.standard_normal((60, 6)) + np.eye(3, 6)[labels]
    return cla.analyze(rows, labels, metrics=["uniformity", "tolerance"], source="z.npy")


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    return found.Reload()


@quiet
def test_tensorboard_has_numbers_texts_and_images(report, tmp_path):
    pytest.importorskip("torch.utils.tensorboard")
    report.log("tensorboard", step=5, prefix="dev", folder=tmp_path / "runs", std_errors=True)
    report.log("tensorboard", step=9, prefix="dev", folder=tmp_path / "runs", figures=False)
    found = events(tmp_path / "runs")
    numbers = report.scalars(std_errors=True)
    assert set(found.Tags()["scalars"]) == {f"dev/{name}" for name in numbers}
    assert len(numbers) > len(report.scalars()) > 5
    for name, value in numbers.items():
        (first, *later) = found.Scalars(f"dev/{name}")
        assert (first.step, first.value) == (5, np.float32(value))
        assert [event.step for event in later] == ([9] if name in report.scalars() else [])
    assert set(found.Tags()["images"]) == {f"dev/figures/{name}" for name in report.figures}
    (image,) = found.Images("dev/figures/uniformity")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert min(image.width, image.height) > 200
    (text, _) = found.Tensors("dev/tables/tolerance_by_class/text_summary")
    shown = text.tensor_proto.string_val[0].decode().splitlines()
    table = report.table("tolerance_by_class")
    assert shown[0] == "| " + " | ".join(table.columns) + " |"
    assert len(shown) == 2 + len(table)


@quiet
def test_a_writer_of_ones_own_stays_open(report, tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    writer = tensorboard.SummaryWriter(str(tmp_path))
    report.log(writer, tables=["results"], figures="uniformity")
    writer.add_scalar("loss", 1.0)
    writer.close()
    found = events(tmp_path)
    assert set(found.Tags()["scalars"]) == {"loss", *report.scalars()}
    assert found.Tags()["images"] == ["figures/uniformity"]
    assert found.Tags()["tensors"] == ["tables/results/text_summary"]


def test_a_long_table_is_cut_in_a_text_and_says_so():
    from cl_analyze.trackers.tensorboard import _markdown

    lines = _markdown(pd.DataFrame({"x": range(500)})).splitlines()
    assert lines[201] == "| 199 |"
    assert lines[-1] == "the first 200 of 500 rows"


@quiet
def test_wandb_has_an_entry_of_its_history(report, tmp_path):
    """Offline; a process of its own, for wandb starts threads and a service beside it."""
    pytest.importorskip("wandb")
    script = (
        "import json, sys, wandb\n"
        "import cl_analyze as cla\n"
        "from cl_analyze.trackers import wandb as ours\n"
        "report = cla.analyze(sys.argv[1], metrics=['uniformity', 'tolerance'])\n"
        "settings = wandb.Settings(silent=True, console='off', x_disable_stats=True)\n"
        "with wandb.init(mode='offline', dir='.', settings=settings) as run:\n"
        "    report.log('wandb', step=7, prefix='dev')\n"
        "    report.log(run, step=8, tables=False, figures=False)\n"
        "    run.log({'end': 1}, step=9)\n"  # a step is complete when the next one begins
        "    summary = {name: run.summary[name] for name in run.summary.keys()}\n"
        "    print(json.dumps([run.step, {k: str(v) for k, v in summary.items()}]))\n"
        "assert wandb.run is None\n"
    )
    random = np.random.default_rng(3)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "z.npz", embeddings=random.standard_normal((60, 6)), labels=labels)
    done = subprocess.run(
        [sys.executable, "-c", script, "z.npz"],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    step, summary = json.loads(done.stdout.splitlines()[-1])
    again = cla.analyze(str(tmp_path / "z.npz"), metrics=["uniformity", "tolerance"])
    assert step == 9
    for name, value in again.scalars().items():
        assert float(summary[name]) == float(summary[f"dev/{name}"]) == value
    assert {"dev/tables/results", "dev/figures/uniformity"} <= set(summary)
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    media = run / "files" / "media"
    assert len(list(media.rglob("*.png"))) == len(again.figures)
    (file,) = media.rglob("results_*.table.json")
    table = json.loads(file.read_text())
    assert table["columns"] == list(again.table("results").columns)
    assert len(table["data"]) == len(again.records)


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    found = pytest.importorskip("mlflow", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    found.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield found
    while found.active_run() is not None:
        found.end_run()


@quiet
def test_mlflow_has_metrics_and_files(report, tmp_path, mlflow):
    client = mlflow.tracking.MlflowClient()
    report.log("mlflow", step=100, prefix="dev")  # no run is active
    assert mlflow.active_run() is None
    with mlflow.start_run() as run:
        report.log("mlflow", tables=False, figures=False)
        report.log("mlflow", step=3, tables=False, figures=False)
    report.log(run, step=4, tables=["results"], figures=False)
    (own,) = [r for r in client.search_runs(["0"]) if r.info.run_id != run.info.run_id]
    assert own.info.status == "FINISHED"
    assert own.data.metrics == {f"dev/{k}": v for k, v in report.scalars().items()}
    for name, value in report.scalars().items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in history] == [(0, value), (3, value), (4, value)]
    figures = [f.path for f in client.list_artifacts(own.info.run_id, "dev/step-000100/figures")]
    assert figures == sorted(f"dev/step-000100/figures/{name}.png" for name in report.figures)
    path = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="step-000004/tables/results.csv"
    )
    with open(path) as file:  # noqa: PTH123
        assert file.read() == csv_of(report.table("results"))


@quiet
def test_dvclive_has_a_history_images_and_tables(report, tmp_path):
    dvclive = pytest.importorskip("dvclive")
    folder = tmp_path / "live"
    report.log("dvclive", step=1, folder=folder)
    report.log("dvclive", step=4, folder=folder, tables=False, figures=False)
    name, value = next(iter(report.scalars().items()))
    history = pd.read_csv(folder / "plots" / "metrics" / f"{name}.tsv", sep="\t")
    assert history["step"].tolist() == [1, 4]
    assert (folder / "tables" / "results.csv").read_text() == csv_of(report.table("results"))
    assert len(list(folder.rglob("*.png"))) == len(report.figures)
    with dvclive.Live(str(tmp_path / "own"), save_dvc_exp=False, dvcyaml=None) as live:
        report.log(live, prefix="dev", tables=False, figures=False)
        live.next_step()
        assert live.summary["dev"]["tolerance_gap"] == report.scalars()["tolerance_gap"]
        assert live.step == 1
    assert history[history.columns[-1]].tolist() == pytest.approx([value, value])


def csv_of(table):
    text = io.StringIO()
    table.to_csv(text, index=False)
    return text.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "mlfow"}, "no tracker 'mlfow'; did you mean 'mlflow'"),
        ({"to": 3}, "to must be one of mlflow, wandb, tensorboard, dvclive, or .* found int"),
        ({"to": "wandb", "folder": "x"}, "a folder goes with to=.tensorboard"),
        ({"to": "tensorboard", "step": -1}, "step must be a whole number of at least 0, found -1"),
        ({"to": "tensorboard", "step": 1.5}, "step must be a whole number"),
        ({"to": "tensorboard", "prefix": "../x"}, r"single '/' between them, found '../x'"),
        ({"to": "tensorboard", "prefix": "a//b"}, "prefix may have letters"),
        ({"to": "tensorboard", "tables": ["tolerence"]}, "no table 'tolerence'; did you mean"),
        ({"to": "tensorboard", "figures": "uniform"}, "no figure 'uniform'; did you mean"),
    ],
)
def test_what_cannot_be_logged_is_refused(report, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        report.log(**arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_library_is_named_with_its_remedy(name):
    script = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "import numpy as np, cl_analyze as cla\n"
        "report = cla.analyze(np.eye(4), metrics='uniformity')\n"
        f"try: report.log({name!r}, figures=False)\n"
        "except cla.AnalysisError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == (f"DependencyError {name} is not installed: pip install {name}\n"), (
        done.stderr
    )


def test_a_prefix_is_a_folder_of_every_name():
    contents = Contents({"a/b": 1.0}, {}, {}, prefix="x/dev-1.0")
    assert contents.named_numbers() == {"x/dev-1.0/a/b": 1.0}
