"""Words of messages that would mislead: narrow rows, bounds of rules, the temperature of votes."""

from __future__ import annotations

import numpy as np
import pytest

from cl_analyze.data.inspection import inspect_file
from cl_analyze.metrics.quality.collapse import verdict
from cl_analyze.results.tables import full_name


@pytest.mark.parametrize(("offset", "is_warned"), [(0.0, False), (1.0, False), (100.0, True)])
def test_rows_that_point_nearly_the_same_way_are_no_rows_without_a_problem(
    tmp_path, offset, is_warned
):
    rows = np.random.default_rng(0).standard_normal((50, 8)) + offset
    np.save(tmp_path / "rows.npy", rows)
    text = " ".join(line.text for line in inspect_file(str(tmp_path / "rows.npy")).lines())
    assert ("point nearly the same way" in text) == is_warned
    assert ("no problem found" in text) != is_warned


def test_the_temperature_of_votes_is_called_so():
    name = full_name("knn_accuracy", None, {"k": 20, "temperature": 0.07})
    assert name == "knn_accuracy k=20 vote temperature=0.07"
    assert full_name("penalty_entropy", None, {"tau": 0.07}) == "penalty_entropy tau=0.07"


@pytest.mark.parametrize(("n_empty", "words"), [(0, ""), (1, "; 1 is empty"), (7, "; 7 are empty")])
def test_the_verdict_counts_used_and_empty_dimensions(n_empty, words):
    values = np.r_[np.ones(64 - n_empty), np.zeros(n_empty)]
    text = verdict(values, 1e-9, 500, 64, 0.0, None).text
    used = verdict(values, 1e-9, 500, 64, 0.0, None).directions_for_99_percent
    start = f"No dimensional collapse: uses {used} of 64 dimensions (99% of the variance){words}"
    assert text.startswith(f"{start}; effective rank after removing the mean ")
