"""Write what the documentation takes from the code, or check that it is up to date.

python docs/make_reference.py            # write
python docs/make_reference.py --check    # exit 1 where a page is stale

docs/cli.md is the commands' own help.  docs/tables.md has the columns of the CSV files (see
reference_tables.py).  Tables between `<!-- metrics: NAME... -->` and `<!-- end -->` in the other
pages are the declarations of these metrics.  Blocks of README.md and the other pages that show a
command show what it prints (see console_blocks.py); tests/test_docs.py checks these.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import console_blocks
import reference_tables
from pages import pages_with

from cl_analyze.cli.commands import COMMANDS
from cl_analyze.metrics import DECLARED
from cl_analyze.metrics.metric import NEGATIVES, Metric
from cl_analyze.metrics.quality.spectrum import VERSIONS

FOLDER = Path(__file__).parent
HEAD = """# Command-line reference

<!-- Generated from the help by `python docs/make_reference.py`; do not edit. -->

Every command with all its options, as `cl-analyze COMMAND --help-all` prints them.
"""
_TABLE = re.compile(r"(<!-- metrics: ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def help_of(command: str) -> str:
    """The whole help of a command as a terminal of 80 columns shows it."""
    option = "--help-all" if command else "--help"
    result = subprocess.run(
        [sys.executable, "-m", "cl_analyze", *command.split(), option],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    return result.stdout.rstrip()


def command_reference() -> str:
    """docs/cli.md."""
    sections = [HEAD]
    for command in ("", *(each.name for each in COMMANDS)):
        title = f"cl-analyze {command}".strip()
        sections.append(f"## {title}\n\n```text\n{help_of(command)}\n```\n")
    return "\n".join(sections)


def rows(metric: Metric) -> Iterator[tuple[str, str, str, str, str, str]]:
    """A row for each definition: metric, definition, formula, unit, better side, source."""
    better = metric.better or ""
    params = ", ".join(each.name for each in metric.parameters if each is not NEGATIVES)
    name = f"`{metric.name}`" + (f"[{params}]" if params else "")
    alike = len(metric.formulas) < len(metric.definitions)
    if alike or not metric.definitions:
        names = ", ".join(f"`{definition}`" for definition in metric.definitions)
        if set(metric.definitions) == set(VERSIONS):  # the page lists them above its table
            names = f"`{metric.definitions[0]}` and 3 more"
        text = metric.formulas[0] if metric.formulas else metric.sentence
        yield name, names, text, metric.unit, better, metric.source
        return
    for at, (definition, formula) in enumerate(
        zip(metric.definitions, metric.formulas, strict=True)
    ):
        first = (name, metric.unit, better, metric.source) if at == 0 else ("", "", "", "")
        unit = metric.at(definition).unit_of_value if metric.units else first[1]
        yield first[0], f"`{definition}`", formula, unit, first[2], first[3]


def table(names: list[str]) -> str:
    """The declarations of metrics as a table, without columns that are empty."""
    lines = [row for name in names for row in rows(DECLARED[name])]
    heads = ("metric", "definition", "what it is", "unit", "better", "source")
    kept = [at for at in range(len(heads)) if any(line[at] for line in lines)]
    listed = [heads, tuple("---" for _ in heads), *lines]
    return "".join("| " + " | ".join(line[at] for at in kept) + " |\n" for line in listed)


def with_tables(text: str) -> str:
    """A page with its tables of metrics filled in."""
    return _TABLE.sub(lambda match: match[1] + table(match[2].split()) + match[3], text)


def main() -> int:
    """Write or check."""
    wanted = {
        FOLDER / "cli.md": command_reference(),
        FOLDER / "tables.md": reference_tables.table_reference(),
    }
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if _TABLE.search(text):
            wanted[page] = with_tables(text)
    is_check = "--check" in sys.argv[1:]
    for page in () if is_check else pages_with("console"):
        text = wanted.get(page) or page.read_text(encoding="utf-8")
        wanted[page] = console_blocks.with_output(text)
    stale = [
        page
        for page, text in wanted.items()
        if not page.exists() or page.read_text(encoding="utf-8") != text
    ]
    if not is_check:
        for page in stale:
            page.write_text(wanted[page], encoding="utf-8")
        return 0
    for page in stale:
        print(f"{page.name} is stale: run python docs/make_reference.py", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
