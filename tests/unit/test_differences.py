"""Differences of two checkpoints: adjusted over the table, and free of the noise of votes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cl_analyze.metrics.differences import Difference, adjusted, record_difference
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
