"""The campaign: `python -m tests.fuzz --cases 3000000 --seed 1`.

Cases are drawn by a seeded generator, which is ten times as fast as Hypothesis, and not shrunk:
each has a number, by which `--target NAME --first NUMBER --cases 1` runs it again.  Every target
runs in processes of its own, so that a crash of a C library is seen and named; cases are shared out
so that each target takes about as long.  Exit code 1 where a case fails; its file is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import signal
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

SECONDS_A_CASE = 30
ADDRESS_SPACE = 8 << 30


def run_cases(name: str, first: int, cases: int, seed: int) -> None:
    """Run cases of one target, up to the first that fails.

    Raises:
        SystemExit: a case failed; it is printed.
    """
    from tests.fuzz.targets import targets

    target = targets()[name]
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for number in range(first, first + cases):
        case = target.draw(random.Random(f"{seed} {name} {number}"))
        signal.alarm(SECONDS_A_CASE)  # which ends the process, also in a loop of a C library
        try:
            target.run(case)
        except Exception as error:  # what a case must not end with
            print(f"{name}: case {number} of seed {seed}: {case}", flush=True)
            traceback.print_exc()
            raise SystemExit(1) from error
        finally:
            signal.alarm(0)


def main() -> int:
    """Run every target in processes of its own, and sum up."""
    from tests.fuzz.targets import targets

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first case's number")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--target", nargs="*", choices=list(targets()))
    given = parser.parse_args()
    chosen = given.target or list(targets())
    weights = {name: 1 / targets()[name].cost for name in chosen}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    fresh = multiprocessing.get_context("spawn")

    def run(name: str) -> tuple[str, int, int]:
        cases, start = max(1, round(given.cases * shares[name])), time.monotonic()
        process = fresh.Process(target=run_cases, args=(name, given.first, cases, given.seed))
        process.start()
        process.join()
        code = process.exitcode or 0
        ending = "" if code == 0 else f"  FAILED with exit code {code}"
        print(f"{name:14}{cases:9,} cases{time.monotonic() - start:7.0f} s{ending}", flush=True)
        return name, cases, code

    with ThreadPoolExecutor(given.processes) as pool:
        results = list(pool.map(run, chosen))
    failed = [name for name, _, code in results if code]
    total = sum(cases for _, cases, _ in results)
    print(f"{total:,} cases, seed {given.seed}: {', '.join(failed) or 'nothing'} failed")
    return bool(failed)
