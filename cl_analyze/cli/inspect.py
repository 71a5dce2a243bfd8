"""`cl-analyze inspect` from its parsed options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cl_analyze.cli.terminal import write_lines, write_text
from cl_analyze.data.inspection import inspect_file
from cl_analyze.errors import DataError
from cl_analyze.options import Request
from cl_analyze.options.declaration import options_of
from cl_analyze.tables import to_json


def run_inspection(command: str, given: Mapping[str, Any]) -> None:
    """Look into files and print what is in them.

    Args:
        command: its name.
        given: the command's parameters by name.

    Raises:
        ConfigError: labels are neither one file for all nor one for each.
        DataError: a file is not fit for analysis.
    """
    files, labels = given["embeddings"], options_of(Request)["labels"]
    of_each = labels.kind.for_each(labels.flag, given["labels"], len(files), "FILE")
    inspected = [
        inspect_file(file, own, given["unlabelled"])
        for file, own in zip(files, of_each, strict=True)
    ]
    if given["as_json"]:
        write_text(to_json({"files": [one.to_dict() for one in inspected]}))
    else:
        blocks = (one.lines() for one in inspected)
        write_lines(line for i, block in enumerate(blocks) for line in [*[""] * (i > 0), *block])
    if any(one.problems for one in inspected):
        names = ", ".join(one.name for one in inspected if one.problems)
        raise DataError(f"{names}: not fit for analysis; see the problems above")
