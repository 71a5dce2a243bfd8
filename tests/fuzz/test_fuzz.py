"""A seeded minute of fuzzing, by Hypothesis and by the campaign's own draws, and what was found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conftest import NIGHTLY
from tests.fuzz.targets import SLOW, read_all, targets

EXAMPLES = 2_000 if NIGHTLY else 150
DRAWS = 15_000 if NIGHTLY else 1_000
"""Cases of a target of cost 1; of one of cost 20, a twentieth."""
NAMES = [name for name, target in targets().items() if NIGHTLY or target.cost < SLOW]
FOUND = Path(__file__).resolve().parent / "found"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(path.name for path in FOUND.iterdir()))
def test_what_was_found(name):
    """Each of these once ended with a crash, or with an error that was not ours."""
    read_all(FOUND / name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_our_own_errors(name):
    """Hypothesis draws what to do, and shrinks what fails."""
    target = targets()[name]

    @settings(
        max_examples=max(30, EXAMPLES // target.cost),
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def cases(case):
        target.run(case)

    cases()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_the_campaign(name):
    target = targets()[name]
    for number in range(max(30, DRAWS // target.cost)):
        target.run(target.draw(random.Random(f"7 {name} {number}")))
