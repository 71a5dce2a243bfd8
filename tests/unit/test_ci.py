"""The action and the snippet of docs/ci.md, run as their runners do."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT

RULES = "[[rule]]\nmetric = 'uniformity'\nmax = -1.0\n"


@pytest.fixture
def folder(tmp_path, random):
    """A repository with embeddings and rules, and a path that finds this installation."""
    np.savez(tmp_path / "emb.npz", embeddings=random.normal(size=(60, 8)))
    (tmp_path / "cl-analyze.toml").write_text(RULES)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("cl-analyze", "python3"):
        module = "-m cl_analyze" if name == "cl-analyze" else ""
        script = binaries / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    pip = binaries / "pip"
    pip.write_text('#!/bin/sh\necho "$@" >> pip.log\n')
    pip.chmod(0o755)
    return tmp_path


def environment(folder, **more):
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def resolved(template, inputs, defaults):
    """An expression of the action's `env`, as the runner fills it in."""
    found = re.fullmatch(r"\$\{\{ (\S+) \}\}", template)
    name = found[1]
    if name == "github.action_path":
        return str(ROOT)
    key = name.removeprefix("inputs.")
    return inputs.get(key, defaults[key])


def run_action(folder, **inputs):
    """The check step of the action."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    defaults = {key: given.get("default") for key, given in action["inputs"].items()}
    (step,) = (step for step in action["runs"]["steps"] if step.get("id") == "check")
    assert "${{" not in step["run"], "inputs must not become part of the script"
    output = folder / "output.txt"
    output.write_text("")
    result = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=environment(
            folder,
            GITHUB_ACTIONS="true",
            GITHUB_OUTPUT=str(output),
            GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
            RUNNER_TEMP=str(folder),
            **{key: resolved(text, inputs, defaults) for key, text in step["env"].items()},
        ),
        capture_output=True,
        text=True,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return result, outputs


def test_the_action_passes_fails_and_cannot_judge(folder):
    result, outputs = run_action(folder, embeddings="emb.npz", junit="j.xml")
    assert result.returncode == 0, result.stderr
    assert outputs["verdict"] == "pass"
    assert (folder / "j.xml").exists()
    assert "cl-analyze check: pass" in (folder / "summary.md").read_text()
    (folder / "cl-analyze.toml").write_text(RULES.replace("-1.0", "-100"))
    result, outputs = run_action(folder, embeddings="emb.npz\n")
    assert (result.returncode, outputs["verdict"]) == (1, "fail")
    assert "::error title=cl-analyze" in result.stderr
    result, outputs = run_action(folder, embeddings="missing.npz")
    assert (result.returncode, outputs["verdict"]) == (2, "")
    (folder / "cl-analyze.toml").write_text(RULES)
    result, outputs = run_action(folder, embeddings=" emb.npz \r\n\r\n", arguments="--quiet\r\n")
    assert (result.returncode, outputs["verdict"]) == (0, "pass"), result.stderr
    (folder / "bin" / "cl-analyze").write_text("#!/bin/sh\nexit 0\n")
    result, outputs = run_action(folder, embeddings="emb.npz")
    assert (result.returncode, outputs["verdict"]) == (2, ""), "no verdict is no pass"


def test_the_action_takes_names_as_they_are(folder):
    hostile = "a b;touch owned $(touch owned).npz"
    (folder / "emb.npz").rename(folder / hostile)
    result, outputs = run_action(
        folder,
        embeddings=hostile,
        arguments="--quiet\n--threads\n1",
        **{"save-baseline": "base line.json"},
    )
    assert result.returncode == 0, result.stderr
    assert outputs["verdict"] == "pass"
    assert (folder / "base line.json").exists()
    assert not (folder / "owned").exists()


def test_the_action_installs_what_it_comes_with_or_what_is_asked_for(folder):
    (step, _) = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    fake = folder / "bin" / "python3"
    fake.write_text('#!/bin/sh\necho "$@" >> installed.log\n')
    for version in ("", "cl-analyze==0.1.0"):
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            check=True,
            env=environment(folder, CL_VERSION=version, CL_ACTION=str(ROOT)),
        )
    first, second = (folder / "installed.log").read_text().splitlines()
    assert first == f"-P -m pip install --quiet -c {ROOT}/constraints.txt {ROOT}"
    assert second == "-P -m pip install --quiet -- cl-analyze==0.1.0"


def test_every_input_of_the_action_is_used_and_explained():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    text = (ROOT / "action.yml").read_text()
    for name, given in action["inputs"].items():
        assert given["description"].endswith("."), name
        assert f"inputs.{name} " in text, name


def test_the_gitlab_snippet_runs(folder):
    page = (ROOT / "docs" / "ci.md").read_text()
    (snippet,) = re.findall(r"## GitLab\n\n```yaml\n(.*?)```", page, re.DOTALL)
    pipeline = yaml.safe_load(snippet)
    job, (package,) = pipeline["embeddings"], pipeline["variables"].values()
    (folder / "ci").mkdir()
    env = environment(folder, EMBEDDINGS="emb.npz", **pipeline["variables"])
    save = "cl-analyze check emb.npz --save-baseline ci/base.json"
    subprocess.run(["sh", "-ec", save], cwd=folder, env=env, check=True, capture_output=True)
    script = "\n".join(job["script"])
    subprocess.run(["sh", "-ec", script], cwd=folder, env=env, check=True, capture_output=True)
    for path in [job["artifacts"]["reports"]["junit"], *job["artifacts"]["paths"]]:
        assert (folder / path).stat().st_size > 100
    assert (folder / "pip.log").read_text() == f"install {package}\n"


def test_the_rules_of_the_page_are_rules(tmp_path):
    from cl_analyze.checks import load_rules

    page = (ROOT / "docs" / "ci.md").read_text()
    path, metrics = tmp_path / "cl-analyze.toml", []
    for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL):
        path.write_text(block)
        metrics.append([rule.metric for rule in load_rules(path)])
    assert metrics == [
        [
            "uniformity",
            "tolerance",
            "uniformity_gap",
            "knn_accuracy",
            "penalty_false_negative_share",
        ],
        ["recall_at_k", "tpr_at_fpr", "penalty_suspect_share"],
        ["knn_accuracy"],
    ]
