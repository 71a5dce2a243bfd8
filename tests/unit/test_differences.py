"""Differences of two checkpoints: adjusted over the table, and free of the noise of votes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.metrics.differences import Difference, adjusted, identity, record_difference
from cl_analyze.report.html import render_html
from cl_analyze.report.text import document_lines
from cl_analyze.results.stats import PairedDifference, merged_copies
from cl_analyze.results.tables import Record


def record(value, pseudo=None, noise=None, error=0.1):
    return Record(
        "z.npy", "knn_accuracy", None, {"k": 10}, value, error, "accuracy", 400, 8,
        pseudo_values=pseudo, pseudo_noise=noise,
    )  # fmt: skip


def test_p_values_are_adjusted_over_the_whole_table():
    found = [
        Difference(record(1.0), record(0.5), PairedDifference(0.5, 0.1, 0.3, 0.7, p, True))
        for p in (0.01, 0.04, None, 0.03)
    ]
    assert [each.p_holm for each in adjusted(found)] == pytest.approx([0.03, 0.06, None, 0.06])


def test_headline_numbers_are_adjusted_over_the_checkpoints_alone():
    """Two numbers of two checkpoints, of which one is a headline: a family of its two p-values."""
    found = [
        Difference(replace(record(1.0), params={"k": k}), record(0.5), change)
        for k, p in ((10, 0.01), (20, 0.02), (10, 0.04), (20, None))
        for change in [PairedDifference(0.5, 0.1, 0.3, 0.7, p, True)]
    ]
    both = adjusted(found, [identity(found[0].one)])
    assert [each.p_headline for each in both] == [0.02, None, 0.04, None]
    assert [each.p_holm for each in both] == pytest.approx([0.03, 0.04, 0.04, None])
    alone = adjusted([found[0], found[2]], [identity(found[0].one)])
    assert [each.p_headline for each in alone] == [0.02, 0.04]


def test_a_mark_does_not_depend_on_which_numbers_were_asked_for():
    """p_headline, terminal and page of a comparison of all numbers and of two."""
    random = np.random.default_rng(8)
    labels = np.arange(150) % 3
    rows = np.eye(3, 6)[labels] + 0.8 * random.standard_normal((150, 6))
    files = {
        f"run-{i}": rows + noise * random.standard_normal(rows.shape)
        for i, noise in enumerate((0.0, 0.1, 0.3))
    }
    found = []
    for metrics in (("uniformity", "tolerance", "penalty", "quality"), ("uniformity", "tolerance")):
        document = cla.compare(files, labels=labels, metrics=metrics).document
        found.append(
            {
                (row["source_a"], row["metric"], row["definition"]): row["p_headline"]
                for row in document.rows("compare")
                if row["metric"] in ("uniformity", "tolerance") and row["p_headline"] is not None
            }
        )
        n_tested = sum(row["p"] is not None for row in document.rows("compare"))
        assert f"{n_tested} differences were tested" in " ".join(
            line.text for line in document_lines(document)
        )
        assert f"{n_tested:,} differences were tested" in render_html(document, [])
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_noise_of_two_copies_is_no_part_of_a_paired_error():
    """Copies of pseudo-values with noise of their own, three times as large as what they tell."""
    random = np.random.default_rng(3)
    n, errors, plain, widths = 400, [], [], []
    for _ in range(60):
        truth, shared = random.normal(size=n), random.normal(size=n)
        sides = []
        for own in (shared + truth, shared):
            pseudo, noise = merged_copies([own + 3.0 * random.normal(size=n) for _ in range(2)])
            sides.append(record(float(own.mean()), pseudo, noise))
        order = random.permutation(n)
        back = np.argsort(order)
        other = record(sides[1].value, sides[1].pseudo_values[order], sides[1].pseudo_noise[order])
        found = record_difference(sides[0], other, back)
        assert found.paired
        errors.append(found.std_error**2)
        widths.append((found.high - found.low) / (2 * found.std_error))
        bare = record(other.value, other.pseudo_values)
        plain.append(record_difference(sides[0], bare, back).std_error ** 2)
    expected = 1.0 / math.sqrt(n)
    assert math.sqrt(np.median(errors)) == pytest.approx(expected, rel=0.4)
    assert math.sqrt(np.median(plain)) > 1.5 * expected, "the noise of one side alone shows"
    assert np.median(widths) > 2.0, "such a variance has fewer degrees of freedom than rows"
