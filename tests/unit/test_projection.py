"""Maps of rows: which method, which rows, what a reader can ask of a point."""

import subprocess
import sys

import numpy as np
import pytest

from cl_analyze import analyze
from cl_analyze.figures.description import Line, Points
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.projection import projection_figure

RANDOM = np.random.default_rng(0)
CENTRES = 2.0 * RANDOM.standard_normal((5, 8))
LABELS = np.arange(210) % 5
ROWS = RANDOM.standard_normal((210, 8)) + CENTRES[LABELS]


def table_of(rows=ROWS, labels=LABELS, pairs=None, **options):
    return analyze(rows, labels, pairs, metrics="quality", ks=[1], **options)


@pytest.fixture(scope="module")
def report():
    pytest.importorskip("sklearn")
    return table_of(ids=[f"img_{i:04d}" for i in range(210)])


def test_tsne_is_the_default_and_keeps_neighbours(report):
    rows = report.tables["projection"].rows
    assert {row["method"] for row in rows} == {"tsne"}
    points = np.array([[row["x"], row["y"]] for row in rows])
    apart_by = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    assert (LABELS[apart_by.argmin(axis=1)] == LABELS).mean() > 0.8


def test_neighbours_are_the_nearest_of_all_rows(report):
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    cosines = unit @ unit.T - 9.0 * np.eye(len(unit))
    nearest = np.argsort(-cosines, axis=1)[:, :5]
    for row in report.tables["projection"].rows[::20]:
        assert [int(i) for i in row["neighbours"].split()] == nearest[row["row"]].tolist()
        assert row["id"] == f"img_{row['row']:04d}"


def test_a_page_can_say_which_row_a_point_is(report):
    data = interactive(projection_figure(report.document))["data"]
    assert sum(len(trace["meta"]["rows"]) for trace in data) == 210
    for trace in data:
        for row, text, near in zip(
            trace["meta"]["rows"], trace["hovertext"], trace["meta"]["neighbours"], strict=True
        ):
            assert text == f"row {row}, id img_{row:04d}, class {LABELS[row]}"
            assert len(near) == 5


def test_rows_are_positions_in_the_file():
    from cl_analyze import RunOptions

    rows = ROWS.copy()
    rows[3] = np.nan
    report = table_of(rows, projection="pca", run=RunOptions(on_invalid="drop"))
    table = report.tables["projection"].rows
    assert [row["row"] for row in table] == [i for i in range(210) if i != 3]
    assert not any("3" in row["neighbours"].split() for row in table)


def test_auto_falls_back_to_principal_axes(monkeypatch):
    few = table_of(ROWS[:100], LABELS[:100]).tables["projection"].rows
    assert {row["method"] for row in few} == {"pca"}
    collapsed = table_of(np.ones(8) + 1e-4 * ROWS)
    assert {row["method"] for row in collapsed.tables["projection"].rows} == {"pca"}
    (panel,) = projection_figure(collapsed.document).panels
    assert "from their mean" in panel.note
    assert panel.x.limits[1] >= 0.1  # a dot
    assert "projection" not in table_of(projection="none").tables
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert {row["method"] for row in table_of().tables["projection"].rows} == {"pca"}


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_two_towers_share_a_map(method):
    if method == "tsne":
        pytest.importorskip("sklearn")
    report = table_of(pairs=ROWS + 1.0, projection=method)
    rows = report.tables["projection"].rows
    assert [row["tower"] for row in rows] == [1] * 210 + [2] * 210
    (panel,) = projection_figure(report.document).panels
    (lines,) = (mark for mark in panel.marks if isinstance(mark, Line))
    pairs = np.isnan(lines.x).sum()
    assert 1 <= pairs <= 50
    second = [mark for mark in panel.marks if isinstance(mark, Points) and mark.hollow]
    assert sum(len(mark.x) for mark in second) == 210
    assert second[0].hovers[0].startswith("partner of row ")


def test_of_many_classes_those_that_fail_have_colours():
    labels = np.arange(240) % 40
    centres = 6.0 * RANDOM.standard_normal((40, 8))
    rows = RANDOM.standard_normal((240, 8)) + centres[labels]
    mixed = labels >= 30  # classes 30 to 39 are one heap
    rows[mixed] = RANDOM.standard_normal((mixed.sum(), 8))
    report = table_of(rows, labels, projection="pca")
    figure = projection_figure(report.document)
    shown = {mark.label for mark in figure.panels[0].marks} - {"other classes"}
    assert len(shown & {str(c) for c in range(30, 40)}) >= 7
    assert "10 with the lowest accuracy (kNN)" in figure.caption


APART = """
import os
from cl_analyze.processes import apart, can_fork
print(can_fork(), apart(lambda item: os.getpid(), 0) == os.getpid())
print(apart(lambda item: apart(lambda own: os.getpid(), 0) == os.getpid(), 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux alone")
def test_work_apart_is_in_a_fork_which_forks_no_further():
    """In a process of its own: other tests may have loaded OpenMP in this one."""
    told = subprocess.run([sys.executable, "-c", APART], capture_output=True, text=True, check=True)
    may_fork, is_here, is_same_fork = told.stdout.split()
    assert is_here == ("False" if may_fork == "True" else "True")
    assert is_same_fork == "True"
