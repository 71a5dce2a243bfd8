"""Completion: what bash, zsh and fish get, asked by the shells themselves where they are there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cl_analyze.cli.completion import answer, complete, keys_of
from cl_analyze.cli.help import ROOT_OPTIONS
from cl_analyze.options import DECLARING, FAMILIES
from cl_analyze.options.declaration import options_for


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files of embeddings, and the program on the path."""
    np.savez(tmp_path / "emb.npz", embeddings=np.eye(3), labels=np.arange(3))
    (tmp_path / "table.csv").write_text("id,label,dim_0\n1,a,0.5\n")
    program = tmp_path / "bin" / "cl-analyze"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cl_analyze "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(name, script):
    """Lines that a script of a shell prints."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    command = [name, *options, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.splitlines()


SOURCE = {
    name: f"_CL_ANALYZE_COMPLETE=source_{name} cl-analyze" for name in ("bash", "zsh", "fish")
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tol"], ["tolerance"]),
        (["report", "--forma"], ["--format"]),
        (["report", "--format", "p"], ["png", "pdf"]),
        (["report", "--format", "=", "s"], ["svg"]),
        (["report", "--format", "png", "s"], ["svg"]),
        (["penalty", "--tau", "=", "0.1", "0.2", "--def"], ["--defaults", "--definition"]),
        (["report", "emb.npz", "::", ""], []),
        (["report", "emb.npz", "::"], ["embeddings", "labels"]),
        (["report", "emb.npz", "::", "la"], ["labels"]),
        (["report", "emb.npz::la"], ["emb.npz::labels"]),
        (["report", "-l", "table.csv", "::", "l"], ["label"]),
        (["report", "em"], []),
        (["report", "--tau", ""], []),
    ],
    ids=str,
)
def test_bash_gets_the_words_behind_its_last_break(folder, words, expected):
    line = ["cl-analyze", *words]
    script = (
        f'eval "$({SOURCE["bash"]})"\n'
        "complete -p cl-analyze | grep -q -e '-o default' && echo FILES\n"
        f"COMP_WORDS=({shlex.join(line)}); COMP_CWORD={len(line) - 1}\n"
        '_cl_analyze_completion cl-analyze; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert [each for each in shell("bash", script) if each] == ["FILES", *expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tol", ["describe tolerance:How similar embeddings of one class are"]),
        ("report --format=s", ["compset -p 9", "describe svg"]),
        ("report emb.npz::la", ["compset -p 9", "describe labels"]),
        ("report em", ["files"]),
        ("report --no-fil", ["describe --no-files:Write no files, only print"]),
        ("penalty --negatives ", ["describe instance class"]),
    ],
)
def test_zsh_gets_commands_of_its_completion_system(folder, line, expected):
    words = ["cl-analyze", *line.split(" ")]
    script = (
        "compdef() { }\n_files() { echo files }\n"
        'compset() { echo "compset $*" }\n_describe() { echo "describe ${(P)${@[-1]}}" }\n'
        f'eval "$({SOURCE["zsh"]})"\n'
        f"words=({shlex.join(words)}); CURRENT={len(words)}\n_cl_analyze_completion"
    )
    assert shell("zsh", script) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tol", ["tolerance\tHow similar embeddings of one class are"]),
        ("report --format s", ["svg"]),
        ("report --format=s", ["--format=svg"]),
        ("report emb.npz::la", ["emb.npz::labels"]),
        ("report em", ["emb.npz"]),
    ],
)
def test_fish_gets_whole_words(folder, line, expected):
    script = f"{SOURCE['fish']} | source\ncomplete -C {shlex.quote('cl-analyze ' + line)}"
    assert [item.rstrip() for item in shell("fish", script)] == expected


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(folder, name):
    result = subprocess.run(SOURCE[name], shell=True, capture_output=True, text=True, check=True)
    assert "_CL_ANALYZE_COMPLETE=complete_" in result.stdout
    if shutil.which(name):
        check = [name, "--no-execute" if name == "fish" else "-n"]
        subprocess.run(check, input=result.stdout, text=True, check=True)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_fast_for_it_imports_little(folder, name):
    code = (
        "import sys\nfrom cl_analyze.cli.entry import main\n"
        "try:\n    main([])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print(sorted({'numpy', 'torch', 'typer', 'rich'} & set(sys.modules)))"
    )
    environment = {
        "_CL_ANALYZE_COMPLETE": f"complete_{name}",
        "COMP_WORDS": "cl-analyze report emb.npz::em",
        "COMP_CWORD": "2",
        "_TYPER_COMPLETE_ARGS": "cl-analyze report emb.npz::em",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "embeddings" in result.stdout


def test_what_can_stand_at_the_cursor():
    assert list(complete([], "").items)[:1] == ["uniformity"]
    assert "--version" in complete([], "-").items
    flags = {flag for each in options_for("check", DECLARING) for flag in each.flags}
    assert set(complete(["check", "e.npy"], "--").items) == {
        *(flag for flag in flags if flag.startswith("--")),
        "--help",
        "--help-all",
    }
    assert "--no-json" in complete(["report"], "--no-j").items
    assert set(FAMILIES) < set(complete(["compare", "--metrics"], "").items)
    assert complete(["report", "--tau", "0.1", "0.2"], "").takes_files
    assert complete(["report", "--format", "png", "e.npy"], "s").items == {}
    assert complete(["report", "--labels"], "").takes_files
    assert not complete(["report", "--threads"], "").takes_files
    assert complete(["report", "--json"], "e").takes_files
    assert complete(["report", "--", "--x"], "--y").items == {}
    listed = complete(["report"], "--format=png,s")
    assert (listed.kept, list(listed.items)) == ("--format=png,", ["svg"])


@pytest.mark.parametrize("position", ["x", "", "1.5", "9" * 5000])
def test_a_position_that_is_no_number_has_no_answer(position):
    environment = {"COMP_WORDS": "cl-analyze tol", "COMP_CWORD": position}
    assert answer("complete_bash", environment) == ("", 0)
    assert answer("complete_bash", {**environment, "COMP_CWORD": "1"}) == ("tolerance", 0)


def test_the_options_of_the_program_are_those_of_its_help():
    assert list(complete([], "--").items.items()) == [
        (spelling.removeprefix("-h, "), text) for spelling, text in ROOT_OPTIONS
    ]


def test_keys_of_files_that_are_no_files(tmp_path):
    for name in ("a.npz", "a.safetensors", "a.csv", "a.tsv"):
        assert keys_of(tmp_path / name) == []
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
        assert keys_of(tmp_path / name) == []
    header = b'{"__metadata__": {}, "z": {"dtype": "F32"}}'
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert keys_of(tmp_path / "b.safetensors") == ["z"]
    (tmp_path / "a.safetensors").write_bytes((10**6).to_bytes(8, "little") + b"[" * 10**6)
    assert keys_of(tmp_path / "a.safetensors") == []


@pytest.mark.parametrize("key", ["$(touch x)", "a;touch x", "`touch x`", "a b", "x\n--out"])
def test_a_name_that_a_shell_would_run_is_not_offered(tmp_path, key):
    np.savez(tmp_path / "emb.npz", **{key: np.eye(2), "z": np.eye(2)})
    assert keys_of(tmp_path / "emb.npz") == [key, "z"]
    assert list(complete(["report"], f"{tmp_path}/emb.npz::").items) == ["z"]
