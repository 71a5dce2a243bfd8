"""Defaults of options from a project's file: the same as if they were typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer

from cl_analyze.cli import commands, parameters
from cl_analyze.errors import ConfigError
from cl_analyze.options import DECLARING, EVERY
from cl_analyze.options.declaration import from_command_line, options_for, options_of
from cl_analyze.options.defaults import defaults_for
from cl_analyze.options.kinds import (
    Choice,
    Companions,
    Flag,
    MetricNames,
    Number,
    Numbers,
    Place,
    Real,
    Share,
    Shares,
    Size,
    Whole,
    WholeOrAll,
    Words,
)
from cl_analyze.project_file import ProjectFile, find_project_file, read_project_file

OPTIONS = [
    pytest.param(option.commands[at % len(option.commands)], option, id=option.name)
    for at, option in enumerate(
        option for declaring in DECLARING for option in options_of(declaring).values()
    )
]
"""Every option with one of its commands: in turn, so that each command has several."""


def examples(option):
    """Values of an option: what is typed behind the flag, and the same in TOML."""
    kind = option.kind
    if isinstance(kind, Flag):
        return [((), "true")]
    if isinstance(kind, Shares):
        return [(("0.2", "0.05"), "[0.2, 0.05]")]
    if isinstance(kind, Numbers):
        listed = [(("3", "2", "3"), "[3, 2, 3]"), (("4",), "4")]
        return listed if kind.whole else [*listed, (("0.07", "1e-3"), "[0.07, 1e-3]")]
    if isinstance(kind, MetricNames):
        return [(("uniformity", "nesum"), '["uniformity", "nesum"]')]
    if isinstance(kind, Words):
        return [
            (kind.words[::-1], json.dumps(kind.words[::-1])),
            (kind.words[:1], f"'{kind.words[0]}'"),
        ]
    if isinstance(kind, Companions):
        return [(("a.npz::y",), '"a.npz::y"'), (("a.npy", "b.npy"), '["a.npy", "b.npy"]')]
    if isinstance(kind, Choice):
        return [((word,), f'"{word}"') for word in kind.words]
    if isinstance(kind, Size):
        return [(("2GiB",), '"2GiB"'), (("4096",), "4096")]
    if isinstance(kind, WholeOrAll):
        return [(("all",), '"all"'), (("300",), "300"), (("300",), '"300"')]
    if isinstance(kind, Whole):
        return [(("12",), "12")]
    if isinstance(kind, Real):
        return [(("-2.5",), "-2.5"), (("3",), "3")]
    if isinstance(kind, Share):
        return [(("0.25",), "0.25"), (("1",), "1")]
    if isinstance(kind, Number):
        return [(("0.3",), "0.3"), (("3",), "3")]
    return [(("some words",), '"some words"')]


@pytest.fixture(scope="module")
def app():
    """The command line whose runners return what they are given."""
    given = []
    made = typer.Typer(rich_markup_mode=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands.Command, "run", lambda self, values: given.append(values))
        for command in commands.COMMANDS:
            made.command(command.name, cls=parameters.PanelCommand)(parameters.function_of(command))

        parser = typer.main.get_command(made)

        def run(*arguments):
            given.clear()
            parser(args=list(arguments), standalone_mode=False, obj=list(arguments))
            return given[0]

        yield run


def understood(values):
    """Every option as the runners see it."""
    parsed = {
        name: option.kind.parse(option.flag, values[name])
        for declaring in DECLARING
        for name, option in options_of(declaring).items()
        if name in values and name != "defaults_file"
    }
    checked = [from_command_line(declaring, values) for declaring in DECLARING[1:-1]]
    return parsed, checked


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_in_the_file_is_the_same_as_typed(app, tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    key = option.flag.removeprefix("--")
    file = tmp_path / "cl-analyze.toml"
    untouched = understood(app(command, "z.npy"))
    for texts, toml in examples(option):
        file.write_text(f"[defaults]\n{key} = {toml}\n")
        if option.only_typed:
            with pytest.raises(ConfigError, match=rf"defaults\.{key} can only be typed"):
                app(command, "z.npy")
            continue
        tokens = [token for text in texts for token in (option.flag, text)] or [option.flag]
        typed = understood(app(command, "z.npy", *tokens, "--defaults", "none"))
        assert typed != untouched, "the example would show nothing"
        values = app(command, "z.npy")
        assert understood(values) == typed
        again = app(values["arguments"][0], *values["arguments"][1:], "--defaults=none")
        assert understood(again) == typed, "the document's command line is the same run"

        file.write_text(f"[defaults.{command}]\n{key} = {toml}\n")
        assert understood(app(command, "z.npy")) == typed
        others = [name for name in EVERY if name not in option.commands]
        if others:
            file.write_text(f"[defaults]\n{key} = {toml}\n")
            assert app(others[0], "z.npy")["from_file"] is None, "the others do without it"
            file.write_text(f"[defaults.{others[0]}]\n{key} = {toml}\n")
            with pytest.raises(ConfigError, match=rf"'{key}' in .*it is an option of .*{command}"):
                app(command, "z.npy")


def test_flags_are_turned_off_again(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in EVERY:
        for option in options_for(command, DECLARING):
            if not isinstance(option.kind, Flag):
                continue
            key = option.flag.removeprefix("--")
            text = f"[defaults]\n{key} = true\n"
            (tmp_path / "cl-analyze.toml").write_text(text)
            assert app(command, "z.npy")[option.name] is True
            assert app(command, "z.npy", option.off_flag)[option.name] is False
            (tmp_path / "cl-analyze.toml").write_text(
                f"{text}[defaults.{command}]\n{key} = false\n"
            )
            values = app(command, "z.npy")
            assert values[option.name] is False
            assert values["arguments"] == [command, option.off_flag, "z.npy"]


def test_what_is_typed_wins_over_the_commands_table_and_that_over_the_general_one(
    app, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cl-analyze.toml").write_text(
        "[defaults]\ntau = [0.1]\nthreads = 2\nout = 'a'\n[defaults.report]\ntau = 0.2\nout = 'b'\n"
    )
    found = app("report", "z.npy", "-o", "c")
    assert (found["taus"], found["threads"], found["out"]) == (["0.2"], 2, "c")
    assert found["arguments"] == ["report", "--tau=0.2", "--threads=2", "z.npy", "-o", "c"]
    found = app("penalty", "--", "-z.npy")
    assert (found["taus"], found["out"]) == (["0.1"], "a")
    assert found["arguments"] == [
        "penalty", "--tau=0.1", "--threads=2", "--out=a", "--", "-z.npy"
    ]  # fmt: skip
    assert app("inspect", "z.npy")["from_file"] is None


def test_tables_of_commands_and_keys_of_options_have_different_names():
    keys = {o.flag.removeprefix("--") for each in DECLARING for o in options_of(each).values()}
    assert not keys & set(EVERY)


def test_which_file_is_read(app, tmp_path, monkeypatch):
    folder = tmp_path / "project" / "sub"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder.parent / "cl-analyze.toml").write_text("[defaults]\nseed = 1\n")
    assert find_project_file(folder) is None, "folders above are not searched"
    project = folder / "pyproject.toml"
    project.write_text("[project\n")
    assert app("report", "z.npy")["from_file"] is None, "another program's broken file"
    project.write_text("[tool.cl-analyze\n")
    with pytest.raises(ConfigError, match=r"pyproject\.toml: not valid TOML"):
        app("report", "z.npy")
    project.write_text(
        "[tool.cl-analyze.defaults]\nseed = 2\n[tool.cl-analyze.defaults.report]\nk=3\n"
    )
    found = app("report", "z.npy")
    assert (found["seed"], found["ks"]) == (2, ["3"])
    assert found["from_file"].lines() == [
        "from [tool.cl-analyze.defaults] of pyproject.toml: --seed=2",
        "from [tool.cl-analyze.defaults.report] of pyproject.toml: --k=3",
    ]
    (folder / "cl-analyze.toml").write_text("[[rule]]\nmetric = 'no rule is looked at'\n")
    assert app("report", "z.npy")["from_file"] is None, "its own file stands in place of the other"
    assert app("report", "z.npy", "--defaults", "pyproject.toml")["seed"] == 2
    assert app("report", "z.npy", "--defaults", "../cl-analyze.toml")["seed"] == 1
    (folder / "cl-analyze.toml").write_text("no TOML")
    assert app("report", "z.npy", "--defaults", "none")["seed"] is None
    (folder / "none").write_text("[defaults]\nseed = 4\n")
    assert app("report", "z.npy", "--defaults", "./none")["seed"] == 4


def test_paths_are_relative_to_the_file(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "nightly.toml").write_text(
        "[defaults]\nlabels = ['y.npz::y', 'none', 'https://host/y.npy', '/y.npy']\nout = 'o'\n"
        "groups = 'g.npy'\ndevice = 'cpu'\n[defaults.compare]\nagainst = 'a.npy'\n"
    )
    found = app("compare", "z.npy", "--defaults", "ci/nightly.toml")
    assert found["labels"] == ["ci/y.npz::y", "none", "https://host/y.npy", "/y.npy"]
    assert (found["out"], found["groups"]) == ("ci/o", "ci/g.npy")
    assert (found["device"], found["against"]) == ("cpu", "a.npy"), "no paths"
    assert all(
        isinstance(option.kind, Place | Companions)
        for each in DECLARING
        for option in options_of(each).values()
        if option.kind.metavar in ("PATH", "DIR") or option.name in ("rules", "baseline", "junit")
    )


BAD = [
    ("defaults = 3", r"x\.toml: defaults must be a table, \[defaults\], found 3"),
    ("[default]\ntau = 1", r"unknown key 'default' in the file; did you mean 'defaults'\?"),
    ("[defaults]\ntop_k = 3", r"unknown key 'top_k' in \[defaults\]; did you mean 'top-k'\?"),
    ("[defaults]\nxyzzy = 3", r"unknown key 'xyzzy' in \[defaults\]; keys are options without the"),
    ("[defaults]\nreport = 3", r"defaults\.report must be a table, \[defaults\.report\], found 3"),
    ("[defaults.reprot]\ntau = 1", r"no command 'reprot' .*; did you mean 'report'\?"),
    ("[defaults.uniformity]\ntau = 1", r"it is an option of penalty, losses, compare, report$"),
    ("[defaults.uniformity]\nthread = 1", r"'thread' in \[.*\]; did you mean 'threads'\?"),
    ("[defaults]\ntau = []", r"defaults\.tau: at least one number is needed"),
    ("[defaults]\ntau = '0.1'", r"defaults\.tau must be a number, found '0\.1'"),
    ("[defaults]\ntau = true", r"defaults\.tau must be a number, found True"),
    ("[defaults]\ntau = [0.1, [0.2]]", r"defaults\.tau must be a number, found \[0\.2\]"),
    ("[defaults]\ntau = -1", r"defaults\.tau must be finite and > 0, found -1"),
    ("[defaults]\ntau = nan", r"defaults\.tau must be finite and > 0, found nan"),
    ("[defaults]\ntau = 1e9", r"defaults\.tau must lie in 1e-06 \.\. 1e\+06, found 1e\+09"),
    ("[defaults]\ntau = 2020-01-01", r"must be a number, found datetime\.date"),
    ("[defaults.quality]\nk = 1.5", r"defaults\.quality\.k takes whole numbers, found 1\.5"),
    ("[defaults]\nfpr = 2", r"defaults\.fpr must be under 1"),
    ("[defaults]\nthreads = 0", r"defaults\.threads must be a whole number of at least 1, found 0"),
    ("[defaults]\nthreads = 2.0", r"defaults\.threads must be a whole number, found 2\.0"),
    (f"[defaults]\nseed = 0x{'f' * 9000}", r"defaults\.seed: TOML's integers have 64 bits"),
    ("[defaults]\njson = 1", r"defaults\.json must be true or false, found 1"),
    ("[defaults]\nformat = 'pgn'", r"defaults\.format: 'pgn' is none of png, svg, pdf"),
    ("[defaults]\nformat = []", r"defaults\.format: at least one text is needed"),
    ("[defaults]\nprecision = 'float23'", r"found 'float23'; did you mean 'float32'\?"),
    ("[defaults]\nprecision = ['auto']", r"defaults\.precision must be 'auto', 'float32' or"),
    ("[defaults]\nmemory = '2XB'", r"defaults\.memory: '2XB' is not a size"),
    ("[defaults]\ncurve-anchors = 'some'", r"defaults\.curve-anchors: 'some' is neither"),
    ("[defaults]\nhard-alpha = 2", r"defaults\.hard-alpha must lie in \(0, 1\]"),
    ("[defaults]\nout = ''", r"defaults\.out is empty"),
    ("[defaults]\nout = 3", r"defaults\.out must be a text between quotation marks, found 3"),
    ("[defaults]\nlabels = ['a', '']", r"defaults\.labels holds an empty text"),
    ('[defaults]\nlabels = "a\\u0000"', r"defaults\.labels holds a NUL character"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_no_default_can_be(tmp_path, text, message):
    path = tmp_path / "x.toml"
    path.write_text(text)
    for command in EVERY:  # of every command, whichever the table is for
        with pytest.raises(ConfigError, match=message) as raised:
            defaults_for(command, read_project_file(path))
        assert str(path) in str(raised.value)


@pytest.fixture
def project(cli, random):
    """A folder with a checkpoint and a file of defaults."""
    np.savez(cli.folder / "z.npz", embeddings=random.normal(size=(60, 6)))
    np.save(cli.folder / "y.npy", np.arange(60) % 3)
    (cli.folder / "cl-analyze.toml").write_text(
        "[defaults]\ntau = [0.07, 0.2]\nout = 'analysis'\nlabels = 'y.npy'\n"
        "[defaults.penalty]\nformat = ['svg']\n"
        "[defaults.uniformity]\nno-files = true\njson = true\n"
    )
    return cli


def test_a_run_with_defaults_and_what_it_says_of_them(project):
    result = project("penalty", "z.npz", "--verbose", SOURCE_DATE_EPOCH="0")
    assert result.returncode == 0, result.stderr
    assert (
        "from [defaults] of cl-analyze.toml: --tau=0.07,0.2 --out=analysis --labels=y.npy\n"
        in result.stderr
    )
    assert "from [defaults.penalty] of cl-analyze.toml: --format=svg\n" in result.stderr
    assert list((project.folder / "analysis" / "figures").glob("*.svg"))
    assert not list((project.folder / "analysis" / "figures").glob("*.png"))
    typed = project(
        "penalty", "z.npz", "--tau", 0.07, 0.2, "--format", "svg", "-o", "typed", "-l", "y.npy",
        "--defaults", "none",
    )  # fmt: skip
    assert typed.stdout == result.stdout
    for file in (project.folder / "analysis" / "tables").iterdir():
        assert file.read_bytes() == (project.folder / "typed" / "tables" / file.name).read_bytes()
    assert "from [" not in project("penalty", "z.npz").stderr, "only --verbose says it"


def test_the_document_and_the_page_name_the_file(project):
    document = json.loads(project("uniformity", "z.npz").stdout)
    assert document["defaults"] == {
        "file": "cl-analyze.toml",
        "arguments": ["--out=analysis", "--no-files", "--json"],
    }
    assert not (project.folder / "analysis").exists()
    plain = project("uniformity", "z.npz", "--json", "--no-files", "--defaults", "none")
    without = json.loads(plain.stdout)
    assert "defaults" not in without
    assert without["results"] == document["results"]
    written = project("uniformity", "z.npz", "--no-json", "--files")
    assert written.stdout.startswith("z.npz  n=60")
    assert (project.folder / "analysis").exists()
    assert project("report", "z.npz", "--tau", 0.5).returncode == 0
    page = (project.folder / "analysis" / "report.html").read_text()
    assert "cl-analyze report --out=analysis --labels=y.npy z.npz --tau 0.5</code>" in page
    assert "cl-analyze.toml set --out=analysis --labels=y.npy." in page
    saved = json.loads((project.folder / "analysis" / "results.json").read_text())
    assert saved["defaults"]["arguments"] == ["--out=analysis", "--labels=y.npy"]


def test_errors_say_that_an_option_comes_from_the_file(project):
    np.save(project.folder / "y.npy", np.arange(59))
    error = project.fails("tolerance", "z.npz")
    assert "\n--labels is set in cl-analyze.toml; with --defaults none no defaults are" in error
    error = project.fails("penalty", "--tau", 0.2)
    assert "Error: --labels needs embeddings: name a file EMB\n--labels is set in cl-" in error
    (project.folder / "cl-analyze.toml").write_text("[defaults]\ngroups = 'g.npy'\n")
    error = project.fails("tolerance", "z.npz")
    assert "g.npy" in error.partition("\n")[0]
    assert "\n--groups is set in cl-analyze.toml; with" in error
    (project.folder / "cl-analyze.toml").write_text("[defaults]\ntua = 1\n")
    error = project.fails("tolerance", "z.npz")
    assert "cl-analyze.toml: unknown key 'tua' in [defaults]; did you mean 'tau'?\n" in error
    assert "\nwith --defaults none no defaults are read from a file\n" in error
    assert "--defaults FILE" in project("tolerance", "--help-all").stdout, "help needs no file"
    assert "unknown option --tua" in project.fails("tolerance", "z.npz", "--tua")
    assert "--defaults is empty" in project.fails("tolerance", "z.npz", "--defaults", "")
    assert "cannot be read: No such file" in project.fails("tolerance", "z", "--defaults", "q.toml")


def test_rules_and_defaults_share_a_file(project):
    path = project.folder / "cl-analyze.toml"
    rules = "[[rule]]\nmetric = 'uniformity'\nmax = 0\n"
    path.write_text(f"{rules}[defaults.check]\njunit = 'j.xml'\njson = true\n")
    result = project("check", "z.npz", "--verbose")
    assert result.returncode == 0, result.stderr
    assert "from [defaults.check] of cl-analyze.toml: --junit=j.xml --json\n" in result.stderr
    document = json.loads(result.stdout)
    assert document["verdict"] == "pass"
    assert document["defaults"]["file"] == "cl-analyze.toml"
    passed = (project.folder / "j.xml").read_text()
    path.write_text(f"{rules}[defaults]\ntua = 1\n")
    refused = project("check", "z.npz", "--junit", "j.xml", GITHUB_ACTIONS="true")
    assert refused.returncode == 2
    assert "unknown key 'tua'" in (project.folder / "j.xml").read_text(), passed
    assert "::error" in refused.stderr
    assert project("check", "z.npz", "--defaults", "none").returncode == 0, "the rules are read"
    (project.folder / "d.toml").write_text("[defaults]\nseed = 1\n")
    over = project("check", "z.npz", "--defaults", "d.toml", "--junit", "d.toml")
    assert over.returncode == 2
    assert "--junit would replace d.toml" in over.stderr


def test_the_python_functions_read_no_file(project, monkeypatch):
    import cl_analyze as cla

    monkeypatch.chdir(project.folder)
    (project.folder / "cl-analyze.toml").write_text("[defaults]\nt = [1, 3]\n")
    report = cla.analyze("z.npz", metrics="uniformity")
    assert {r.params["t"] for r in report.records if r.metric == "uniformity"} == {2.0}
    assert report.document.defaults == {}


def test_the_line_of_an_interrupted_run_has_the_options_of_the_file(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cl-analyze.toml").write_text("[defaults]\nresume = 'states'\n")
    assert "--resume=states" in app("report", "z.npy")["arguments"]


def test_a_table_of_pyproject_is_named_in_full():
    file = ProjectFile(None, {"defaults": {"tau": 0}}, "tool.cl-analyze")
    with pytest.raises(ConfigError, match=r"tool\.cl-analyze\.defaults\.tau must be finite"):
        defaults_for("report", file)


def test_passwords_are_not_recorded(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = "https://me:word@host/y.npy"
    (tmp_path / "cl-analyze.toml").write_text(f"[defaults]\nlabels = '{url}'\n")
    found = app("tolerance", "z.npy")
    assert found["labels"] == [url]
    from_file = found["from_file"]
    assert from_file.record["arguments"] == ["--labels=https://host/y.npy"]
    assert from_file.note("https://host/y.npy: cannot be read").startswith("--labels is set in")
    assert from_file.note("another.npy: cannot be read") == ""


def test_a_misspelt_table_of_pyproject_is_told(cli):
    (cli.folder / "pyproject.toml").write_text("[tool.cl_analyze.defaults]\nt = [3]\n")
    np.save(cli.folder / "z.npy", np.eye(8))
    assert "write [tool.cl-analyze]" in cli.fails("uniformity", "z.npy", "--no-files")
