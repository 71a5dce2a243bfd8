"""LiDAR against loops, closed forms and deletions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.analysis.run import families, run_analysis
from cl_analyze.metrics.quality.jackknife import jackknife_groups
from cl_analyze.options import MetricOptions, Request
from tests.reference import naive_quality as naive

RUN = cla.RunOptions(precision="float64", threads=1)


def measured(rows, labels=None, pairs=None, run=RUN, **options):
    asked = MetricOptions(only=("lidar",), **options)
    request = Request(rows, labels=labels, pairs=pairs)
    return run_analysis([request], families(("quality",)), asked, run, "report").records


def by_class(rows, labels):
    return [rows[labels == name] for name in np.unique(labels)]


def test_golden_value():
    i = np.arange(6.0)
    u = np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i]
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = u + 0.3 * np.c_[np.sin(i), np.cos(i), np.sin(2 * i), np.cos(2 * i)]
    found = measured(u, pairs=v).find("lidar", "views")
    assert found.value == pytest.approx(2.570919623918, abs=1e-11)


@pytest.mark.parametrize("n_views", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(30, 5), (7, 12), (3, 4), (2, 6)])
def test_views_against_loops(random, n, d, n_views):
    stack = random.standard_normal((n, 1, d)) + 0.4 * random.standard_normal((n, n_views, d))
    found = measured(stack).find("lidar", "views")
    assert found.value == pytest.approx(naive.lidar(list(stack)), rel=1e-8)
    assert found.n == n


def test_classes_of_unequal_size_against_loops(random):
    labels = random.choice(5, 80, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    labels[0] = 7  # alone in its class: no spread, and a mean like the others'
    rows = random.standard_normal((80, 6)) + 2 * np.eye(8, 6)[labels]
    expected = naive.lidar(by_class(rows, labels))
    assert measured(rows, labels).find("lidar", "classes").value == pytest.approx(
        expected, rel=1e-9
    )
    texts = labels.astype(str).astype("<U2")
    texts[40:50] = ""
    known = texts != ""
    found = measured(rows, texts).find("lidar", "classes")
    assert found.value == pytest.approx(naive.lidar(by_class(rows[known], labels[known])), rel=1e-9)
    assert found.n == 70


def test_a_class_of_two_rows_each_is_an_item_with_two_views(random):
    rows = random.standard_normal((20, 6))
    other = rows + 0.3 * random.standard_normal(rows.shape)
    of_views = measured(rows, pairs=other).find("lidar", "views").value
    labels = np.tile(np.arange(20), 2)
    of_classes = measured(np.vstack([rows, other]), labels).find("lidar", "classes").value
    assert of_classes == pytest.approx(of_views, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(5, 5), (5, 12), (9, 9)])
def test_items_that_are_well_apart_fill_n_less_1_directions(random, n, d):
    """Items at right angles: a simplex about their centre, of n - 1 equal eigenvalues."""
    items = np.eye(n, d)[:, None] + 1e-9 * random.standard_normal((n, 3, d))
    assert measured(items).find("lidar", "views").value == pytest.approx(n - 1, rel=1e-5)
    labels = np.repeat(np.arange(n), 4)
    rows = np.eye(n, d)[labels]
    assert measured(rows, labels).find("lidar", "classes").value == pytest.approx(n - 1, rel=1e-5)


def test_directions_of_nothing_but_spread_within_items_do_not_count(random):
    """Two directions tell items apart; the others hold much more variance, the same in each."""
    n = 3000
    telling = 3.0 * random.standard_normal((n, 1, 2)) * np.ones((n, 2, 1))
    noise = random.standard_normal((n, 2, 6))
    stack = np.concatenate([telling + 0.01 * random.standard_normal((n, 2, 2)), noise], axis=2)
    found = measured(stack).find("lidar", "views")
    assert found.value == pytest.approx(2.0, abs=0.25)
    rank = cla.quality(stack[:, 0], ks=[1]).find("effective_rank", "normalised_centred").value
    assert rank > 6


def test_items_that_do_not_differ(random):
    row = random.standard_normal(5)
    stack = np.tile(row, (8, 2, 1))
    reason = "the means of the items do not differ by more than rounding"
    assert measured(stack).find("lidar", "views").reason == reason
    labels = np.arange(8) % 2
    assert measured(stack[:, 0], labels).find("lidar", "classes").reason == reason
    rows = random.standard_normal((8, 5))
    assert measured(rows, np.zeros(8)).find("lidar").reason == "needs two classes"
    assert measured(rows, np.arange(8)).find("lidar").reason == "no class has two members"


def test_too_many_dimensions_are_refused_not_tried(monkeypatch, random):
    monkeypatch.setattr("cl_analyze.metrics.quality.lidar.WIDEST", 4)
    stack = random.standard_normal((8, 2, 5))
    found = measured(stack, labels=np.arange(8) % 2)
    for definition in ("views", "classes"):
        assert found.find("lidar", definition).reason == "needs at most 4 dimensions"


def test_errors_are_the_delete_a_group_jackknife(random):
    n = 60
    labels = random.choice(3, n, p=[0.5, 0.3, 0.2])
    stack = random.standard_normal((n, 1, 4)) + 0.3 * random.standard_normal((n, 2, 4))
    stack += 2 * np.eye(3, 4)[labels][:, None]
    found = measured(stack[:, 0], labels, stack[:, 1], seed=5)
    groups = jackknife_groups(n, None, 5)
    for definition, of in (
        ("views", lambda keep: naive.lidar(list(stack[keep]))),
        ("classes", lambda keep: naive.lidar(by_class(stack[keep, 0], labels[keep]))),
    ):
        less = [of(groups != group) for group in range(20)]
        expected = math.sqrt(19 / 20 * sum((v - np.mean(less)) ** 2 for v in less))
        assert found.find("lidar", definition).std_error == pytest.approx(expected, rel=1e-7)


def test_wide_rows_have_a_value_without_an_error(monkeypatch, random):
    stack = random.standard_normal((12, 2, 9))
    whole = measured(stack, labels=np.arange(12) % 3)
    monkeypatch.setattr("cl_analyze.metrics.quality.lidar.WIDEST_WITH_ERRORS", 8)
    wide = measured(stack, labels=np.arange(12) % 3)
    for definition in ("views", "classes"):
        a, b = whole.find("lidar", definition), wide.find("lidar", definition)
        assert b.value == pytest.approx(a.value, rel=1e-10)
        assert a.std_error is not None
        assert b.std_error is None


def test_blocks_and_threads_change_nothing(monkeypatch, random):
    labels = np.arange(150) % 4
    stack = random.standard_normal((150, 2, 6)) + np.eye(4, 6)[labels][:, None]
    one = measured(stack, labels)
    monkeypatch.setattr("cl_analyze.metrics.quality.lidar._step", lambda width: 11)
    other = measured(stack, labels, run=cla.RunOptions(precision="float64", threads=3, block=9))
    for definition in ("views", "classes"):
        a, b = one.find("lidar", definition), other.find("lidar", definition)
        assert b.value == pytest.approx(a.value, rel=1e-11)
        assert b.std_error == pytest.approx(a.std_error, rel=1e-7)
