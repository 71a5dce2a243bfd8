"""What commands print, at the widths of real terminals, with and without colours.

The kept outputs are in tests/cli/snapshots.  To write them anew after a change of the output:

    UPDATE_SNAPSHOTS=1 python -m pytest -n 0 tests/cli/test_terminal.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from cl_analyze.lines import Line, n_columns
from cl_analyze.report.grid import Column, column_of, table, text_column
from cl_analyze.report.numbers import NumberText
from tests.cli.pseudo_terminal import on_terminal
from tests.conftest import keeps_numbers

SNAPSHOTS = Path(__file__).parent / "snapshots"
COMMANDS = {
    "uniformity": ("run-tau-0.1.npz",),
    "tolerance": ("run-tau-0.1.npz", "run-tau-0.5.npz"),
    "similarity": ("run-tau-0.1.npz",),
    "penalty": ("run-tau-0.1.npz", "--tau", "0.1", "0.5", "1"),
    "losses": ("run-tau-0.1.npz", "--tau", "0.1", "0.5", "1"),
    "quality": ("run-tau-0.1.npz", "--k", "1", "10"),
    "compare": ("run-tau-0.1.npz", "run-tau-0.5.npz", "--metrics", "uniformity", "tolerance"),
    "report": ("run-tau-0.1.npz", "run-tau-0.5.npz", "--tau", "0.5"),
    "check": ("run-tau-0.1.npz", "--rules", "rules.toml"),
    "inspect": ("run-tau-0.1.npz",),
}
RULES = """
[[rule]]
metric = "uniformity"
max = -0.5
[[rule]]
metric = "tolerance"
min = 0.99
severity = "warn"
"""
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
"""A code that sets colours."""


@pytest.fixture
def run(cli, random):
    """Two checkpoints of 60 rows in the folder of the command line, and rules for them."""
    labels = np.arange(60) % 3
    centres = 2.0 * np.eye(3, 8)[labels]
    for tau in (0.1, 0.5):
        rows = centres * tau + random.standard_normal((60, 8))
        views = [rows + 0.2 * random.standard_normal(rows.shape) for _ in range(2)]
        np.savez(
            cli.folder / f"run-tau-{tau}.npz",
            embeddings=rows, labels=labels, view1=views[0], view2=views[1],
        )  # fmt: skip
    (cli.folder / "rules.toml").write_text(RULES)
    return cli


def arguments_of(command):
    files = [] if command in ("check", "inspect") else ["--no-files"]
    return [command, *COMMANDS[command], *files]


def matches(name, text):
    """Compare a text with the kept one; or keep it, see above."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        "UPDATE_SNAPSHOTS=1 keeps the new output, see the head of this file"
    )


@keeps_numbers
@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("command", COMMANDS)
def test_output_at_each_width(run, command, width):
    result = run(*arguments_of(command), COLUMNS=str(width))
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    for line in result.stdout.splitlines():
        assert n_columns(line) <= width or len(line.split()) == 1, line
    matches(f"{command}-{width}.txt", result.stdout)


@keeps_numbers
@pytest.mark.parametrize("command", ["quality", "compare", "check", "inspect"])
def test_a_terminal_shows_the_same_in_colours(run, command):
    shown = on_terminal(run.folder, arguments_of(command), 80)
    assert ESCAPE.search(shown)
    matches(f"{command}-80-colours.txt", shown)
    plain = run(*arguments_of(command), COLUMNS="80").stdout
    assert ESCAPE.sub("", shown) == plain


def test_a_terminal_tells_its_width(run):
    shown = on_terminal(run.folder, arguments_of("compare"), 60)
    assert ESCAPE.sub("", shown) == run(*arguments_of("compare"), COLUMNS="60").stdout


def test_a_terminal_of_no_columns_shows_all(run):
    text = on_terminal(run.folder, arguments_of("uniformity"), 80, COLUMNS="0")
    assert "uniformity" in ESCAPE.sub("", text)


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_turned_off(run, variable):
    shown = on_terminal(run.folder, arguments_of("check"), 80, **variable)
    assert "\x1b" not in shown
    assert "pass" in shown


def test_long_has_a_line_for_each_record_with_names_of_the_code(run):
    lines = run(*arguments_of("similarity"), "--long").stdout.splitlines()
    assert sum(line.startswith("  similarity_quantile") for line in lines) == 11 * 5
    assert any(line.split()[:2] == ["suspect_share", "margin=0.95"] for line in lines)


@pytest.mark.parametrize("form", [[], ["--long"]])
def test_names_of_wide_characters_fit_and_stay_in_their_columns(run, form):
    names = ("run-n-n.npz", "run-n-東京都渋谷区の実験.npz")
    for tau, name in zip((0.1, 0.5), names, strict=True):
        (run.folder / f"run-tau-{tau}.npz").rename(run.folder / name)
    result = run("compare", *names, "--no-files", *form, COLUMNS="60")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for line in lines:
        assert n_columns(line) <= 60 or len(line.split()) == 1, line
    starts = [n_columns(line.partition("run-n-")[0]) for line in lines[1:3]]
    assert [line.split()[-1] for line in lines[1:3]] == list(names)
    assert starts[0] == starts[1]


def test_the_page_is_named_first_and_alone(run):
    result = run("report", "run-tau-0.1.npz", "--tau", 0.5, "--out", "out")
    page, counts = result.stderr.splitlines()[-2:]
    assert page == "report  out/report.html  (open it)"
    assert re.fullmatch(r"\d+ tables, \d+ figures, results.json in out", counts)


def test_a_table_is_split_by_columns_and_no_name_is_broken():
    names = text_column("", ["a-name-with-hyphens-that-is-long", "b"])
    numbers = [Column(f"head {i}", (Line.of("1.25"), Line.of("10.5")), ">") for i in range(3)]
    lines = [line.text for line in table([names, *numbers], 45)]
    assert lines == [
        "                                    head 0",
        "  a-name-with-hyphens-that-is-long    1.25",
        "  b                                   10.5",
        "",
        "                                    head 1",
        "  a-name-with-hyphens-that-is-long    1.25",
        "  b                                   10.5",
        "",
        "                                    head 2",
        "  a-name-with-hyphens-that-is-long    1.25",
        "  b                                   10.5",
    ]


def test_values_stand_over_each_other_with_their_errors():
    texts = [NumberText("0.1250", "± 0.0031"), NumberText("–"), NumberText("10.2500", "± 0.0200")]
    cells = [cell.text for cell in column_of("mean", texts).cells]
    assert cells == [" 0.1250 ± 0.0031", "      –         ", "10.2500 ± 0.0200"]
