"""`cl-analyze inspect`."""

from __future__ import annotations

from cl_analyze.cli import options


def inspect(
    files: options.Files,
    labels: options.LabelFiles = None,
    as_json: options.AsJson = False,
    unlabelled: options.Unlabelled = None,
) -> None:
    """What is in a file, and what is wrong with it.

    Every array with its shape and dtype; for embeddings norms, invalid rows, duplicates and labels;
    problems with their fix. A file with problems is exit code 2.

    Example: cl-analyze inspect emb.npz
    """
    from cl_analyze.cli.terminal import write_lines, write_text
    from cl_analyze.data.inspection import inspect_file
    from cl_analyze.errors import ConfigError, DataError
    from cl_analyze.tables import to_json

    if labels and len(labels) not in (1, len(files)):
        raise ConfigError(
            f"--labels is given {len(labels)} times for {len(files)} FILE: give one for all, or "
            "one for each"
        )
    found = [
        inspect_file(
            file, None if not labels else labels[0] if len(labels) == 1 else labels[i], unlabelled
        )
        for i, file in enumerate(files)
    ]
    if as_json:
        write_text(to_json({"files": [one.to_dict() for one in found]}))
    else:
        blocks = (one.lines() for one in found)
        write_lines(line for i, block in enumerate(blocks) for line in [*[""] * (i > 0), *block])
    if any(one.problems for one in found):
        names = ", ".join(one.name for one in found if one.problems)
        raise DataError(f"{names}: not fit for analysis; see the problems above")
