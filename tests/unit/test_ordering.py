"""Order and short names of checkpoints and classes."""

import numpy as np
import pytest

from cl_analyze.analysis.run import run_analysis
from cl_analyze.figures import basics, projection, quality, runs, sources
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.marks import MOST_ON_PAGE, MOST_PICTURED
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.results.ordering import axis_of, cut, evenly, natural_order, shortened


def document_of(names, rows, metrics, labels=None):
    """The document of a report of several checkpoints in memory."""
    requests = [
        Request(own, labels=labels, source=name) for name, own in zip(names, rows, strict=True)
    ]
    return run_analysis(requests, metrics, MetricOptions(), RunOptions(), "report").document


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("step-1000.npy", "step-10000.npy", "step-500.npy"), (2, 0, 1)),
        (("epoch=9-step=90.ckpt", "epoch=10-step=100.ckpt", "epoch=1-step=10.ckpt"), (2, 0, 1)),
        (("hard-tau-1.0.npz", "tau-1.0.npz", "tau-0.07.npz", "tau-0.5.npz"), (2, 3, 1, 0)),
        (("a-tau-0.1-epoch-20", "a-tau-0.1-epoch-3"), (1, 0)),  # one temperature orders nothing
        (("best.npy", "ep10.npy", "ep9.npy", "last.npy"), (0, 2, 1, 3)),
        (("v10.npy", "v9.npy"), (1, 0)),
        (("simclr.npy", "moco2.npy", "byol.npy"), (0, 1, 2)),
        (("model.npy", "model.npy[dims=16]", "model.npy[dims=8]"), (0, 1, 2)),
    ],
)
def test_checkpoints_are_in_natural_order(names, order):
    assert natural_order(names, axis_of(names)) == [names[i] for i in order]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            [f"resnet-temperature-{t}-epochs-800-checkpoint" for t in ("0.07", "0.02")],
            ["temperature-0.07", "temperature-0.02"],
        ),
        (["tau-0.1", "tau-0.12"], ["tau-0.1", "tau-0.12"]),
        (["x/v1.5-final", "x/v1.6-final"], ["v1.5", "v1.6"]),
        (["run", "run-long"], ["run", "run-long"]),
        (["same", "same"], ["same", "same"]),
        (["", "a"], ["", "a"]),
    ],
)
def test_shared_words_are_cut_and_numbers_are_not(names, short):
    assert cut(names) == short


def test_short_names_differ_where_names_do():
    random = np.random.default_rng(0)
    words = ["a", "very", "long", "0.07", "name", "123456789", "-", "_", "/"]
    for _ in range(200):
        names = list({" ".join(random.choice(words, 12)) for _ in range(8)})
        texts = shortened(names, 14)
        assert len(set(texts)) == len(names)
        assert max(map(len, texts)) <= 14 + len("…… (8)")


def test_panels_are_evenly_along_a_run():
    steps = [f"step-{100 * i}.npy" for i in range(1, 61)]
    assert evenly(steps, 12)[0] == steps[0]
    assert evenly(steps, 12)[-1] == steps[-1]
    rows = np.random.default_rng(0).standard_normal((60, 20, 3))
    given = sorted(steps)  # as a shell lists them
    document = document_of(given, rows, ("similarity",))
    assert sources.natural_order(document) == steps
    figure = basics.similarity_histogram_figure(document)
    shown = [panel.title for panel in figure.panels]
    assert len(shown) == MOST_ON_PAGE
    numbers = [int(title.rpartition("-")[2]) for title in shown]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (100, 6000)
    assert "20 more checkpoints are in the tables" in figure.caption
    assert figure.choice == "checkpoint", "a page shows one of so many at a time"
    assert [not panel.is_minor for panel in figure.panels].count(True) == MOST_PICTURED


def test_steps_in_names_order_a_run():
    rows = np.random.default_rng(0).standard_normal((3, 20, 3))
    names = ["run/step-1000.npy", "run/step-20.npy", "run/step-300.npy"]
    document = document_of(names, rows, ("uniformity", "tolerance"), np.arange(20) % 2)
    figure = runs.run_figure(document)
    assert list(figure.panels[0].marks[0].x) == [20.0, 300.0, 1000.0]
    assert figure.title.endswith("against step")
    colours = sources.source_colours(document)
    assert list(colours) == [names[1], names[2], names[0]]


def test_long_classes_stay_apart_in_figures():
    classes = [f"a very long class that ends in {end}" for end in ("one", "two", "three")]
    rows = np.random.default_rng(0).standard_normal((30, 4))
    document = document_of(["a"], [rows], ("quality",), [classes[i % 3] for i in range(30)])
    figure = quality.class_similarity_figure(document)
    texts = [text for _, text in figure.panels[0].x.ticks]
    assert len(set(texts)) == 3
    assert max(map(len, texts)) <= 14
    (trace,) = interactive(figure)["data"]
    assert trace["hovertext"][0][1].count("a very long class that ends in") == 2
    labels = {mark.label for mark in projection.projection_figure(document).panels[0].marks}
    assert len(labels) == 3
