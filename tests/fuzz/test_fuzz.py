"""A seeded part of the campaign, and what the campaign has found."""

from __future__ import annotations

import pytest

from tests.fuzz.campaign import check
from tests.fuzz.targets import targets

UNITS = 1000
"""Cases of a target of cost 1; of one of cost 20, a twentieth."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(targets()))
def test_nothing_but_our_own_errors(name):
    check(name, max(40, UNITS // targets()[name].cost), seed_of_round=7)
