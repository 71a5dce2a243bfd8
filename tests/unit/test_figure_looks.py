"""How figures look: letters that can be read, colours that can be told apart, nothing cut off."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import cl_analyze as cla
from cl_analyze.figures import colours
from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.description import Axis, Cells, Figure, Line, Panel, Points, Steps
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.matplotlib_renderer import (
    LEAST_POINTS,
    PAGE,
    _panels,
    as_matplotlib,
    render,
)
from tests.unit.colour_vision import apart, contrast_with_white, distances, lab, linear

COLUMN = 85 / 25.4
"""Inches of one column of a paper."""
N, N_CLASSES = 90, 9


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A report of six checkpoints with everything, and their comparison."""
    random = np.random.default_rng(8)
    labels = np.array([f"class {i}" for i in range(N_CLASSES)])[np.arange(N) % N_CLASSES]
    means, noise = random.standard_normal((2, N, 6))
    names = ("0.07", "0.1", "0.2", "0.3", "0.5", "1.0")
    folder, paths = tmp_path_factory.mktemp("few"), []
    for at, tau in enumerate(names):
        rows = noise + 0.4 * at * means[np.arange(N) % N_CLASSES]
        further = rows + 0.3 * random.standard_normal(rows.shape)
        paths.append(str(folder / f"run-tau-{tau}.npz"))
        np.savez(paths[-1], embeddings=rows, view1=rows, view2=further, labels=labels)
    report = cla.analyze(paths, metrics="all", taus=[0.1, 0.5], batch_sizes=[4, 16])
    return report, cla.compare(paths)


@pytest.fixture(scope="module")
def figures(few):
    return {figure.name: figure for one in few for figure in draw(one.document)}


def shown_texts(drawn):
    texts = (text for text in drawn.findobj(Text) if text.get_visible() and text.get_text().strip())
    return [text for text in texts if text.axes is None or text.axes.axison]


def test_letters_can_be_read_in_one_column_and_none_is_cut(figures):
    assert len(figures) > 18
    for name, figure in figures.items():
        drawn = as_matplotlib(figure)
        width, height = drawn.get_size_inches()
        assert width == pytest.approx(COLUMN, abs=0.01), name
        assert height < 9.5, f"{name} is longer than a page"
        renderer = drawn.canvas.get_renderer()
        for text in shown_texts(drawn):
            assert text.get_fontsize() * COLUMN / width >= LEAST_POINTS - 0.02, (name, text)
            box = text.get_window_extent(renderer)
            inside = text.get_text() in tick_texts(drawn, outside=True)
            if not inside:
                assert box.x0 > -2, (name, text)
                assert box.x1 < drawn.bbox.x1 + 2, (name, text)
                assert box.y0 > -2, (name, text)
                assert box.y1 < drawn.bbox.y1 + 2, (name, text)


def tick_texts(drawn, outside):
    """Texts of ticks beyond the limits of their axis, which are not drawn."""
    texts = set()
    for axes in drawn.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if (not low <= tick.get_loc() <= high) is outside:
                    texts |= {tick.label1.get_text(), tick.label2.get_text()}
    return texts


def test_texts_of_a_panel_do_not_lie_on_each_other(figures):
    for name in ("trade_off", "class_similarity", "uniformity", "differences"):
        drawn = as_matplotlib(figures[name])
        renderer = drawn.canvas.get_renderer()
        hidden = tick_texts(drawn, outside=True)
        boxes = [
            (text.get_text(), text.get_window_extent(renderer))
            for text in shown_texts(drawn)
            if text.get_text() not in hidden
        ]
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert wide < 3 or high < 3, f"{name}: {one!r} lies on {other!r}"


def test_no_title_stands_in_a_picture_and_each_format_knows_it(figures):
    figure = figures["spectrum"]
    (files,) = render([figure], ("png", "svg", "pdf", PAGE))
    about = Image.open(io.BytesIO(files["png"])).text
    assert about == {"Title": figure.title, "Description": figure.caption}
    svg = files["svg"].decode()
    assert f"<title>{figure.title}</title>" in svg
    assert not re.search(rf"<text[^>]*>{re.escape(figure.title)}", svg)
    assert b"/Title" in files["pdf"]
    assert b"/Subject" in files["pdf"]
    assert as_matplotlib(figure).get_suptitle() == ""
    assert Image.open(io.BytesIO(files["png"])).info["dpi"][0] == pytest.approx(300, abs=1)


def test_every_figure_says_what_it_shows_and_marks_know_their_checkpoint(figures, few):
    names = {f"tau-{tau}" for tau in ("0.07", "0.1", "0.2", "0.3", "0.5", "1.0")}
    columns = {"compare_matrix", "metric_correlation", "class_accuracy"}  # by their ticks, or none
    together = {"along_the_run", "against_temperature"}  # a line joins all of them
    for name, figure in figures.items():
        if name == "projection":
            continue
        assert figure.finding.endswith("."), name
        assert "nan" not in figure.finding, name
        known = {panel.source for panel in figure.panels} | {
            source
            for panel in figure.panels
            for mark in panel.marks
            for source in (getattr(mark, "source", ""), *getattr(mark, "sources", ()))
        }
        if name not in together | columns:
            assert len(known & names) >= 5, name


def test_pictures_show_few_panels_and_the_page_all(figures):
    figure = figures["hubness"]
    assert len(figure.panels) == 6
    assert len(_panels(figure)) == 4
    shown = {panel.source for panel in _panels(figure)}
    assert {"tau-0.07", "tau-1.0"} <= shown, "the ends"
    assert "Pictures show 4 of 6" in figure.caption
    assert interactive(figure)["meta"]["panels"] == 6
    for name, one in figures.items():
        assert len(_panels(one)) <= 8, name


def test_panels_that_show_the_same_have_the_same_scales(figures):
    for name in ("hubness", "similarity_histogram", "thresholds", "loss_gradient", "loss_by_batch"):
        assert figures[name].share_y, name
        drawn = as_matplotlib(figures[name])
        ranges = {axes.get_ylim() for axes in drawn.axes if axes.axison and axes.has_data()}
        assert len(ranges) == 1, name
    cells = [mark for panel in figures["class_similarity"].panels for mark in panel.marks]
    assert len({(mark.low, mark.high) for mark in cells}) == 1
    assert all(mark.low == -mark.high for mark in cells)


def test_a_picture_shows_one_level_and_the_page_starts_there(figures):
    figure = figures["penalty_curve"]
    (panel,) = figure.panels
    lines = [mark for mark in panel.marks if isinstance(mark, Line) and mark.level is not None]
    assert {line.level for line in lines} == {0.1, 0.5}
    (pictured,) = _panels(figure)
    assert {m.level for m in pictured.marks if isinstance(m, Line)} <= {figure.level, None}
    meta = interactive(figure)["meta"]
    assert (meta["level"], meta["levels"]) == (0.5, [0.1, 0.5])


def test_no_line_of_zeros_runs_beside_a_histogram(figures):
    for panel in figures["similarity_histogram"].panels:
        for mark in panel.marks:
            if isinstance(mark, Steps):
                assert len(mark.edges) == len(mark.heights) + 1
                assert mark.heights[0] > 0 < mark.heights[-1]


def test_names_of_the_plane_are_never_hidden(figures):
    points = [m for m in figures["trade_off"].panels[0].marks if isinstance(m, Points) and m.names]
    assert {name for mark in points for name in mark.names} >= {"tau-0.07", "tau-0.1", "tau-1.0"}
    assert all(side for mark in points for side in mark.sides)


@pytest.mark.parametrize("n_classes", [12, 30, 100])
def test_a_heat_map_of_any_number_of_classes(n_classes):
    random = np.random.default_rng(1)
    labels = np.arange(4 * n_classes) % n_classes
    rows = random.standard_normal((n_classes, 16))[labels] + random.standard_normal(
        (len(labels), 16)
    )
    report = cla.analyze(rows, labels=labels, metrics="quality", source="x")
    (figure,) = [f for f in draw(report.document) if f.name == "class_similarity"]
    (panel,) = figure.panels
    (cells,) = panel.marks
    assert isinstance(cells, Cells)
    assert len(cells.values) == n_classes
    assert bool(cells.texts) == (n_classes <= 12)
    assert len(panel.x.ticks) == (n_classes if n_classes <= 40 else 2)
    as_matplotlib(figure)


def test_ticks_are_the_same_in_pictures_and_on_the_page():
    line = Line([0.0, 1.0], [0.8, 0.85], "", "#000000")
    share = Panel([line], Axis("x"), Axis("y", limits=(0.8, 0.9), is_share=True))
    figure = Figure("f", "t", "c", [share])
    drawn = as_matplotlib(figure)
    texts = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
    assert {"80%", "90%"} <= set(texts)
    assert "82.5%" not in texts or "85%" in texts
    assert interactive(figure)["layout"]["yaxis"]["tickformat"] == "~%"


def test_of_very_many_checkpoints_the_legend_has_some():
    def line(i):
        return Line([0.0, 1.0], [0.0, float(i)], f"step-{i}", "#000000", source=f"step-{i}")

    panel = Panel([line(i) for i in range(20)], Axis("x"), Axis("y"))
    (legend,) = as_matplotlib(Figure("f", "t", "c", [panel])).legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == 6
    assert {"step-0", "step-19", "15 between"} <= set(texts)


# ---- colours


def test_distances_are_those_of_the_papers_table():
    """Sharma, Wu & Dalal (2005), pairs 1, 4 and 20."""
    one = np.array([[50, 2.6772, -79.7751], [50, -1.3802, -84.2814], [22.7233, 20.0904, -46.694]])
    other = np.array([[50, 0, -82.7485], [50, 0, -82.7485], [23.0331, 14.973, -42.5619]])
    assert distances(one, other) == pytest.approx([2.0425, 1.0, 2.0373], abs=1e-4)


def test_colours_are_seen_on_white():
    palettes = (colours.HUES, colours.CLASS_HUES, colours.OTHER_HUES, colours.ORDERED)
    for palette in (*palettes, colours.ordered(20), [colours.GREY]):
        assert contrast_with_white(palette).min() >= 3.0


@pytest.mark.parametrize("deuteranope", [False, True])
def test_colours_are_told_apart(deuteranope):
    """CIEDE2000 of 2 is just seen; 10 is seen at a glance."""
    assert apart(colours.HUES, deuteranope=deuteranope) >= 20
    assert apart(colours.CLASS_HUES, deuteranope=deuteranope) >= 15
    assert apart(colours.OTHER_HUES, deuteranope=deuteranope) >= 10
    assert apart(colours.OTHER_HUES, colours.ordered(20), deuteranope=deuteranope) >= 10
    assert apart(colours.ordered(8), deuteranope=deuteranope) >= 8


def test_the_ordered_scale_becomes_lighter_from_end_to_end():
    for n in (2, 5, 8, 20):
        lightness = lab(linear(colours.ordered(n)))[:, 0]
        assert (np.diff(lightness) > 0).all()


def test_classes_of_one_hue_have_different_symbols():
    from cl_analyze.figures.projection import _MOST_COLOURS, look_of_class

    looks = {look_of_class(i) for i in range(_MOST_COLOURS)}
    assert len(looks) == _MOST_COLOURS
