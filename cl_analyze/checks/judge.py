"""The verdict of a rule: where the interval of a number lies beside a bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.checks.baseline import BaselineSource
from cl_analyze.checks.rules import OF_CHANGE, Rule
from cl_analyze.differences import (
    Match,
    error_units,
    not_comparable,
    params_text,
    record_difference,
)
from cl_analyze.errors import ConfigError
from cl_analyze.stats import Estimate, difference, rounding
from cl_analyze.tables import Record, number_text

Verdict = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("fail", "inconclusive", "warn", "skipped", "pass")
"""The verdicts, what needs attention first."""

COLUMNS = (
    "verdict",
    "source",
    "metric",
    "definition",
    "params",
    "rule",
    "bound",
    "value",
    "std_error",
    "baseline",
    "difference",
    "low",
    "high",
    "confidence",
    "severity",
    "paired",
    "text",
)


@dataclass(frozen=True)
class Check:
    """What one bound of a rule says of one checkpoint.

    Attributes:
        rule: the rule.
        kind: min, max, max_drop, max_rise or max_worse.
        bound: its value, of the number itself or of its change.
        record: the number.
        verdict: see `Verdict`.
        text: why, in one sentence.
        baseline: the baseline's value, None where the bound needs none or there is none.
        difference: value minus baseline.
        low, high: the interval that decided, of the value or of the difference; None: the point.
        paired: whether the difference is of the same rows; None where there is none.
    """

    rule: Rule
    kind: str
    bound: float
    record: Record
    verdict: Verdict
    text: str
    baseline: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    paired: bool | None = None

    @property
    def name(self) -> str:
        """The number and its bound, as reports list it."""
        params = " ".join(f"{key}={value}" for key, value in self.record.params.items())
        return f"{self.record.name} {params}".rstrip() + f": {self.rule_text}"

    @property
    def rule_text(self) -> str:
        """The bound in words."""
        value = getattr(self.rule, self.kind)
        of = " of the baseline" if self.rule.relative and self.baseline_needed else ""
        return f"{self.kind} {value:g}{of}"

    @property
    def baseline_needed(self) -> bool:
        """Whether the bound is one of a change."""
        return self.kind in OF_CHANGE

    def to_dict(self) -> dict[str, Any]:
        """A row of the table of checks."""
        return {
            "verdict": self.verdict,
            "source": self.record.source,
            "metric": self.record.metric,
            "definition": self.record.definition,
            "params": params_text(self.record),
            "rule": self.rule_text,
            "bound": self.bound,
            "value": self.record.value,
            "std_error": self.record.total_error,
            "baseline": self.baseline,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "confidence": self.rule.confidence,
            "severity": self.rule.severity,
            "paired": self.paired,
            "text": self.text,
        }


def overall(checks: Sequence[Check]) -> Verdict:
    """The verdict of all: fail where one fails; else what needs attention most; else pass.

    What was skipped says nothing of the others.
    """
    found = {check.verdict for check in checks}
    for verdict in ("fail", "inconclusive", "warn", "pass"):
        if verdict in found:
            return verdict
    return "skipped"


def counts_text(checks: Sequence[Check]) -> str:
    """How many checks have each verdict, what needs attention first."""
    counts = ((sum(check.verdict == each for check in checks), each) for each in VERDICTS)
    return ", ".join(f"{n} {each}" for n, each in counts if n)


def judge(
    rule: Rule,
    record: Record,
    base: BaselineSource | None,
    earlier: Record | None,
    match: Match | None,
    groups: NDArray[np.int64] | None,
) -> list[Check]:
    """One check for each bound of a rule.

    Args:
        rule: the rule.
        record: the number of the checkpoint.
        base: the baseline's checkpoint, None where there is no baseline.
        earlier: the same number there, where the rule needs one.
        match: how rows were matched.
        groups: of the checkpoint's rows that belong together.

    Raises:
        ConfigError: pairs are required and rows cannot be matched, or a relative bound of 0.
    """
    found = []
    for kind, size in rule.bounds:
        if kind in ("min", "max"):
            found.append(_of_value(rule, kind, size, record, groups))
        elif base is None or earlier is None or match is None:
            text = "skipped: no baseline is given (--baseline)"
            found.append(Check(rule, kind, size, record, "skipped", text))
        else:
            found.append(_of_change(rule, kind, size, record, base, earlier, match, groups))
    return found


def _of_value(
    rule: Rule, kind: str, bound: float, record: Record, groups: NDArray[np.int64] | None
) -> Check:
    """A bound of the value itself."""
    value = float(record.value or 0.0)
    units = error_units(record, groups)
    estimate = Estimate(value, error=record.total_error, units=units)
    interval = difference(estimate, Estimate(0.0, error=0.0), confidence=rule.confidence)
    low, high = record.interval_at(rule.confidence) or (interval.low, interval.high)
    side = _side(kind, value, bound, low, high)
    shown = f"{number_text(value, record.total_error)} {_interval(low, high, rule)}".rstrip()
    if groups is not None and units < 2:  # it says nothing of how far others would differ
        side, low, high = "across", None, None
        shown = f"{value:.4g}, of one group, which has no error bar"
    sign = "below the min" if kind == "min" else "above the max"
    verdict, text = _verdict(rule, side, shown, f"{sign} {bound:g}", f"{kind} {bound:g}")
    return Check(rule, kind, bound, record, verdict, text, low=low, high=high)


def _of_change(
    rule: Rule,
    kind: str,
    size: float,
    record: Record,
    base: BaselineSource,
    earlier: Record,
    match: Match,
    groups: NDArray[np.int64] | None,
) -> Check:
    """A bound of what the value falls or rises."""
    if rule.require_paired and match.order is None:
        raise ConfigError(f"{record.source}: {rule.name} requires paired rows; {match.text}")
    why = not_comparable(record, earlier, match.same_n)
    if why is not None:
        raise ConfigError(
            f"{record.source}: {rule.name} cannot be held against the baseline: {why}"
        )
    before, value = float(earlier.value or 0.0), float(record.value or 0.0)
    falls = kind == "max_drop" or (kind == "max_worse" and rule.better == "higher")
    step = -1.0 if falls else 1.0
    bound, factor = step * size, 1.0
    if rule.relative:
        if before == 0.0:
            raise ConfigError(
                f"{record.source}: {rule.name} is 0 in the baseline, so no share of it bounds a "
                "change: leave out relative"
            )
        bound = step * size * abs(before)
        # value - before - bound is value - factor * before, whose error has that of the bound
        factor = 1.0 + step * size * math.copysign(1.0, before)
    sample = base.sample_of(match)
    found = record_difference(record, earlier, match.order, groups, rule.confidence, factor, sample)
    shift = (factor - 1.0) * before
    low = None if found.low is None else found.low + shift
    high = None if found.high is None else found.high + shift
    change = value - before
    slack = rounding(value, before)
    side = _side("min" if step < 0 else "max", change, bound, low, high, slack)
    pairs = "paired" if found.paired else "unpaired"
    shown = f"{change:+.4g} from {before:.4g} {_interval(low, high, rule)}, {pairs}"
    of = f" ({size:g} of the baseline)" if rule.relative else ""
    what = "a drop of more than" if step < 0 else "a rise of more than"
    verdict, text = _verdict(
        rule, side, shown, f"{what} {abs(bound):.4g}{of}", f"{kind} {abs(bound):.4g}{of}"
    )
    return Check(rule, kind, bound, record, verdict, text, before, change, low, high, found.paired)


Side = Literal["inside", "beyond", "across"]


def _side(
    kind: str,
    point: float,
    bound: float,
    low: float | None,
    high: float | None,
    slack: float = 0.0,
) -> Side:
    """Where an interval lies, but for the slack of rounding; without one, the point."""
    if low is None or high is None:
        low = high = point
    if kind == "min":
        low, high, bound = -high, -low, -bound
    return "inside" if high <= bound + slack else "beyond" if low > bound + slack else "across"


def _verdict(rule: Rule, side: Side, shown: str, beyond: str, bound: str) -> tuple[Verdict, str]:
    if side == "inside":
        return "pass", f"{shown}: within {bound}"
    if side == "beyond":
        return rule.severity, f"{shown}: {beyond}"
    if rule.on_inconclusive == "fail":
        return rule.severity, f"{shown}: inconclusive beside {bound}, which counts as a failure"
    return "inconclusive", f"{shown}: inconclusive beside {bound}"


def _interval(low: float | None, high: float | None, rule: Rule) -> str:
    if low is None or high is None:
        return "(no error bar: the point decides)"
    return f"({100 * rule.confidence:g}% interval {low:.4g} to {high:.4g})"
