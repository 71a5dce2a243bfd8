"""Every command's JSON document is what the published schema says."""

from __future__ import annotations

import copy
import csv
import json

import jsonschema
import numpy as np
import pytest

from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "docs" / "schema" / "cl-analyze-2.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


@pytest.mark.parametrize(
    "arguments",
    [
        ("uniformity", "{few}", "--t", 1, 2),
        ("uniformity", "{few}", "--anchors", 100),
        ("tolerance", "{few}"),
        ("similarity", "{few}", "--negatives", "class"),
        ("penalty", "{few}", "--hard-alpha", 0.1),
        ("penalty", "--n-negatives", 100),
        ("losses", "{few}", "--batch-size", 16),
        ("quality", "{few}"),
        ("quality", "tiny.npy"),
        ("compare", "{few}", "other.npz", "--metrics", "uniformity", "quality"),
        ("compare", "{few}", "tiny.npy", "--metrics", "uniformity"),
        ("report", "{few}"),
        ("check", "{few}"),
    ],
)
def test_documents_are_what_the_schema_says(cli, few, random, arguments):
    np.save(cli.folder / "tiny.npy", random.normal(size=(5, 3)))
    with np.load(few) as arrays:
        np.savez(cli.folder / "other.npz", **{name: a[:150] for name, a in arrays.items()})
    (cli.folder / "cl-analyze.toml").write_text(
        "[[rule]]\nmetric='uniformity'\nmax=0\nmax_rise=1\n[[rule]]\nmetric='nesum'\nmin=1"
    )
    given = [str(a).format(few=few) for a in arguments]
    files = () if arguments[0] == "check" else ("--no-files",)
    result = cli(*given, *files, "--json")
    assert result.returncode == 0, result.stderr
    VALIDATOR.validate(json.loads(result.stdout))


def test_written_documents_are_too(cli, few):
    documents = []
    with np.load(few) as arrays:
        np.savez(cli.folder / "other.npz", **{name: a[:150] for name, a in arrays.items()})
    for options in ((), ("--full-json",)):
        result = cli(
            "compare",
            few,
            "other.npz",
            "--out",
            "out",
            "--metrics",
            "quality",
            "tolerance",
            *options,
        )
        assert result.returncode == 0, result.stderr
        documents.append(json.loads((cli.folder / "out" / "compare.json").read_text()))
        VALIDATOR.validate(documents[-1])
    document, full = documents
    assert document["results"] == full["results"]
    assert document["tables"].keys() == full["tables"].keys()
    for name, rows in full["tables"].items():
        entry = document["tables"][name]
        with (cli.folder / "out" / entry["csv"]).open(newline="") as file:
            assert len(list(csv.DictReader(file))) == entry["rows"] == len(rows)
    for wrong in ({"csv": "tables/compare.csv"}, "tables/compare.csv"):
        broken = copy.deepcopy(document)
        broken["tables"]["compare"] = wrong
        assert not VALIDATOR.is_valid(broken), wrong
    record = next(r for r in document["results"] if r["value"] is not None)
    for change in (
        {"value": None},
        {"unit": "nat"},
        {"reason": "why not"},
        {"n": -1},
        {"params": {"tau": None}},
        {"extra": 1},
    ):
        broken = copy.deepcopy(document)
        broken["results"][document["results"].index(record)].update(change)
        assert not VALIDATOR.is_valid(broken), change
