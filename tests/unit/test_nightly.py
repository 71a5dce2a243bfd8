"""The nightly command runs what it names, each campaign whole, and fails where one does."""

from __future__ import annotations

import sys

from tests import nightly
from tests.conftest import ROOT


def test_campaigns_are_scripts_and_modules_that_are_there():
    for words in nightly.CAMPAIGNS.values():
        name = words[1] if words[0] == "-m" else words[0]
        if name != "pytest":
            place = ROOT / name.replace(".", "/") if words[0] == "-m" else ROOT / name
            assert (
                place.is_file()
                or place.with_suffix(".py").is_file()
                or (place / "__main__.py").is_file()
            ), name


def test_a_campaign_that_fails_fails_the_night(monkeypatch, capfd):
    said = "import os, sys; print(os.environ['CL_ANALYZE_NIGHTLY']); sys.exit({})"
    monkeypatch.setattr(
        nightly, "CAMPAIGNS", {"good": ["-c", said.format(0)], "bad": ["-c", said.format(3)]}
    )
    for wanted, code in ((["good"], 0), ([], 1)):
        monkeypatch.setattr(sys, "argv", ["nightly", *wanted])
        assert nightly.main() == code
    out = capfd.readouterr().out
    assert out.count("\n1\n") == 3
    assert "bad: exit code 3" in out
    assert out.endswith("failed: bad\n")
