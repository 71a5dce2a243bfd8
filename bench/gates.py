"""How often a gate raises a false alarm, and how often it sees a real drop.

    python bench/gates.py                    # 1,000 comparisons of each kind, a quarter of an hour
    python bench/gates.py --repeats 50

False alarms: two checkpoints whose rows are drawn from one law, so that nothing has changed.  Rules
allow no change at all in either direction (`max_drop = 0` and `max_rise = 0`) at 95%: whatever
fails is a false alarm.  Unpaired, the two are halves of one draw; paired, they are the same items
with noise of their own.

Power: the second checkpoint is worse by a known amount, and the rule allows half of it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

import cl_analyze as cla
from cl_analyze.analysis.run import run_analysis
from cl_analyze.checks.baseline import BaselineSource
from cl_analyze.checks.judge import Earlier, judge, overall
from cl_analyze.checks.needs import needs, select
from cl_analyze.checks.rules import Rule
from cl_analyze.metrics.differences import match_rows

METRICS = {
    "uniformity": {},
    "tolerance": {},
    "penalty_false_negative_share": {"tau": 0.2},
    "effective_rank": {},
    "knn_accuracy": {"k": 10},
}
RULES = [Rule(m, params=params, max_drop=0.0, max_rise=0.0) for m, params in METRICS.items()]
N_CLASSES, DIMS = 6, 12
CENTRES = 1.2 * np.random.default_rng(0).standard_normal((N_CLASSES, DIMS))
WORSE = 0.8
"""Further noise of a checkpoint that is worse."""
Draw = tuple[np.ndarray, np.ndarray]


def items(random: np.random.Generator, n: int) -> Draw:
    """Rows of a mixture, and their classes."""
    labels = random.integers(0, N_CLASSES, n)
    return CENTRES[labels] + random.standard_normal((n, DIMS)), labels


def measured(rows: np.ndarray, labels: np.ndarray) -> cla.Report:
    """What the rules look at."""
    (need,) = needs(RULES)
    request = cla.Request(rows, labels, source="rows")
    run = cla.RunOptions(threads=1)
    return run_analysis([request], need.families, need.options, run, "check")


def verdict(rule: Rule, after: cla.Report, before: cla.Report, paired: bool) -> str:
    """The verdict of a rule on one checkpoint beside another."""
    (mine,), (theirs,) = after.rows.values(), before.rows.values()
    base = BaselineSource("before", theirs, tuple(before.records), None)
    match = match_rows(mine, theirs)
    assert (match.order is not None) == paired
    earlier = Earlier(select(rule, tuple(before.records), "before"), base, match)
    return overall(judge(rule, select(rule, tuple(after.records), "after"), earlier))


def draw(seed: Sequence[int], n: int, paired: bool, worse: float) -> tuple[cla.Report, cla.Report]:
    """Two checkpoints, before and after; `worse` is further noise of the second."""
    random = np.random.default_rng(seed)
    if paired:
        rows, labels = items(random, n)
        before, after = (rows + 0.3 * random.standard_normal(rows.shape) for _ in range(2))
        after = after + worse * random.standard_normal(rows.shape)
        return measured(before, labels), measured(after, labels)
    rows, labels = items(random, 2 * n)
    rows = rows + 0.3 * random.standard_normal(rows.shape)
    after = rows[n:] + worse * random.standard_normal((n, DIMS))
    return measured(rows[:n], labels[:n]), measured(after, labels[n:])


def failing(
    repeat: int, rules: Sequence[Rule], n: int, paired: bool, seed: int, worse: float = 0.0
) -> list[bool]:
    """Which rules fail on one comparison."""
    before, after = draw((seed, n, repeat), n, paired, worse)
    return [verdict(rule, after, before, paired) == "fail" for rule in rules]


def rates(
    rules: Sequence[Rule], n: int, repeats: int, paired: bool, seed: int, worse: float = 0.0
) -> list[float]:
    """Share of comparisons that fail, for each rule."""
    one = partial(failing, rules=rules, n=n, paired=paired, seed=seed, worse=worse)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, range(repeats), chunksize=max(repeats // 20, 1)))
    return [float(share) for share in np.mean(found, axis=0)]


def real_drop(seed: int, worse: float) -> float:
    """What further noise takes from tolerance, from many rows."""
    before, after = (
        report.records.find("tolerance").value or 0.0
        for report in draw((seed,), 10_000, True, worse)
    )
    return before - after


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    n, repeats = given.rows, given.repeats
    print(f"false alarms, share of {repeats} comparisons of {n} rows each\n")
    print(f"{'':30}{'halves':>9}{'paired':>9}")
    found = [rates(RULES, n, repeats, paired, given.seed) for paired in (False, True)]
    for rule, alone, with_pairs in zip(RULES, *found, strict=True):
        print(f"{rule.metric:30}{alone:9.3f}{with_pairs:9.3f}")
    print("\na real drop of tolerance, twice what the rule allows: how often it fails\n")
    print(f"{'rows':>6}{'drop':>9}{'unpaired':>10}{'paired':>9}")
    drop = real_drop(given.seed, WORSE)
    rule = Rule("tolerance", max_drop=drop / 2)
    for rows in (n // 2, 2 * n):
        (alone,), (with_pairs,) = (
            rates([rule], rows, max(repeats // 5, 10), paired, given.seed, WORSE)
            for paired in (False, True)
        )
        print(f"{rows:6}{drop:9.3f}{alone:10.2f}{with_pairs:9.2f}")


if __name__ == "__main__":
    main()
