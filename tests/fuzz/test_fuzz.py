"""A seeded part of the campaign, and what the campaign has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import check
from tests.fuzz.targets import read_all, targets

UNITS = 1000
"""Cases of a target of cost 1; of one of cost 20, a twentieth."""


FOUND = Path(__file__).resolve().parent / "found"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(path.name for path in FOUND.iterdir()))
def test_what_was_found(name):
    """Each of these once ended with a crash, or with an error that was not ours."""
    read_all(FOUND / name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(targets()))
def test_nothing_but_our_own_errors(name):
    check(name, max(40, UNITS // targets()[name].cost), seed_of_round=7)
