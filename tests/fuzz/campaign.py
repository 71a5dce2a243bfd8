"""The campaign: `python -m tests.fuzz --cases 3000000 --seed 1`.

Every target runs in a process of its own, so that a crash of a C library is seen and named; cases
are shared out so that each target takes about as long.  Exit code 1 where a case fails: Hypothesis
prints the smallest one, and the file of the last case is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings

ROUND = 2000
SECONDS_A_CASE = 30
ADDRESS_SPACE = 8 << 30


def check(name: str, cases: int, seed_of_round: int) -> None:
    """Run cases of one target, and raise what the first that fails raises."""
    from tests.fuzz.targets import targets

    target = targets()[name]

    @seed(seed_of_round)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def all_cases(case: object) -> None:
        target.run(case)

    all_cases()


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no end after {SECONDS_A_CASE} seconds")


def campaign(name: str, cases: int, first_seed: int) -> None:
    """All rounds of one target, in this process."""
    import warnings

    from tests.fuzz import targets as module

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGALRM, _too_long)
    real = module.read_all

    def watched(path: object) -> None:
        signal.alarm(SECONDS_A_CASE)
        try:
            real(path)  # type: ignore[arg-type]
        finally:
            signal.alarm(0)

    module.read_all = watched  # type: ignore[assignment]
    for number, start in enumerate(range(0, cases, ROUND)):
        check(name, min(ROUND, cases - start), first_seed * 1_000_003 + number)


def main() -> int:
    from tests.fuzz.targets import targets

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--target", nargs="*", choices=list(targets()))
    given_options = parser.parse_args()
    chosen = given_options.target or list(targets())
    weights = {name: 1 / targets()[name].cost for name in chosen}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    fresh = multiprocessing.get_context("spawn")

    def run(name: str) -> tuple[str, int, int, float]:
        cases, start = max(1, round(given_options.cases * shares[name])), time.monotonic()
        process = fresh.Process(target=campaign, args=(name, cases, given_options.seed))
        process.start()
        process.join()
        found = name, cases, process.exitcode or 0, time.monotonic() - start
        ending = "" if found[2] == 0 else f"  FAILED with exit code {found[2]}"
        print(f"{name:14} {cases:9,} cases {found[3]:7.0f} s{ending}", flush=True)
        return found

    with ThreadPoolExecutor(given_options.processes) as pool:
        results = list(pool.map(run, chosen))
    failed = [name for name, _, code, _ in results if code]
    total = sum(cases for _, cases, _, _ in results)
    print(f"{total:,} cases, seed {given_options.seed}: {', '.join(failed) or 'nothing'} failed")
    return bool(failed)
