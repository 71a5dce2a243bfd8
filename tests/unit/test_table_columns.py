"""Every column of every table is declared, in its order, and has a text."""

from __future__ import annotations

import numpy as np

import cl_analyze as cla
from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.results.columns import PARAMETERS, RECORD
from cl_analyze.results.declared_tables import TABLES
from cl_analyze.results.tables import INTERVAL_COLUMNS, RECORD_KEYS
from tests.conftest import SAMPLES

NUMBERS = {*METRICS, *BETWEEN}


def written_tables():
    """Tables of a report and of a comparison of four checkpoints."""
    checkpoints = {}
    for tau in ("0.07", "0.1", "0.3", "1.0"):
        with np.load(SAMPLES / f"fashion-mnist-tau-{tau}.npz") as file:
            checkpoints[f"tau-{tau}"] = np.stack([file["view1"], file["view2"]], axis=1)[:120]
            labels = file["labels"][:120]
    views = checkpoints["tau-0.1"].copy()
    views[1] = views[0]  # near duplicates
    one = cla.analyze(
        views, labels, metrics="all", transform=["centre"], hard_alpha=0.1, penalty_alpha=0.2,
        batch_sizes=[16], ks=[1, 10], projection="pca",
    )  # fmt: skip
    several = cla.compare(checkpoints, labels, metrics=("uniformity", "quality"))
    return [*one.document.tables.values(), *several.document.tables.values()]


def test_written_tables_have_the_declared_columns_in_their_order():
    written = [table for table in written_tables() if table.name not in NUMBERS]
    for table in written:
        assert table.columns == tuple(TABLES[table.name].columns), table.name
    assert {table.name for table in written} == set(TABLES)


def test_tables_of_numbers_have_the_columns_of_records_and_parameters():
    expected = [key for key in RECORD_KEYS if key not in ("params", "interval")]
    assert [name for name in RECORD if name not in INTERVAL_COLUMNS] == expected
    parameters = {each.name for metric in DECLARED.values() for each in metric.parameters}
    assert parameters == set(PARAMETERS)


def test_every_column_has_a_text():
    columns = [
        ("numbers", RECORD),
        ("parameters", PARAMETERS),
        *((name, table.columns) for name, table in TABLES.items()),
    ]
    for table, listed in columns:
        for name, column in listed.items():
            assert column.text, f"{table}: {name}"
