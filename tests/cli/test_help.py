"""Help: what a person reads first, at every width, and what is said of unknown options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from cl_analyze.cli.commands import COMMANDS
from cl_analyze.options import DECLARING, EVERY
from cl_analyze.options.declaration import PANELS, options_for
from tests.cli.pseudo_terminal import on_terminal

NAMES = [command.name for command in COMMANDS]
LINES = {"uniformity": 24, "tolerance": 24, "inspect": 24}
"""Lines of a screen; commands with more options have 30."""


def helped(*arguments, width=80):
    result = subprocess.run(
        [sys.executable, "-m", "cl_analyze", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": str(width)},
    )
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def texts():
    """The help of each command, usual and whole, and the program's, at three widths."""
    return {
        (name, option, width): helped(*([name] if name else []), option, width=width)
        for name in ("", *NAMES)
        for option in ("--help", "--help-all")
        for width in ((60, 80, 140) if name in ("", "uniformity", "compare") else (80,))
    }


def test_lines_fit_the_terminal_and_use_it(texts):
    for (name, option, width), text in texts.items():
        longest = max(map(len, text.splitlines()))
        assert longest <= width, (name, option)
    for name in ("", "compare"):
        assert max(map(len, texts[name, "--help-all", 140].splitlines())) > 100
    assert len(texts["compare", "--help", 140]) != len(texts["compare", "--help", 80])


def test_the_usual_help_fits_on_a_screen(texts):
    for name in NAMES:
        lines = texts[name, "--help", 80].splitlines()
        assert len(lines) <= LINES.get(name, 30), name
    assert len(texts["", "--help", 80].splitlines()) <= 30


def test_nothing_is_cut_and_no_type_of_python_is_shown(texts):
    for key, text in texts.items():
        assert not re.search(
            r"\w\.\.\.$", text.replace("EMB...\n", "").replace("FILE...\n", ""), re.M
        ), key
        assert not re.search(r"<\w|\[\[|\blist\[|\bINTEGER\b|\bTEXT\b|\{EMB", text), key
        assert not re.search(r"\w-$", text, re.M), key  # no name is broken at a hyphen


def test_the_usual_help_names_the_panels_of_the_others(texts):
    for name in NAMES:
        usual, whole = texts[name, "--help", 80], texts[name, "--help-all", 80]
        options = options_for(name, DECLARING)
        shown = {option.flag for option in options if re.search(rf"{option.flag}\b", usual)}
        common = {option.flag for option in options if name in option.common_in}
        assert common <= shown
        rest = " ".join(usual.split())
        for panel in PANELS:
            hidden = [o for o in options if o.panel == panel and name not in o.common_in]
            assert (f"{panel} ({len(hidden)})" in rest) == bool(hidden), (name, panel)
            of_command = any(option.panel == panel for option in options)
            assert (f"\n{panel}:\n" in whole) == of_command
        for option in options:
            assert re.search(rf"^  (-\w, )?{option.flag}( |$)", whole, re.M), option.flag
        places = [whole.find(f"\n{panel}:\n") for panel in PANELS if f"\n{panel}:\n" in whole]
        assert places == sorted(places)


def test_common_options_belong_to_the_command():
    for name in EVERY:
        assert any(name in option.common_in for option in options_for(name, DECLARING)), name
    for command in COMMANDS:
        assert not re.search(r"\n|  ", command.text + command.summary)
        assert len(command.summary) <= 66


def test_examples_are_whole_and_have_options_of_their_command(texts):
    for command in COMMANDS:
        text = texts[command.name, "--help", 80]
        line = f"Example: cl-analyze {command.example}"
        assert line in text.splitlines()
        words = shlex.split(command.example)
        flags = {flag for o in options_for(command.name, DECLARING) for flag in o.flags}
        assert words[0] == command.name
        assert {word for word in words if word.startswith("-")} <= flags
    narrow = helped("check", "--help", width=60)
    example = narrow[narrow.index("Example: ") :].split("\n")
    assert example[0].endswith(" \\")
    whole = " ".join(line.removesuffix(" \\").strip() for line in example[:2])
    assert whole.endswith("check emb.npz --rules cl-analyze.toml --baseline base.json")


def test_the_program_lists_commands_by_what_people_want(texts):
    text = texts["", "--help", 80]
    groups = re.findall(r"^(Measure|Compare and decide|Look into a file):$", text, re.M)
    assert groups == ["Measure", "Compare and decide", "Look into a file"]
    assert re.findall(r"^  ([a-z]+) +[A-Z]", text, re.M) == NAMES
    for command in COMMANDS:
        assert f"  {command.name:<10}  {command.summary}\n" in text
    assert "Exit codes: 0 done, 1 a check failed, 2 could not judge" in text
    everything = texts["", "--help-all", 80]
    assert everything.startswith(text)
    for command in COMMANDS:
        assert texts[command.name, "--help-all", 80] in everything + "\n"


def test_without_arguments_the_help_is_shown_as_an_error(cli):
    result = cli()
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: cl-analyze COMMAND [OPTIONS] FILE...")


def test_a_terminal_has_help_of_its_own_width(tmp_path):
    widths = []
    for columns in (70, 120):
        text = on_terminal(tmp_path, ["quality", "--help-all"], columns)
        widths.append(max(map(len, text.splitlines())))
        assert widths[-1] <= columns
    assert widths[1] > 90 > widths[0] > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check e.npy --out x", "it writes files with --save-baseline, --junit and --markdown"),
        ("uniformity e.npy --tau 1 2", "uniformity has no --tau: it is an option of penalty,"),
        ("tolerance e.npy --no-fles", "unknown option --no-fles; did you mean '--no-files'?"),
        ("tolerance e.npy -x", "unknown option -x; cl-analyze tolerance --help-all"),
        ("uniformity e.npy --taus 1", "did you mean '--tau'? It is an option of penalty, losses,"),
        ("quality e.npy --tua=1", "unknown option --tua; did you mean '--tau'? It is an option of"),
        ("check e.npy --temperature 1", "did you mean '--tau'? It is an option of penalty,"),
        ("penalty e.npy --temperature 1", "unknown option --temperature; did you mean '--tau'?"),
        ("penalty e.npy -t 2", "unknown option -t; cl-analyze penalty --help-all lists all"),
        ("--versoin", "unknown option --versoin; did you mean '--version'?"),
        ("--out x report", "unknown option --out; options of a command stand behind its name"),
        ("reprot", "No such command 'reprot'. Did you mean 'report'?"),
    ],
)  # fmt: skip
def test_an_unknown_option_says_what_to_do(cli, arguments, message):
    assert message in cli.fails(*arguments.split())
