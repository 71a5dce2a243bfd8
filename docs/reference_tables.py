"""docs/tables.md: the CSV files under `tables/`, from the declarations of their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.results.columns import PARAMETERS, RECORD, Column
from cl_analyze.results.declared_comparisons import COMPARISONS
from cl_analyze.results.declared_tables import TABLES

HEAD = """# CSV tables

<!-- Generated from the declarations by `python docs/make_reference.py`; do not edit. -->

This page says what every CSV file is, and every column of it. `report` and `compare` write their
numbers as CSV files (RFC 4180, UTF-8) into the folder `tables/`. Each file holds all checkpoints,
one below the other. The same tables are in the JSON document with `--full-json`.

- An empty cell is a missing value. `true` and `false` are the two truth values.
- A number is written with all its digits.
- Text that a spreadsheet would run as a formula starts with an apostrophe.
- A similarity is the cosine of two rows; its unit is "cosine". A share is a number from 0 to 1.
"""
NUMBERS = """## Tables of numbers

{files}

These files have a row for each number: a metric in one of its definitions, with its parameters.
[Metrics](metrics.md), [Quality](quality.md) and [Comparing](compare.md) say what each metric is.
"""
OF_PARAMETERS = """Between `definition` and `value` stand the parameters of the metrics, a column
for each one that occurs in the table. A cell is empty where a metric has no such parameter.
"""


def column_table(columns: Mapping[str, Column]) -> str:
    """A Markdown table of columns."""
    lines = [("column", "what it is", "unit"), ("---", "---", "---")]
    lines += [
        (f"`{name}`", text.replace("|", "\\|"), unit) for name, (text, unit) in columns.items()
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sections(names: Iterable[str]) -> list[str]:
    """A section for each table."""
    parts = []
    for name in names:
        table = TABLES[name]
        when = f" Written only {table.when}." if table.when else ""
        parts.append(
            f"### {name}.csv\n\nA row is {table.row}.{when}\n\n{column_table(table.columns)}"
        )
    return parts


def table_reference() -> str:
    """The page."""
    listed = [f"`{name}.csv`" for name in (*METRICS, *BETWEEN)]
    parts = [
        HEAD,
        NUMBERS.format(files=", ".join(listed)),
        column_table(RECORD),
        OF_PARAMETERS,
        column_table(PARAMETERS),
        "## Tables of a checkpoint\n",
        *sections(name for name in TABLES if name not in COMPARISONS),
        "## Tables of several checkpoints\n",
        *sections(COMPARISONS),
    ]
    return "\n".join(parts)
