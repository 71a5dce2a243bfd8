"""Runner of `cl-analyze inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cl_analyze.cli.terminal import width_of_output, write_lines, write_text
from cl_analyze.data.inspection import inspect_file
from cl_analyze.errors import DataError
from cl_analyze.lines import separated
from cl_analyze.options import Request
from cl_analyze.options.declaration import options_of
from cl_analyze.results.tables import to_json


def run_inspection(command: str, parameters: Mapping[str, Any]) -> None:
    """Inspect files and print their contents and problems.

    Args:
        command: name of the command.
        parameters: the command's parameters by name.

    Raises:
        ConfigError: the number of label files is neither 1 nor the number of files.
        DataError: a file is not fit for analysis.
    """
    files, labels = parameters["embeddings"], options_of(Request)["labels"]
    label_files = labels.kind.for_each(labels.flag, parameters["labels"], len(files), "FILE")
    inspections = [
        inspect_file(file, label_file, parameters["unlabelled"])
        for file, label_file in zip(files, label_files, strict=True)
    ]
    if parameters["as_json"]:
        write_text(to_json({"files": [inspection.to_dict() for inspection in inspections]}))
    else:
        width = width_of_output()
        write_lines(separated(inspection.lines(width) for inspection in inspections))
    if any(inspection.problems for inspection in inspections):
        names = ", ".join(inspection.name for inspection in inspections if inspection.problems)
        raise DataError(f"{names}: not fit for analysis; see the problems above")
