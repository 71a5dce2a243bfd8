"""What a report gives to a Python program: tables, numbers by name, figures."""

from __future__ import annotations

import os
import pickle
import posixpath
import re
import subprocess
import sys
from html import escape

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import cl_analyze as cla
from cl_analyze.errors import ConfigError
from cl_analyze.report.comparison import comparison_of
from cl_analyze.results.scalars import scalars
from cl_analyze.results.tables import Record, number_text, undefined


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(3)
    labels = np.arange(120) % 3
    z = random.standard_normal((120, 6)) + 2.0 * np.eye(6)[labels]
    return z, z + 0.2 * random.standard_normal(z.shape), labels


@pytest.fixture(scope="module")
def report(data):
    z, partners, labels = data
    return cla.analyze(z, labels, partners, metrics="all", source="run $1$ <b>")


@pytest.fixture(scope="module")
def compared(data):
    z, partners, labels = data
    return cla.compare({"a": z, "b": partners}, labels, metrics=["uniformity", "tolerance"])


def test_every_table_is_a_frame_with_its_columns(report, compared):
    for one in (report, compared):
        for name, table in one.tables.items():
            frame = one.table(name)
            assert list(frame.columns) == list(table.columns)
            assert len(frame) == len(table.rows)
    pd.testing.assert_frame_equal(report.table("results"), report.results)
    assert compared.table("compare")["difference"].notna().any()


def test_an_unknown_table_names_the_nearest_and_all(report):
    with pytest.raises(ConfigError, match=r"no table 'spectra'; did you mean 'spectrum'.*results"):
        report.table("spectra")


def test_scalars_are_the_values_of_the_records(report):
    numbers = report.scalars()
    defined = [record.value for record in report.records if record.value is not None]
    assert list(numbers.values()) == defined
    assert numbers["uniformity/u_stat/t_2"] == report.records.find("uniformity").value
    tau = report.records.find("penalty_entropy", tau=0.07).value
    assert numbers["penalty_entropy/tau_0.07"] == tau
    with_errors = report.scalars(std_errors=True)
    assert with_errors.keys() > numbers.keys()
    error = report.records.find("uniformity").std_error
    assert with_errors["uniformity/u_stat/t_2_std_error"] == error
    n_errors = sum(r.value is not None and r.std_error is not None for r in report.records)
    assert len(with_errors) == len(numbers) + n_errors


def test_names_of_scalars_are_those_that_mlflow_takes(report, compared):
    for one in (report, compared):
        names = list(one.scalars(std_errors=True))
        for name in names:
            assert re.fullmatch(r"[/\w.\- ]{1,250}", name)
            assert posixpath.normpath(name) == name
            assert name[0] not in "/."
        folders = {name[:at] for name in names for at, c in enumerate(name) if c == "/"}
        assert not folders & set(names)  # a file store writes a name as folders, then a file


def test_scalars_of_several_sources_begin_with_the_source(compared):
    numbers = compared.scalars()
    assert {name.split("/")[0] for name in numbers} == {"a", "b"}
    assert (
        numbers["b/uniformity/u_stat/t_2"] == compared.records.find("uniformity", source="b").value
    )


def test_names_that_differ_only_in_characters_left_out_stay_apart():
    def record(source, params):
        return Record(source, "m", None, params, 1.0, None, "none", 3, 2)

    records = [record(s, {"name": n}) for s in ("a/b", "a:b") for n in ("x+", "x-", "x*")]
    names = list(scalars(records, ["a/b", "a:b"]))
    assert len(set(names)) == 6
    assert names[0] == "a_b/m/name_x_"
    assert names[5] == "a_b.2/m/name_x_.2"
    assert scalars([undefined("a/b", "m", None, {}, "none", 2, "too few")], ["a/b"]) == {}


def test_every_figure_is_drawn_by_name(report, compared):
    for one in (report, compared):
        assert list(one.figures) == list(one.figures.descriptions)
        for name, described in one.figures.descriptions.items():
            figure = one.plot(name)
            assert isinstance(figure, Figure)
            assert figure.get_label() == described.title
            assert figure.get_suptitle() == ""
            titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
            shown = [panel.title for panel in described.panels if not panel.is_minor]
            assert shown == titles[: len(shown)]
            pickle.loads(pickle.dumps(figure))
    assert "spectrum" in report.figures
    assert "spectrum" not in compared.figures
    assert report.figures["spectrum"]._repr_png_().startswith(b"\x89PNG")
    assert repr(compared.figures).splitlines()[0].startswith("trade_off: ")
    assert "<script" not in report.figures._repr_html_()


def test_one_source_alone(data):
    z, partners, _ = data
    both = cla.analyze(np.stack([z, partners], axis=1), metrics="uniformity", source="v")
    assert both.plot("uniformity", source="v")
    several = cla.compare({"a": z, "b": partners, "c": z[:, ::-1]}, metrics="uniformity")
    whole, one = several.plot("differences"), several.plot("differences", source="b")
    texts = [{t.get_text() for t in f.findobj(matplotlib.text.Text)} for f in (whole, one)]
    assert {"b", "c"} <= texts[0]
    assert "c" not in texts[1]
    with pytest.raises(ConfigError, match=r"no source 'd'.*'a', 'b', 'c'"):
        several.plot("differences", source="d")


def test_a_panel_in_axes_of_the_caller(report):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert report.plot("knn_accuracy", ax=left) is figure
    assert left.lines
    assert not right.lines
    with pytest.raises(ConfigError, match=r"spectrum has 2 panels.*leave ax out.*panel=0 to 1"):
        report.plot("spectrum", ax=right)
    assert report.plot("spectrum", ax=right, panel=1) is figure
    assert right.lines
    assert not right.texts
    titles = [panel.title for panel in report.figures.descriptions["loss_gradient"].panels]
    named = report.plot("loss_gradient", panel=titles[-1])
    assert [axes.get_title(loc="left") for axes in named.axes] == titles[-1:]
    with pytest.raises(ConfigError, match="no panel 'x'"):
        report.plot("loss_gradient", panel="x")
    with pytest.raises(ConfigError, match="ax must be Axes of Matplotlib, found int"):
        report.plot("knn_accuracy", ax=1)


def test_an_unknown_figure_names_the_nearest_and_all(report, compared):
    with pytest.raises(ConfigError, match=r"no figure 'hubnes'; did you mean 'hubness'.*spectrum"):
        report.plot("hubnes")
    with pytest.raises(KeyError, match="no figure 'hubnes'"):
        report.figures["hubnes"]
    with pytest.raises(ConfigError, match="no figure"):
        compared.plot("spectrum")


def test_names_with_dollar_signs_are_no_formulas(report):
    figure = Figure()
    axes = figure.subplots()
    own = axes.text(0.5, 0.5, "$x^2$")
    report.plot("uniformity", ax=axes, panel=0)
    figure.draw_without_rendering()
    assert own.get_parse_math()
    others = [t for t in axes.findobj(matplotlib.text.Text) if t is not own and t.get_text()]
    assert others
    assert not any(text.get_parse_math() for text in others)


def test_plotting_leaves_no_trace_in_pyplot_or_the_settings():
    program = """
import io
import sys
import numpy as np
import cl_analyze as cla
report = cla.analyze(np.eye(8), metrics="uniformity")
import matplotlib
matplotlib.rcParams["font.size"] = 20.0
before = dict(matplotlib.rcParams)
report.plot("uniformity").savefig(io.BytesIO(), format="svg")
assert dict(matplotlib.rcParams) == before
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot as plt
report.plot("uniformity")
assert plt.get_fignums() == []
"""
    for backend in ("agg", "pdf"):
        environment = {**os.environ, "MPLBACKEND": backend}
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_a_notebook_shows_summary_sentences_and_figures(report, compared):
    for one in (report, compared):
        shown = one._repr_html_()
        assert len(shown.encode()) < 300_000
        assert shown == one._repr_html_()
        pictures = re.findall(
            r'<figure[^>]*><img width="[0-9]+" src="data:image/png;base64,', shown
        )
        assert len(pictures) == min(4, len(one.figures))
        assert not re.search(r"<script|https?:|url\(|@import|on[a-z]+=|<b>", shown)
        for theme in ("prefers-color-scheme: dark", "data-jp-theme-light", "vscode-dark"):
            assert theme in shown
        rules = re.search(r"<style>(.*?)</style>", shown, re.DOTALL)[1]
        for style in re.findall(r"^[^@\n]*?\{", rules, re.MULTILINE):
            assert all(".cl-analyze" in selector for selector in style.split(",")), style
        names = set(re.findall(r"<figcaption><code>(.*?)</code>", shown))
        further = re.search(r"Further figures, <code>report.plot\(name\)</code>: (.*?)\. ", shown)
        names |= set(further[1].split(", ")) if further else set()
        assert names == set(one.figures)
    assert "run $1$ &lt;b&gt;" in report._repr_html_()
    record = report.records.find("uniformity_gap")
    value = number_text(record.value, record.std_error)
    assert f"<td>{value}<span" in report._repr_html_()
    sentence = comparison_of(compared.document, "b").sentences()[1]
    assert escape(sentence) in compared._repr_html_()


def test_a_notebook_shows_many_checkpoints_in_little_room(data):
    z, _, _ = data
    spaces = {f"step <{i}>" + "x" * 90: z + 0.01 * i for i in range(45)}
    shown = cla.compare(spaces, metrics="uniformity")._repr_html_()
    assert len(shown.encode()) < 300_000
    assert "5 more checkpoints" in shown


def test_the_short_form_names_sources_and_numbers(report, compared):
    record = report.records.find("uniformity")
    value = number_text(record.value, record.std_error)
    start = f"Report({len(report.records)} records of run $1$ <b>: uniformity {value} ± "
    assert repr(report).startswith(start)
    assert repr(compared) == f"Report({len(compared.records)} records of a, b)"


def test_a_function_hears_of_the_progress(data):
    z, partners, labels = data
    events = []
    report = cla.compare(
        {"a [x]": z, "b": np.hstack([partners, z])},
        labels,
        metrics=["uniformity"],
        progress=events.append,
    )
    assert all(isinstance(event, cla.Progress) for event in events)
    stages = {(event.source, event.stage) for event in events}
    assert {("a [x]", "checking rows"), ("b", "how the space moved")} <= stages
    assert not any(event.stage.startswith(event.source) for event in events if event.source)
    assert any(0 < event.done == event.total for event in events)
    assert all(event.done <= event.total for event in events)
    assert {event.checkpoints_done for event in events if event.checkpoints == 2} == {0, 1, 2}
    warned = [event.note for event in events if event.is_warning]
    assert warned
    assert warned == list(report.warnings)


def test_notes_reach_the_function_of_a_family(data):
    z, partners, _ = data
    views = np.stack([z, partners], axis=1)
    notes = []

    def hear(event):
        notes.append(event.note)

    for function in (cla.losses, cla.similarity, cla.quality, cla.penalty, cla.uniformity):
        notes.clear()
        function(views, progress=hear)
        assert any("read as (rows, views, dimensions)" in note for note in notes)
    cla.tolerance(z, data[2], progress=hear)


def test_an_error_of_the_function_stops_the_run(data):
    class Enough(Exception):
        pass

    def stop(event):
        raise Enough

    with pytest.raises(Enough):
        cla.analyze(data[0], metrics="uniformity", progress=stop)
    with pytest.raises(ConfigError, match="progress must be True, False or a function"):
        cla.analyze(data[0], metrics="uniformity", progress="yes")


def test_bars_and_notes_stand_on_stderr(data, capsys):
    z, partners, labels = data
    cla.compare(
        {"a [b]": z, "b": np.hstack([partners, z])}, labels, metrics="tolerance", progress=True
    )
    heard = capsys.readouterr()
    assert heard.out == ""
    assert "warning: dimensions differ" in heard.err
    assert "100%" in heard.err
    cla.compare({"a": z, "b": partners}, labels, metrics="tolerance")
    assert capsys.readouterr() == ("", "")


def test_names_in_frames_are_categories_in_the_order_of_the_report(report, compared):
    for frame in (report.results, report.table("quality"), compared.table("checkpoints")):
        for column in {"source", "metric", "definition"} & set(frame.columns):
            assert list(frame[column].cat.categories) == list(dict.fromkeys(frame[column].dropna()))
    means = compared.results.groupby(["source", "metric"], observed=True)["value"].mean()
    assert list(means.index.get_level_values("source").unique()) == list(compared.document.sources)
    gap = compared.records.find("uniformity_gap", source="b").value
    assert means.loc["b", "uniformity_gap"] == gap
    both = pd.concat([one.results[["source", "metric"]] for one in (report, compared)])
    assert (both["metric"] == "uniformity_gap").sum() == 3
