"""The same bytes wherever the work runs: threads, processes, a cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.analysis.run import run_analysis
from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.inputs.listener import Silent
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.results.tables import to_json

distributed = pytest.importorskip("distributed")

FAMILIES = ("uniformity", "tolerance", "similarity", "penalty")
RUN = {"block": 48, "threads": 1}


@pytest.fixture
def files(tmp_path):
    """900 rows with labels, several units' worth at blocks of 48, in files."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 5, 900)
    rows = (random.standard_normal((900, 12)) + 1.5 * np.eye(5, 12)[labels]).astype(np.float32)
    rows[17] = rows[3]
    np.save(tmp_path / "emb.npy", rows)
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, and a client."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


def report(files, executor=None, listener=None, anchors=None, embeddings=None, **run):
    return run_analysis(
        [Request(embeddings or str(files / "emb.npy"), str(files / "labels.npy"), source="emb")],
        FAMILIES,
        MetricOptions(taus=[0.07, 0.5], top_k=3, anchors=anchors),
        RunOptions(**{**RUN, **run}),
        "report",
        executor,
        listener,
    )


def content(found):
    """Results and tables as the bytes that are written."""
    tables = {name: (t.columns, t.rows) for name, t in found.tables.items()}
    return to_json({"results": [r.to_dict() for r in found.records], "tables": tables})


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_no_byte(files, threads):
    assert content(report(files, threads=threads)) == content(report(files))


@pytest.mark.parametrize("anchors", [None, 150])
def test_processes_change_no_byte(files, anchors):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = report(files, pool, anchors=anchors)
    assert content(found) == content(report(files, anchors=anchors))


def losses(files, executor=None, **run):
    random = np.random.default_rng(5)
    rows = np.load(files / "emb.npy")
    if not (files / "other.npy").exists():
        np.save(files / "other.npy", rows + 0.3 * random.standard_normal(rows.shape))
    found = cla.analyze(
        str(files / "emb.npy"),
        str(files / "labels.npy"),
        str(files / "other.npy"),
        metrics="losses",
        taus=[0.1],
        batch_sizes=[32],
        run=RunOptions(**{**RUN, "block": 96, **run}),
        executor=executor,
    )
    return [record.to_dict() for record in found.records], found.tables["loss_gradient"].rows


def test_losses_are_the_same_bytes_in_processes_and_from_saved_passes(files, tmp_path):
    serial = losses(files)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert losses(files, pool) == serial
    assert losses(files, resume=tmp_path / "states", save_every=0.0) == serial
    assert losses(files, resume=tmp_path / "states") == serial


def test_a_thread_pool_of_the_caller_changes_no_byte(files):
    with ThreadPoolExecutor(3) as pool:
        assert content(report(files, pool)) == content(report(files))


@pytest.mark.parametrize("anchors", [None, 150])
def test_a_cluster_changes_no_byte(files, cluster, anchors):
    assert content(report(files, cluster, anchors=anchors)) == content(
        report(files, anchors=anchors)
    )


def test_a_cluster_changes_no_byte_with_dropped_rows_and_arrays_in_memory(files, cluster):
    rows = np.load(files / "emb.npy")
    rows[5] = np.nan

    def found(executor):
        return cla.analyze(
            rows,
            taus=[0.1],
            run=RunOptions(on_invalid="drop", **RUN),
            executor=executor,
        )

    assert content(found(cluster)) == content(found(None))


class KillsAWorker(Silent):
    """Kills one worker process when the first unit's result has arrived."""

    def __init__(self, client):
        self.client = client
        self.killed = 0

    def progress(self, done, total):
        if not self.killed:
            pids = self.client.run(os.getpid)
            self.killed = next(iter(pids.values()))
            os.kill(self.killed, signal.SIGKILL)


def test_a_worker_that_is_killed_changes_no_byte(files, cluster):
    listener = KillsAWorker(cluster)
    found = report(files, cluster, listener)
    assert listener.killed
    assert content(found) == content(report(files))


class RemovesTheFile(Silent):
    """Takes the file away after this process has mapped it: workers cannot see it."""

    def __init__(self, path):
        self.path = path

    def stage(self, text):
        if "pairs" in text:
            self.path.unlink(missing_ok=True)


def test_a_worker_that_cannot_see_the_file_says_so(files, cluster):
    with pytest.raises(AnalysisError, match=r"a worker on .* cannot read the input.*emb\.npy"):
        report(files, cluster, RemovesTheFile(files / "emb.npy"))


def test_processes_that_die_are_named(files):
    class Kills(Silent):
        ends = None

        def progress(self, done, total):
            # from within: a pool waits for ever for the rest of what a killed process was writing
            if self.ends is None:
                self.ends = pool.submit(signal.raise_signal, signal.SIGKILL)

    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        # during a pass, or at the start of the next
        pytest.raises(AnalysisError, match=r"the workers are gone|process terminated abruptly"),
    ):
        report(files, pool, Kills())


def test_scheduler_option(files, cluster, cli):
    address = cluster.scheduler_info()["address"]
    for name in ("emb.npy", "labels.npy"):
        (cli.folder / name).write_bytes((files / name).read_bytes())
    arguments = ("report", "emb.npy", "--labels", "labels.npy", "--tau", "0.1", "--json")
    here = cli(*arguments, "--no-files")
    there = cli(*arguments, "--no-files", "--scheduler", address)
    assert here.returncode == there.returncode == 0, there.stderr
    one, other = json.loads(here.stdout), json.loads(there.stdout)
    for key in ("results", "tables"):
        assert json.dumps(one[key]) == json.dumps(other[key])


def test_a_scheduler_that_does_not_answer(files, monkeypatch):
    monkeypatch.setattr("cl_analyze.pairs.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match="no Dask scheduler answers there"):
        report(files, scheduler="tcp://127.0.0.1:9")


def test_an_address_that_is_none_is_refused_at_once(files):
    with pytest.raises(ConfigError, match="'nonsense' is no address; write it as tcp://host:8786"):
        report(files, scheduler="nonsense")


def test_workers_open_urls(files, cluster):
    url = (files / "emb.npy").as_uri()
    assert content(report(files, cluster, embeddings=url)) == content(report(files))


def test_what_is_no_executor(files):
    with pytest.raises(ConfigError, match="executor must be"):
        report(files, executor=3)
    with pytest.raises(ConfigError, match=r"pass ThreadPoolExecutor\(\.\.\.\), not the class"):
        report(files, executor=ThreadPoolExecutor)
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(ConfigError, match="the executor takes no work"):
        report(files, executor=pool)
