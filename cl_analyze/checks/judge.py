"""The verdict of a rule: on which side of a bound the interval of a number lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.checks.baseline import BaselineSource
from cl_analyze.checks.rules import OF_CHANGE, Rule
from cl_analyze.errors import ConfigError
from cl_analyze.metrics.differences import (
    Match,
    error_units,
    not_comparable,
    params_text,
    record_difference,
)
from cl_analyze.results.stats import Estimate, difference, rounding
from cl_analyze.results.tables import Record, Table, number_text

Groups = NDArray[np.int64]
Verdict = Literal["pass", "warn", "fail", "inconclusive", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("fail", "inconclusive", "warn", "skipped", "pass")
"""The verdicts, the most urgent first."""


@dataclass(frozen=True)
class Earlier:
    """The baseline's number for a comparison.

    Attributes:
        record: the number of the baseline.
        source: the checkpoint of the baseline.
        match: the match of the rows of both checkpoints.
    """

    record: Record
    source: BaselineSource
    match: Match


@dataclass(frozen=True)
class Check:
    """The verdict of one bound of a rule on one checkpoint.

    Attributes:
        rule: the rule.
        kind: min, max, max_drop, max_rise or max_worse.
        bound: the bound of the value, or of the change against the baseline.
        record: the number.
        verdict: the verdict.
        text: the reason in one sentence.
        baseline: value of the baseline; None where the bound or the run has no baseline.
        difference: value minus baseline; None without a baseline.
        low, high: the interval of the value or of the difference that decided; None: the point
            value decided.
        paired: whether the difference was computed on matched rows; None without a baseline.
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
        return f"{self.record.full_name}: {self.rule_text}"

    @property
    def rule_text(self) -> str:
        """The bound in words."""
        share = " of the baseline" if self.rule.relative and self.kind in OF_CHANGE else ""
        return f"{self.kind} {self.rule.bounds[self.kind]:g}{share}"

    @property
    def note(self) -> str | None:
        """What is likely to be wrong with the bound; None where nothing is."""
        return self.rule.note_on(self.kind)

    @property
    def why(self) -> str:
        """The reason and the note."""
        return self.text if self.note is None else f"{self.text} (note: {self.note})"

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
            "note": self.note,
        }


def checks_table(checks: Iterable[Check]) -> Table:
    """The checks as a table; there must be at least one."""
    rows = tuple(check.to_dict() for check in checks)
    return Table("checks", tuple(rows[0]), rows)


def ranked(checks: Iterable[Check]) -> list[Check]:
    """The checks, the most urgent verdicts first."""
    return sorted(checks, key=lambda check: VERDICTS.index(check.verdict))


def overall(checks: Sequence[Check]) -> Verdict:
    """The most urgent verdict; skipped checks count only where all are skipped."""
    verdicts = [check.verdict for check in ranked(checks) if check.verdict != "skipped"]
    return verdicts[0] if verdicts else "skipped"


def counts_text(checks: Sequence[Check]) -> str:
    """The number of checks with each verdict, the most urgent first."""
    counts = ((sum(check.verdict == verdict for check in checks), verdict) for verdict in VERDICTS)
    return ", ".join(f"{n} {verdict}" for n, verdict in counts if n)


def judge(
    rule: Rule, record: Record, earlier: Earlier | None = None, groups: Groups | None = None
) -> list[Check]:
    """One check for each bound of a rule.

    Args:
        rule: the rule.
        record: the number of the checkpoint.
        earlier: the same number of the baseline; None: bounds of the change are skipped.
        groups: (N,) codes of the checkpoint's rows that belong together.

    Raises:
        ConfigError: the numbers cannot be compared, the rule requires pairs and the rows cannot be
            matched, or a bound is relative and the baseline's value is 0.
    """
    checks = []
    for kind, size in rule.bounds.items():
        if kind not in OF_CHANGE:
            checks.append(_check_of_value(rule, kind, size, record, groups))
        elif earlier is None:
            text = "skipped: no baseline is given (--baseline)"
            checks.append(Check(rule, kind, size, record, "skipped", text))
        else:
            checks.append(_check_of_change(rule, kind, size, record, earlier, groups))
    return checks


def _check_of_value(
    rule: Rule, kind: str, bound: float, record: Record, groups: Groups | None
) -> Check:
    value, error = float(record.value or 0.0), record.total_error
    units = error_units(record, groups)
    estimate = Estimate(value, error=record.total_error, units=units)
    interval = difference(estimate, Estimate(0.0, error=0.0), confidence=rule.confidence)
    low, high = record.interval_at(rule.confidence) or (interval.low, interval.high)
    side = _side(kind, value, bound, low, high)
    shown = f"{number_text(value, error)} {_interval_text(low, high, rule)}"
    if groups is not None and units < 2:  # one group has no variance between groups
        side, low, high = "across", None, None
        shown = f"{value:.4g}, of one group, which has no error bar"
    sides = ("above", "below") if kind == "min" else ("below", "above")
    name = f"the {kind}imum of {bound:g}"
    is_at = bound in (low, high) or value == bound
    inside, beyond = f"{'at' if is_at else sides[0]} {name}", f"{sides[1]} {name}"
    verdict, text = _verdict(rule, side, shown, inside, beyond, name)
    return Check(rule, kind, bound, record, verdict, text, low=low, high=high)


def _check_of_change(
    rule: Rule, kind: str, size: float, record: Record, earlier: Earlier, groups: Groups | None
) -> Check:
    match, other = earlier.match, earlier.record
    if rule.require_paired and match.order is None:
        raise ConfigError(f"{record.source}: {rule.name} requires paired rows; {match.text}")
    reason = not_comparable(record, other, match.same_n)
    if reason is not None:
        raise ConfigError(
            f"{record.source}: {rule.name} cannot be held against the numbers of "
            f"{other.source}: {reason}"
        )
    before, value = float(other.value or 0.0), float(record.value or 0.0)
    is_drop = kind == "max_drop" or (kind == "max_worse" and rule.better == "higher")
    bound, factor = -size if is_drop else size, 1.0
    if rule.relative:
        if before == 0.0:
            raise ConfigError(
                f"{record.source}: {rule.name} is 0 in the baseline, so no share of it bounds a "
                "change: leave out relative"
            )
        # value - before - bound = value - factor * before: so the error of the bound counts too
        factor = 1.0 + bound * math.copysign(1.0, before)
        bound *= abs(before)
    sample = earlier.source.sample_of(match)
    paired = record_difference(record, other, match.order, groups, rule.confidence, factor, sample)
    shift = (factor - 1.0) * before
    low = None if paired.low is None else paired.low + shift
    high = None if paired.high is None else paired.high + shift
    change = value - before
    side = _side("min" if is_drop else "max", change, bound, low, high, rounding(value, before))
    pairs = "paired" if paired.paired else "unpaired"
    shown = f"{change:+.4g} from {before:.4g} {_interval_text(low, high, rule)}, {pairs}"
    limit = f"{abs(bound):.4g}" + (f" ({size:g} of the baseline)" if rule.relative else "")
    direction = "drop" if is_drop else "rise"
    verdict, text = _verdict(
        rule,
        side,
        shown,
        f"within {kind} {limit}",
        f"a {direction} of more than {limit}",
        f"{kind} {limit}",
    )
    return Check(rule, kind, bound, record, verdict, text, before, change, low, high, paired.paired)


Side = Literal["inside", "beyond", "across"]


def _side(
    kind: str,
    point: float,
    bound: float,
    low: float | None,
    high: float | None,
    slack: float = 0.0,
) -> Side:
    """The side of a bound on which an interval lies; a point value is an interval of length 0.

    Args:
        kind: "min" for a lower bound; every other kind is an upper bound.
        point: the value or the change.
        bound: the bound of it.
        low, high: ends of the interval; None: no error is known, and the point decides.
        slack: distance beyond the bound that rounding alone can make.
    """
    if low is None or high is None:
        low = high = point
    if kind == "min":
        low, high, bound = -high, -low, -bound
    return "inside" if high <= bound + slack else "beyond" if low > bound + slack else "across"


def _verdict(
    rule: Rule, side: Side, shown: str, inside: str, beyond: str, bound: str
) -> tuple[Verdict, str]:
    """The verdict and its reason, from parts of the sentence: value, both sides, and the bound."""
    if side == "inside":
        return "pass", f"{shown}: {inside}"
    if side == "beyond":
        return rule.severity, f"{shown}: {beyond}"
    if rule.on_inconclusive == "fail":
        return rule.severity, f"{shown}: inconclusive beside {bound}, which counts as a failure"
    return "inconclusive", f"{shown}: inconclusive beside {bound}"


def _interval_text(low: float | None, high: float | None, rule: Rule) -> str:
    if low is None or high is None:
        return "(no error bar: the point decides)"
    return f"({100 * rule.confidence:g}% interval {low:.4g} to {high:.4g})"
