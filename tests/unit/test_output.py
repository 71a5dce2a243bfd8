"""Files whole or absent; tables, JSON, figures and the HTML report."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import html.parser
import io
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import cl_analyze as cla
from cl_analyze import output
from cl_analyze.errors import ConfigError
from cl_analyze.figures import catalogue, runs, sources
from cl_analyze.figures.description import Axis, Figure, Panel, Points
from cl_analyze.figures.matplotlib_renderer import PAGE, render
from cl_analyze.report.html import render_html
from cl_analyze.report.sentences import meaning
from cl_analyze.results import tables
from cl_analyze.results.ordering import training_temperature

NASTY = '<script>alert("x")</script>&$\\frac{1}{2}$'


@pytest.fixture(scope="module")
def report():
    random = np.random.default_rng(4)
    rows = random.standard_normal((60, 2, 6))
    names = np.array(["=cmd()", NASTY, "plain"])[np.arange(60) % 3]
    return cla.analyze(
        rows,
        labels=names,
        taus=[0.1, 0.5],
        source=f"{NASTY}.npz",
        metrics="all",
        penalty_alpha=0.2,
        batch_sizes=[4, 16],
    )


# ---- files


def test_nothing_is_made_behind_a_link_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").symlink_to(outside)
    with pytest.raises(ConfigError, match="is a link out of"):
        output.write_files(tmp_path / "out", "report", {"tables/deep/a.csv": b"a"})
    assert not list(outside.iterdir())


def test_a_fifo_under_a_temporary_name_stops_nothing(tmp_path):
    """Whoever may write into the folder could else make every run wait for ever."""
    names = [tmp_path / f"{output._TEMPORARY}-x-1-{kind}" for kind in ("fifo", "link")]
    os.mkfifo(names[0])
    names[1].symlink_to("/dev/tty")
    output.write_files(tmp_path, "report", {"a.txt": b"a"})
    assert (tmp_path / "a.txt").read_bytes() == b"a"


def test_a_failed_run_leaves_the_old_files(tmp_path, monkeypatch):
    output.write_files(tmp_path, "report", {"a.txt": b"old a", "b.txt": b"old b"})
    staged = []
    real = output._write

    def failing(path, data):
        if len(staged) == 1:
            raise OSError(28, "No space left on device")
        staged.append(path)
        return real(path, data)

    monkeypatch.setattr(output, "_write", failing)
    with pytest.raises(ConfigError, match="No space left on device"):
        output.write_files(tmp_path, "report", {"a.txt": b"new a", "b.txt": b"new b"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix == ".txt"} == {
        "a.txt": b"old a",
        "b.txt": b"old b",
    }
    assert names(tmp_path) == {"a.txt", "b.txt", output.INDEX}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_failed_rename_leaves_no_index_of_what_is_not_there(tmp_path, monkeypatch):
    real = output.Path.replace

    def failing(path, target):
        if target.name == "a.txt":
            raise OSError(5, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(output.Path, "replace", failing)
    with pytest.raises(ConfigError, match="Input/output error"):
        output.write_files(tmp_path / "out", "report", {"a.txt": b"new"})
    assert not (tmp_path / "out").exists()


class Stopped(BaseException):
    """What the handlers of the test below raise."""


@pytest.fixture
def handlers():
    """SIGINT and SIGTERM raise, as they do on the command line."""

    def stop(number, frame):
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_all_files_are_in_place(tmp_path, monkeypatch, handlers, signum):
    real = output.Path.replace

    def interrupted(path, target):
        signal.raise_signal(signum)
        return real(path, target)

    output.write_files(tmp_path, "report", {"a.txt": b"old", "c.txt": b"old"})
    monkeypatch.setattr(output.Path, "replace", interrupted)
    before = signal.getsignal(signum)
    with pytest.raises(Stopped):
        output.write_files(tmp_path, "report", {"a.txt": b"new", "b.txt": b"new"})
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.txt")} == {
        "a.txt": b"new",
        "b.txt": b"new",
    }
    assert signal.getsignal(signum) == before


def test_a_run_that_waits_for_its_turn_can_be_stopped(tmp_path, handlers):
    holding = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holding, fcntl.LOCK_EX)
    interrupt = lambda number, frame: signal.raise_signal(signal.SIGINT)  # noqa: E731
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Stopped):
            output.write_files(tmp_path, "report", {"a.txt": b"new"})
    finally:
        os.close(holding)
        signal.signal(signal.SIGALRM, before)
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_fails_midway_forgets_no_file(tmp_path, monkeypatch):
    real = output.Path.replace

    def failing(path, target):
        if target.name == "b.txt":
            raise OSError(5, "Input/output error")
        return real(path, target)

    output.write_files(tmp_path, "report", {"old.txt": b"old"})
    with monkeypatch.context() as patch:
        patch.setattr(output.Path, "replace", failing)
        with pytest.raises(ConfigError, match="Input/output error"):
            output.write_files(tmp_path, "report", {"a.txt": b"new", "b.txt": b"new"})
    output.write_files(tmp_path, "report", {"c.txt": b"c"})
    assert names(tmp_path) == {"c.txt", output.INDEX}


def test_files_that_belong_together_are_replaced_together(tmp_path, monkeypatch):
    first, second = tmp_path / "a.npz", tmp_path / "a.json"
    output.replace_files({first: b"old", second: b"old"})
    monkeypatch.setattr(
        output, "_write", lambda path, data: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(ConfigError, match="full"):
        output.replace_files({first: b"new", second: b"new"})
    assert [first.read_bytes(), second.read_bytes()] == [b"old", b"old"]


def test_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    host, dead = socket.gethostname(), int(gone.stdout)
    huge = f"{host}-{10**30}-e"
    kept = (f"{host}-{os.getppid()}-a", f"elsewhere-{dead}-b", "odd", huge)
    left = (f"{host}-{dead}-c", f"elsewhere-{dead}-d")
    for name in (*kept, *left):
        (tmp_path / f".cl-analyze-tmp-{name}").write_text("half")
    os.utime(tmp_path / f".cl-analyze-tmp-{left[1]}", (0, 0))
    output.write_files(tmp_path, "report", {"a.txt": b"a"})
    assert names(tmp_path) == {f".cl-analyze-tmp-{name}" for name in kept} | {
        "a.txt",
        output.INDEX,
    }


def test_two_writers_of_one_folder_lose_no_file_of_the_index(tmp_path):
    def write(number):
        for _ in range(20):
            output.write_files(tmp_path, f"command {number}", {f"{number}.txt": b"x"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    index = json.loads((tmp_path / output.INDEX).read_text())
    assert index == {f"command {number}": [f"{number}.txt"] for number in range(4)}


def test_an_interrupt_while_staging_leaves_no_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(output.os, "fsync", lambda fd: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        output.write_files(tmp_path, "report", {"a.txt": b"new"})
    assert list(tmp_path.iterdir()) == []


def test_an_edited_index_reaches_nothing_outside_the_folder(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "out"
    output.write_files(folder, "report", {"a.txt": b"a"})
    index = {"report": ["../outside.txt", str(outside), "a.txt", 7]}
    (folder / output.INDEX).write_text(json.dumps(index))
    output.write_files(folder, "report", {"b.txt": b"b"})
    assert outside.read_text() == "mine"
    assert not (folder / "a.txt").exists()
    (folder / output.INDEX).write_text("not json")
    output.write_files(folder, "report", {"c.txt": b"c"})
    assert (folder / "b.txt").exists(), "with a damaged index nothing is known to be stale"


def test_two_commands_share_a_file_without_deleting_it(tmp_path):
    output.write_files(tmp_path, "report", {"tables/t.csv": b"1", "only.txt": b"1"})
    output.write_files(tmp_path, "tolerance", {"tables/t.csv": b"2"})
    output.write_files(tmp_path, "report", {"other.txt": b"1"})
    assert (tmp_path / "tables" / "t.csv").read_bytes() == b"2"
    assert not (tmp_path / "only.txt").exists()


# ---- records and tables


def test_a_record_has_a_value_or_a_reason():
    base = {"source": "x", "metric": "m", "definition": None, "params": {}, "unit": "nats"}
    with pytest.raises(ValueError, match="a value or a reason"):
        tables.Record(value=None, std_error=None, n=3, d=2, **base)
    with pytest.raises(ValueError, match="a value or a reason"):
        tables.Record(value=1.0, std_error=None, n=3, d=2, reason="why", **base)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="no number to report"):
            tables.Record(value=bad, std_error=None, n=3, d=2, **base)


def test_csv_cells_that_a_spreadsheet_would_run(report):
    text = report.tables["tolerance_by_class"].to_csv()
    assert "'=cmd()" in text
    assert "\n=cmd()" not in text
    assert ",=cmd()" not in text
    for value in ("=1", "+1+1", "-cmd()", "@x"):
        assert tables.csv_cell(value) == f"'{value}"
    assert tables.csv_cell("\tx") == "'\\tx"
    assert [tables.csv_cell(v) for v in (-1.5, "-1", "-", "+2.5")] == ["-1.5", "-1", "-", "+2.5"]
    assert tables.csv_cell(0.1 + 0.2) == "0.30000000000000004"


def test_find_and_frame(report):
    record = report.records.find("penalty_entropy", tau=0.5)
    assert record.params == {"tau": 0.5}
    assert report.records.find("uniformity").definition == "u_stat"
    with pytest.raises(KeyError, match="no record penalty_entropy"):
        report.records.find("penalty_entropy", tau=0.3)
    frame = report.results
    assert len(frame) == len(report.records)
    assert {"source", "metric", "definition", "tau", "t", "group", "q", "value"} <= set(frame)


def test_json_reads_back_and_refuses_nan(report):
    document = report.document.to_dict()
    assert json.loads(tables.to_json(document)) == json.loads(json.dumps(document))
    with pytest.raises(ValueError):
        tables.to_json({"rows": [{"x": math.nan}]})


def test_compare_pairs_rows_and_adjusts(random):
    rows = random.standard_normal((80, 6))
    near = rows + 0.01 * random.standard_normal(rows.shape)
    labels = np.arange(80) % 4
    one, other = (cla.analyze(z, labels=labels, taus=[0.2]) for z in (rows, near))
    frame = one.compare(other)
    assert list(frame.columns) == [
        "metric", "definition", "params", "source_a", "source_b", "difference", "std_error",
        "low", "high", "p_holm", "paired", "p", "p_headline",
    ]  # fmt: skip
    row = frame[(frame.metric == "uniformity") & (frame.definition == "u_stat")].iloc[0]
    assert row.paired
    expected = one.records.find("uniformity").value - other.records.find("uniformity").value
    assert row.difference == pytest.approx(expected)
    unpaired = math.hypot(
        one.records.find("uniformity").std_error, other.records.find("uniformity").std_error
    )
    assert row.std_error < 0.2 * unpaired
    same = one.compare(one)
    assert (same.difference == 0).all()
    shuffled = cla.analyze(near, labels=labels[::-1], taus=[0.2])
    assert not one.compare(shuffled).paired.any(), "labels disagree: these are other rows"
    assert not one.compare(other, paired=False).paired.any()


# ---- figures and HTML


def test_every_figure_of_the_report_is_drawn(report):
    drawn = {figure.name: figure for figure in catalogue.draw(report.document)}
    of_several = {
        "trade_off", "alignment_uniformity", "along_the_run", "against_temperature",
        "differences", "movement", "compare_matrix",
        "metric_correlation",
    }  # fmt: skip
    # the figure of uniformity has tolerance too, that of gradients the mass of the penalty
    in_others = {"tolerance", "penalty_mass"}
    assert set(drawn) == set(catalogue.FIGURES) - of_several - in_others
    for figure in drawn.values():
        for panel in figure.panels:
            assert panel.marks
            assert panel.x.label
    for files in render(drawn.values(), ("png", "svg", "pdf")):
        assert files["png"].startswith(b"\x89PNG")
        assert b"<svg" in files["svg"]
        assert files["pdf"].startswith(b"%PDF")


def test_a_format_is_the_same_bytes_beside_others(report):
    figures = [f for f in catalogue.draw(report.document) if f.name in ("projection", "uniformity")]
    xs = np.linspace(0.0, 1.0, 200).tolist()  # so many points are an image inside svg and pdf
    cloud = Panel([Points(xs, xs, "rows")], Axis("x"), Axis("y"))
    figures.append(Figure("cloud", "A cloud", "Of points.", [cloud]))
    assert len(figures) == 3
    together = render(figures, ("pdf", "png", "svg"))
    for kind in ("png", "svg", "pdf"):
        for alone, beside in zip(render(figures, (kind,)), together, strict=True):
            if kind == "png":
                assert alone[kind] == beside[kind]
            else:  # without a png the same layout is found by another renderer
                assert len(alone[kind]) == pytest.approx(len(beside[kind]), rel=0.02)
    for one, other in zip(
        render(figures, ("svg", "pdf")), render(figures, ("pdf", "svg")), strict=True
    ):
        assert one == other


def test_temperatures_order_the_figures():
    rows = {f"run-tau-{tau}.npy": tau for tau in (1.0, 0.07, 0.5)}
    random = np.random.default_rng(0)
    from cl_analyze.analysis.run import run_analysis
    from cl_analyze.options import MetricOptions, Request, RunOptions

    requests = [
        Request(random.standard_normal((30, 4)), labels=np.arange(30) % 3, source=name)
        for name in rows
    ]
    report = run_analysis(
        requests, ("uniformity", "tolerance"), MetricOptions(), RunOptions(), "report"
    )
    assert sources.natural_order(report.document) == [
        "run-tau-0.07.npy",
        "run-tau-0.5.npy",
        "run-tau-1.0.npy",
    ]
    figure = runs.run_figure(report.document)
    assert figure is not None
    assert list(figure.panels[0].marks[0].x) == [0.07, 0.5, 1.0]
    names = sources.short_names(report.document)
    assert (
        set(names.values()) == {"tau-0.07", "tau-0.5", "tau-1.0"} or len(set(names.values())) == 3
    )


@pytest.mark.parametrize(
    ("name", "tau"),
    [
        ("tau-0.07.npz", 0.07),
        ("moco_tau=0.2_ep3.npy", 0.2),
        ("temp0.5.pt", 0.5),
        ("epoch12.npy", None),
        ("start-5.npy", None),
        ("resnet50.npy", None),
    ],
)
def test_temperatures_in_names(name, tau):
    assert training_temperature(name) == tau


class Collector(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_self_contained_and_escaped(report):
    figures = catalogue.draw(report.document)
    images = [files[PAGE] for files in render(figures, [PAGE])]
    text = render_html(report.document, list(zip(figures, images, strict=True)))
    parsed = Collector()
    parsed.feed(text)
    assert parsed.tags.count("script") == 3, "the library, the figures' data, and the page's own"
    assert all(link.startswith(("#", "data:image/webp;base64,", "data:,")) for link in parsed.links)
    assert "http://" not in re.sub(r"data:[^\"]*", "", text)
    visible = " ".join(parsed.text)
    assert NASTY in visible, "names are shown as they are"
    shown = [
        base64.b64decode(link.partition(",")[2]) for link in parsed.links if ";base64," in link
    ]
    assert len(shown) == len(images)
    assert sum(map(len, shown)) < 0.8 * sum(map(len, images))
    for webp, png in zip(shown, images, strict=True):
        pixels = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in (webp, png)]
        np.testing.assert_array_equal(*pixels)


def test_every_number_has_a_sentence(report):
    for record in report.records:
        sentence = meaning(record, report.document)
        assert len(sentence) > 15, record.name
        assert sentence.endswith("."), sentence
        assert "nan" not in sentence.lower().split()


def test_sentences_say_what_the_numbers_say(report):
    def say(metric, value, **params):
        record = dataclasses.replace(
            report.records.find(metric, **params), value=value, std_error=0.001
        )
        return meaning(record, report.document)

    assert "less uniform" in say("uniformity_gap", 0.5)
    assert "more uniform" in say("uniformity_gap", -0.5)
    assert "Not distinguishable" in say("uniformity_gap", 0.0005)
    assert "0.50 (an angle of 60°)" in say("tolerance", 0.5)
    assert "25%" in say("penalty_top1_share", 0.25, tau=0.1)


def test_undefined_numbers_say_why():
    found = cla.tolerance(np.eye(4), [0, 1, 2, 3])
    record = found.find("tolerance")
    assert record.value is None
    assert record.reason == "no class has two members"


def test_the_interactive_figure_has_the_numbers_of_the_static_one():
    """Both renderers draw one description: every coordinate comes back, whatever the scale."""
    from cl_analyze.figures.description import Axis, Cells, Figure, Line, Panel, Points, Rule, Steps
    from cl_analyze.figures.interactive_renderer import interactive

    even = [i / 20 for i in range(21)]
    squares = [0.0, 1.0, 4.0]
    line = Line(even, [2 * x + 1 for x in even], "line", level=0.5, low=even, high=even)
    points = Points([1.0, 10.0], [3.0, 4.0], "points", x_error=[0.1, 0.2], y_error=[0.3, 0.4])
    steps = Steps([0.0, 1.0, 2.0, 3.0], squares, "steps")
    cells = Cells([[0.1, 0.2], [0.3, math.nan]], 0.0, 1.0)
    panels = [
        Panel([line, Rule("rule", y=0.5)], Axis("x"), Axis("y")),
        Panel([points, Rule("rule", x=5.0)], Axis("x", "log", limits=(0.1, 100.0)), Axis("y")),
        Panel([steps, Rule("rule", y=4.0)], Axis("x"), Axis("y", "sqrt")),
        Panel([cells], Axis("x"), Axis("y")),
    ]
    plot = interactive(Figure("f", "title", "caption", panels, dial="τ"))
    band, drawn, dots, outline, matrix = plot["data"]
    assert band["y"] == [*even, *reversed(even)]
    xs = [drawn["x0"] + i * drawn["dx"] for i in range(len(drawn["y"]))]
    assert xs == pytest.approx(even)
    assert drawn["y"] == pytest.approx([2 * x + 1 for x in even])
    assert (dots["x"], dots["y"]) == ([1.0, 10.0], [3.0, 4.0])
    assert dots["error_x"]["array"] == [0.1, 0.2]
    assert dots["error_y"]["array"] == [0.3, 0.4]
    assert plot["layout"]["xaxis2"]["range"] == pytest.approx([-1.0, 2.0]), "ranges are exponents"
    assert outline["x"] == [0.0, 1.0, 2.0, 3.0]
    assert outline["y"] == [0.0, 1.0, 2.0, 2.0], "roots, the last step to its end"
    assert outline["customdata"] == [*squares, 4.0], "hovering shows the values"
    assert matrix["z"] == [[0.1, 0.2], [0.3, None]]
    shapes = plot["layout"]["shapes"]
    assert [(s["xref"], s["yref"]) for s in shapes] == [
        ("x domain", "y"), ("x2", "y2 domain"), ("x3 domain", "y3"),
    ]  # fmt: skip
    assert [shapes[0]["y0"], shapes[1]["x0"], shapes[2]["y1"]] == [0.5, 5.0, 2.0]
    assert [s["showlegend"] for s in shapes] == [True, False, False], "one entry a name"
    assert plot["meta"]["levels"] == [0.5]
