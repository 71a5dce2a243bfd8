"""Compute what rules name, judge it, keep a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_analyze._version import __version__
from cl_analyze.analysis import Report, run_analysis
from cl_analyze.checks.baseline import Baseline, BaselineSource, save_baseline
from cl_analyze.checks.judge import COLUMNS, Check, Verdict, judge, overall
from cl_analyze.checks.needs import needs, select
from cl_analyze.checks.rules import Rule
from cl_analyze.differences import Match, match_rows
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Silent
from cl_analyze.options import Request, RunOptions
from cl_analyze.tables import Record, Results, Table


@dataclass(frozen=True)
class Checked:
    """What came out of some rules.

    Attributes:
        report: what was measured; its table `checks` and its verdict are those of the checks.
        checks: one for each checkpoint, rule and bound, in this order.
    """

    report: Report
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of all."""
        return overall(self.checks)


def run_checks(
    requests: Sequence[Request],
    rules: Sequence[Rule],
    run: RunOptions,
    baseline: Baseline | None = None,
    save_to: Path | None = None,
    seed: int = 0,
    anchors: int | None = None,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Checked:
    """Measure checkpoints, and judge every rule on each.

    Args:
        requests: the checkpoints.
        rules: what must hold.
        run: how to compute.
        baseline: what changes are measured against; None: such bounds are skipped.
        save_to: where to keep these numbers as a baseline; None: nowhere.
        seed, anchors, executor, listener, arguments: as for an analysis.

    Raises:
        ConfigError: a rule that matches no record or several, or that the baseline has not.
        DataError: inputs that cannot be used.
    """
    told = listener or Silent()
    if baseline is not None and baseline.version != __version__:
        told.note(f"{baseline.path} was written by version {baseline.version}")
    for rule in rules:
        if rule.guards_the_better_side is not None:
            told.note(
                f"{rule.name}: {rule.better} is better, and {rule.guards_the_better_side} stops it "
                "from getting better; max_worse stops it from getting worse"
            )
    requests = [replace(request, match=True) for request in requests]
    reports = []
    chosen: dict[tuple[str, int], Record] = {}
    for need in needs(rules, seed, anchors):
        report = run_analysis(
            requests, need.families, need.options, run, "check", executor, told, arguments
        )
        reports.append(report)
        for source in report.document.sources or tuple(report.rows):
            own = [record for record in report.records if record.source == source]
            for i in need.rules:
                chosen[source, i] = select(rules[i], own, source)
    report = reports[0]
    checks: list[Check] = []
    for source, keys in report.rows.items():
        base: BaselineSource | None = None
        match: Match | None = None
        if baseline is not None and any(rule.needs_baseline for rule in rules):
            base = baseline.of(source)
            match = match_rows(keys, base.keys)
            told.note(f"{source} against {base.source} of {baseline.path}: {match.text}")
        for i, rule in enumerate(rules):
            record = chosen[source, i]
            earlier = None
            if base is not None and baseline is not None and rule.needs_baseline:
                earlier = _earlier(rule, record, base, baseline)
            groups = report.groups.get(source)
            checks += judge(rule, record, base, earlier, match, groups)
    named = [chosen[s, i] for s in report.rows for i in range(len(rules))]
    records = list({id(record): record for record in named}.values())
    document = replace(
        report.document,
        inputs=_inputs(reports),
        results=Results(records),
        families=_families(reports, records),
        tables={"checks": Table("checks", COLUMNS, tuple(check.to_dict() for check in checks))},
        warnings=tuple(dict.fromkeys(text for each in reports for text in each.warnings)),
        verdict=overall(checks),
    )
    report = replace(report, document=document)
    if save_to is not None:
        for path in save_baseline(save_to, report, records, seed):
            told.note(f"wrote {path}")
    return Checked(report, tuple(checks))


def _earlier(rule: Rule, record: Record, base: BaselineSource, baseline: Baseline) -> Record:
    """The baseline's number, of the same definition and parameters.

    Raises:
        ConfigError: it has none.
    """
    of_metric = [each for each in base.records if each.metric == record.metric]
    for each in of_metric:
        if (each.definition, each.params) == (record.definition, record.params):
            if each.value is None:
                raise ConfigError(f"{baseline.path}: {rule.name} is undefined: {each.reason}")
            return each
    wanted = f"definition {record.definition}, params {record.params}"
    there = "; ".join(f"definition {r.definition}, params {r.params}" for r in of_metric)
    raise ConfigError(
        f"{baseline.path} has no {record.metric} with {wanted}; it has {there or 'none'}: save the "
        "baseline again with these rules"
    )


def _inputs(reports: Sequence[Report]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for report in reports:
        found += [entry for entry in report.document.inputs if entry not in found]
    return tuple(found)


def _families(reports: Sequence[Report], records: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    """Families with the indices of their records."""
    found: dict[str, list[int]] = {}
    place = {id(record): i for i, record in enumerate(records)}
    for report in reports:
        for family, indices in report.document.families.items():
            own = [report.records[i] for i in indices]
            kept = [place[id(record)] for record in own if id(record) in place]
            if kept:
                found.setdefault(family, []).extend(kept)
    return {family: tuple(indices) for family, indices in found.items()}
