"""Figures show the numbers of the tables, with any number of classes and checkpoints."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.figures import catalogue
from cl_analyze.figures.classes import best_first, short_classes
from cl_analyze.figures.description import Points
from cl_analyze.figures.matplotlib_renderer import as_matplotlib, render
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.report.html import render_html
from cl_analyze.report.row_lists import row_lists
from cl_analyze.results.stats import share_interval


def embeddings(n, n_classes, noise, seed, names=None):
    """Two views of rows around the means of their classes."""
    random = np.random.default_rng(seed)
    codes = np.arange(n) % n_classes
    rows = random.standard_normal((n_classes, 8))[codes] + noise * random.standard_normal((n, 8))
    views = rows[:, None] + 0.3 * random.standard_normal((n, 2, 8))
    return views, codes if names is None else np.array(names)[codes]


def reported(tmp_path_factory, n_sources, n, n_classes, metrics="all", names=None, **options):
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = []
    for i in range(n_sources):
        views, labels = embeddings(n, n_classes, 0.8 + 0.4 * i, i, names)
        paths.append(folder / f"tau-{0.1 * (i + 1):.1f}.npz")
        arrays = {"view1": views[:, 0], "view2": views[:, 1], "labels": labels}
        np.savez(paths[-1], embeddings=views[:, 0], **arrays)
    return cla.analyze(list(map(str, paths)), metrics=metrics, **options)


_METRICS = ["uniformity", "tolerance", "similarity", "penalty", "quality"]


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Five checkpoints, four classes."""
    return reported(tmp_path_factory, 5, 80, 4, taus=[0.1, 0.5], metrics=_METRICS).document


@pytest.fixture(scope="module")
def of_many_classes(tmp_path_factory):
    names = [f"class of a very long name, which no axis has room for, {i}" for i in range(45)]
    return reported(tmp_path_factory, 2, 225, 45, ["quality", "tolerance"], names).document


@pytest.fixture(scope="module")
def unlabelled():
    views, _ = embeddings(60, 3, 1.0, 1)
    return cla.analyze(views, metrics="all", taus=[0.1, 0.5]).document


def drawn(document, name):
    figure = catalogue.FIGURES[name](document)
    assert figure is not None
    assert figure.caption
    assert figure.finding.endswith(".")
    (files,) = render([figure], ["png"])
    assert files["png"].startswith(b"\x89PNG")
    return figure


OF_CLASSES = ("confusion", "class_accuracy", "confused_pairs")


@pytest.mark.parametrize("name", OF_CLASSES)
def test_without_labels_there_is_no_figure_of_classes(unlabelled, name):
    assert catalogue.FIGURES[name](unlabelled) is None


def test_a_confusion_matrix_has_the_shares_of_the_table(several):
    figure = drawn(several, "confusion")
    names = short_names(several)
    assert [panel.source for panel in figure.panels] == [names[s] for s in best_first(several)]
    assert figure.choice == "checkpoint"
    for source, panel in zip(best_first(several), figure.panels, strict=True):
        (cells,) = panel.marks
        rows = several.rows("confusion", source=source, classifier="probe_normalised")
        expected = {(row["class"], row["predicted"]): row["share"] for row in rows}
        order = [text for _, text in panel.y.ticks]
        assert order == [text for _, text in panel.x.ticks]
        for a, values in zip(order, cells.values, strict=True):
            assert sum(values) == pytest.approx(100.0)
            for b, value in zip(order, values, strict=True):
                assert value == pytest.approx(100.0 * expected.get((a, b), 0.0))
        for values, texts in zip(cells.values, cells.texts, strict=True):
            assert [float(text or 0) for text in texts] == pytest.approx(values, abs=0.5)


def test_the_first_confusion_matrix_is_that_of_the_best_checkpoint(several):
    best = max(several.records("probe_accuracy", "normalised"), key=lambda record: record.value)
    assert best_first(several)[0] == best.source
    assert sorted(best_first(several)) == sorted(natural_order(several))
    text = f"{short_names(several)[best.source]}: {100 * best.value:.1f}% of the rows are right"
    assert catalogue.FIGURES["confusion"](several).finding.startswith(text)


def test_a_picture_shows_the_first_of_the_panels_that_a_page_lets_one_choose(several):
    figure = catalogue.FIGURES["confusion"](several)
    assert [panel.is_minor for panel in figure.panels] == [False, *[True] * 4]
    canvas = as_matplotlib(figure)
    titles = [axes.get_title(loc="left") for axes in canvas.axes]
    assert [title for title in titles if title] == [figure.panels[0].title]


def test_of_many_classes_the_worst_are_shown(of_many_classes):
    figure = drawn(of_many_classes, "confusion")
    (cells,) = figure.panels[0].marks
    assert (len(cells.values), {len(row) for row in cells.values}) == (20, {21})
    assert figure.panels[0].x.ticks[-1][1] == "others"
    assert "Of 45 classes the 20 that are recognised worst" in figure.caption
    for row in cells.values:
        assert sum(row) == pytest.approx(100.0)
        assert row[-1] > -1e-9
    assert not cells.texts
    texts = [text for _, text in figure.panels[0].y.ticks]
    assert len(set(texts)) == 20
    assert max(map(len, texts)) <= 16
    rows = of_many_classes.rows("quality_by_class")
    accuracies = {}
    for row in rows:
        accuracies.setdefault(row["class"], []).append(row["probe_accuracy"])
    order = sorted(accuracies, key=lambda name: (np.mean(accuracies[name]), name))
    by_class = drawn(of_many_classes, "class_accuracy")
    assert [text[-3:] for _, text in by_class.panels[0].y.ticks] == [n[-3:] for n in order[:20]]
    assert "The 20 worst of 45 classes." in by_class.caption


def test_numbers_of_classes_are_those_of_the_tables(several):
    figure = drawn(several, "class_accuracy")
    assert figure.choice == "number"
    names = short_names(several)
    columns = (
        ("quality_by_class", "probe_accuracy", 100.0),
        ("tolerance_by_class", "tolerance", 1.0),
    )
    for panel, (table, column, factor) in zip(figure.panels, columns, strict=True):
        (cells,) = panel.marks
        own = {names[s]: s for s in several.sources}
        for (_, name), values in zip(panel.y.ticks, cells.values, strict=True):
            for (_, source), value in zip(panel.x.ticks, values, strict=True):
                (row,) = several.rows(table, source=own[source], **{"class": name})
                assert value == pytest.approx(factor * row[column])
    means = [sum(row) for row in figure.panels[0].marks[0].values]
    assert means == sorted(means)


def test_few_checkpoints_have_intervals_for_their_classes(of_many_classes):
    figure = drawn(of_many_classes, "class_accuracy")
    source = natural_order(of_many_classes)[0]
    points = figure.panels[0].marks[0]
    assert points.source == short_names(of_many_classes)[source]
    for x, (below, above), name in zip(points.x, points.x_error, points.names, strict=True):
        (row,) = of_many_classes.rows("quality_by_class", source=source, **{"class": name})
        low, high = share_interval(row["probe_accuracy"], row["probe_rows"])
        assert x == pytest.approx(100.0 * row["probe_accuracy"])
        assert (x - below, x + above) == pytest.approx((100.0 * low, 100.0 * high))


def test_the_pairs_that_are_confused_most(several):
    figure = drawn(several, "confused_pairs")
    (panel,) = figure.panels
    assert len(panel.marks) == 5
    assert len(panel.y.ticks) == 6  # of four classes
    for source, points in zip(natural_order(several), panel.marks, strict=True):
        rows = several.rows("confusion", source=source, classifier="probe_normalised")
        for x, name in zip(points.x, points.names, strict=True):
            pair = name.split(" and ")
            own = [row for row in rows if row["class"] in pair]
            wrong = sum(
                row["rows"]
                for row in own
                if row["predicted"] in pair and row["predicted"] != row["class"]
            )
            assert x == pytest.approx(100.0 * wrong / sum(row["rows"] for row in own))
    means = np.mean([points.x for points in panel.marks], axis=0)
    assert means.tolist() == sorted(means, reverse=True)


def test_short_names_of_classes_never_coincide():
    names = ["shirt", "a class of many words, first", "a class of words, first"]
    texts = short_classes([*names, "shirt"], 12)
    assert len(set(texts.values())) == 3
    assert texts["shirt"] == "shirt"


def test_alignment_and_uniformity_are_those_of_the_records(several):
    figure = drawn(several, "alignment_uniformity")
    (panel,) = figure.panels
    points = [mark for mark in panel.marks if isinstance(mark, Points) and mark.x_error]
    alignments = {r.source: r for r in several.records("alignment", power=2.0)}
    uniformities = {r.source: r for r in several.records("uniformity", "u_stat")}
    order = natural_order(several)
    assert [x for mark in points for x in mark.x] == [uniformities[s].value for s in order]
    assert [y for mark in points for y in mark.y] == [alignments[s].value for s in order]
    assert [error for mark in points for error in mark.y_error] == pytest.approx(
        [1.959964 * alignments[source].std_error for source in order]
    )
    (law,) = {r.value for r in several.records("uniformity_of_uniform_law", t=2.0)}
    assert panel.marks[0].x == law
    assert panel.y.limits[0] == 0.0
    best = min(order, key=lambda source: alignments[source].value)
    assert figure.finding.startswith(short_names(several)[best])


def test_recall_by_k_has_both_directions_and_chance(several):
    figure = drawn(several, "recall_curve")
    (panel,) = figure.panels
    lines = {(line.source, line.style): line for line in panel.marks}
    names = short_names(several)
    for source in several.sources:
        for direction, style in (("forward", "solid"), ("backward", "dashed")):
            records = several.records("recall_at_k", source=source, direction=direction)
            records = [record for record in records if record.value is not None]
            assert len(records) == 3  # there are no 200 rows
            line = lines[names[source], style]
            assert dict(zip(line.x, line.y, strict=True)) == {
                float(record.params["k"]): record.value for record in records
            }
            if style == "solid":
                for record, low, high in zip(records, line.low, line.high, strict=True):
                    reach = 1.959964 * record.std_error
                    ends = record.interval or (record.value - reach, record.value + reach)
                    assert (low, high) == pytest.approx(ends)
    chance = lines["", "dotted"]
    assert chance.y == [min(k / 80, 1.0) for k in chance.x]
    assert panel.x.scale == "log"


def test_the_reliability_of_the_probe_is_that_of_the_table(several):
    figure = drawn(several, "reliability")
    assert figure.choice == "checkpoint"
    names = short_names(several)
    for source, panel in zip(best_first(several), figure.panels, strict=True):
        rows = several.rows("probe_calibration", source=source, definition="normalised")
        steps, _, line, points = panel.marks
        expected = {row["bin_left"]: row["rows"] / 80 for row in rows}
        assert sum(steps.heights) == pytest.approx(1.0)
        for left, share in zip(steps.edges[:-1], steps.heights, strict=True):
            assert share == pytest.approx(
                next((v for k, v in expected.items() if math.isclose(k, left, abs_tol=1e-9)), 0.0)
            )
        assert line.x == points.x == [row["mean_confidence"] for row in rows if row["rows"] >= 0.8]
        assert points.y == [row["accuracy"] for row in rows if row["rows"] >= 0.8]
        record = several.record("probe_calibration_error", "normalised", source)
        assert panel.title == f"{names[source]}, ECE {record.value:.3f}"


def test_the_entropy_of_the_penalty_by_temperature(several):
    figure = drawn(several, "penalty_entropy")
    (panel,) = figure.panels
    names = short_names(several)
    lines = {mark.source: mark for mark in panel.marks if getattr(mark, "source", "")}
    for source in several.sources:
        records = several.records("penalty_entropy", source=source)
        line = lines[names[source]]
        assert (line.x, line.y) == ([0.1, 0.5], [record.value for record in records])
    ceiling = panel.marks[-1]
    assert ceiling.y == pytest.approx(math.log(79))
    reference = next(mark for mark in panel.marks if mark.label == "uniform sphere")
    rows = several.rows("penalty_reference", source=several.sources[0], quantity="penalty_entropy")
    assert reference.y == [row["value"] for row in rows]
    assert all(max(line.y) < ceiling.y for line in lines.values())


def test_one_temperature_or_one_checkpoint_has_no_line_to_draw(unlabelled):
    assert catalogue.FIGURES["alignment_uniformity"](unlabelled) is None
    assert catalogue.FIGURES["reliability"](unlabelled) is None
    one_tau = dataclasses.replace(
        unlabelled,
        results=type(unlabelled.results)(
            r for r in unlabelled.results if r.params.get("tau") != 0.5
        ),
    )
    assert catalogue.FIGURES["penalty_entropy"](one_tau) is None
    assert catalogue.FIGURES["penalty_entropy"](unlabelled) is not None


def test_similarities_by_class_are_those_of_the_table(several, unlabelled):
    figure = drawn(several, "class_histogram")
    names = short_names(several)
    assert len({panel.y.limits for panel in figure.panels}) == 1
    for source, panel in zip(best_first(several), figure.panels, strict=True):
        assert panel.source == names[source]
        for group, steps in zip(("other_class", "same_class"), panel.marks, strict=False):
            rows = several.rows("similarity_histogram", source=source, group=group)
            assert len(steps.heights) == 50
            widths = np.diff(steps.edges)
            assert widths @ steps.heights == pytest.approx(1.0)
            assert steps.heights[20] == pytest.approx(np.mean([r["density"] for r in rows[80:84]]))
            assert steps.edges[20] == rows[80]["bin_left"]
        same, other = panel.marks[2:]
        assert same.x == several.record("tolerance", "micro_excl", source).value
        assert other.x == several.record("between_class_similarity", source=source).value
    assert catalogue.FIGURES["class_histogram"](unlabelled) is None


def test_correlations_with_accuracy_are_those_of_the_table(several, unlabelled, of_many_classes):
    figure = drawn(several, "metric_correlation")
    rows = [
        row
        for row in several.rows("metric_correlation")
        if row["metric_a"] != "uniformity_gap" and row["spearman"] is not None
    ]
    accuracies = list(dict.fromkeys(row["metric_b"] for row in rows))
    assert len(figure.panels) == len(accuracies) > 1
    for metric, panel in zip(accuracies, figure.panels, strict=True):
        own = [row for row in rows if row["metric_b"] == metric]
        points = [mark for mark in panel.marks if isinstance(mark, Points)]
        drawn_ends = sorted(
            (x, x - below, x + above)
            for mark in points
            for x, (below, above) in zip(mark.x, mark.x_error, strict=True)
        )
        ends = sorted((row["spearman"], row["low"], row["high"]) for row in own)
        assert np.allclose(drawn_ends, ends)
        for mark in points:
            for x, (below, above) in zip(mark.x, mark.x_error, strict=True):
                assert mark.hollow == (x - below <= 0.0 <= x + above)
    assert "over 5 checkpoints" in figure.caption
    assert figure.finding.startswith("Over 5 checkpoints")
    for too_few in (unlabelled, of_many_classes):
        assert catalogue.FIGURES["metric_correlation"](too_few) is None


# ---- lists of rows


def test_the_page_lists_hubs_near_duplicates_and_suspects_with_their_ids():
    random = np.random.default_rng(5)
    rows = random.standard_normal((60, 24)) + 0.7
    rows[0] = rows.mean(axis=0)  # near everything
    rows[7] = rows[5]
    views = np.stack([rows, rows + 0.9 * random.standard_normal((60, 24))], axis=1)
    ids = np.array([f"<b>item {i}</b>" for i in range(60)])
    report = cla.analyze(
        views, labels=np.arange(60) % 2, ids=ids, metrics=["similarity", "quality"]
    )
    lists = {one.title: one for one in row_lists(report.document)}
    twins = lists["Near-duplicates"]
    assert [text for text, _ in twins.heads][:3] == ["row", "id", "class"]
    assert twins.rows[0][1][:2] == ("5", "<b>item 5</b>")
    assert twins.rows[0][1][3:5] == ("7", "<b>item 7</b>")
    hubs = report.document.rows("hubs", k=10)
    assert [texts[1] for _, texts in lists["Hubs"].rows] == [row["row_id"] for row in hubs]
    assert hubs[0]["row_id"] == f"<b>item {hubs[0]['row']}</b>"
    suspects = lists["Suspected false negatives"]
    assert len(suspects.rows) == min(20, suspects.n_all)
    margins = [float(texts[-2]) for _, texts in suspects.rows]
    assert margins == sorted(margins, reverse=True)
    page = render_html(report.document, [])
    assert "&lt;b&gt;item 7&lt;/b&gt;" in page
    assert "<b>item" not in page


def test_ids_that_are_the_numbers_of_rows_are_not_listed_twice(several, unlabelled):
    assert any(row_lists(several))
    for document in (several, unlabelled):
        for one in row_lists(document):
            assert "id" not in [text for text, _ in one.heads]
            assert ("checkpoint" in dict(one.heads)) == (len(document.sources) > 1)
            assert len(one.rows) <= 20
