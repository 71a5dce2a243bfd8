"""Measure the numbers that rules name, judge the rules, save a baseline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_analyze._version import __version__
from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import run_analysis
from cl_analyze.checks.baseline import Baseline, BaselineSource, save_baseline
from cl_analyze.checks.judge import Check, Earlier, Verdict, checks_table, judge, overall
from cl_analyze.checks.needs import needs, select
from cl_analyze.checks.rules import ORIGINAL, Rule
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Silent
from cl_analyze.inputs.variants import with_variants
from cl_analyze.metrics.differences import match_rows
from cl_analyze.options import QUANTISED, Request, RunOptions
from cl_analyze.results.tables import Record, Results


@dataclass(frozen=True)
class CheckOptions:
    """Options of a run of checks.

    Attributes:
        baseline: earlier numbers; None: bounds of the change of a variant are against its original,
            those of other checkpoints are skipped.
        save_to: path of a new baseline with these numbers; None: no baseline is saved.
        seed: seed of all random draws.
        anchors: number of rows from which means are estimated; None: all rows.
    """

    baseline: Baseline | None = None
    save_to: Path | None = None
    seed: int = 0
    anchors: int | None = None


@dataclass(frozen=True)
class Checked:
    """The verdicts on some checkpoints.

    Attributes:
        report: the numbers that the rules name; the report's table `checks` and its verdict are
            those of the checks.
        checks: one check for each checkpoint, rule and bound, in this order.
    """

    report: Report
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of all checks."""
        return overall(self.checks)


def run_checks(
    requests: Sequence[Request],
    rules: Sequence[Rule],
    run: RunOptions,
    options: CheckOptions | None = None,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Checked:
    """Measure checkpoints, and judge every rule on each of them.

    Args:
        requests: the checkpoints.
        rules: the rules, at least one.
        run: options of the computation.
        options: the old and the new baseline, the seed and the anchors.
        executor, listener, arguments: see `run_analysis`.

    Raises:
        ConfigError: a rule fits no record or several records, or the baseline lacks the number.
        DataError: the inputs cannot be used.
    """
    listener, options = listener or Silent(), options or CheckOptions()
    baseline = options.baseline
    if baseline is not None and baseline.version != __version__:
        listener.note(f"{baseline.path} was written by version {baseline.version}")
    for rule in rules:
        for note in filter(None, map(rule.note_on, rule.bounds)):
            listener.note(f"{rule.name}: {note}")
    requests = with_variants(replace(request, match=True) for request in requests)
    _require_variants(rules, {request.variant or ORIGINAL for request in requests})
    reports = []
    chosen: dict[tuple[str, int], Record] = {}
    for need in needs(rules, options.seed, options.anchors):
        report = run_analysis(
            requests,
            need.families,
            replace(need.options, projection="none"),
            run,
            "check",
            executor,
            listener,
            arguments,
        )
        reports.append(report)
        for source in report.rows:
            of_source = [record for record in report.records if record.source == source]
            variant = _variant(source, report)
            for i in need.rules:
                if rules[i].is_for(variant) or variant == ORIGINAL:
                    chosen[source, i] = select(rules[i], of_source, source)
    report = reports[0]
    checks: list[Check] = []
    named: list[Record] = []
    for source in report.rows:
        own = {
            i: chosen[source, i]
            for i, rule in enumerate(rules)
            if rule.is_for(_variant(source, report))
        }
        named += own.values()
        earlier = _earlier(source, own, rules, report, chosen, baseline, listener)
        for i, record in own.items():
            checks += judge(rules[i], record, earlier.get(i), report.groups.get(source))
    records = list({id(record): record for record in named}.values())
    warnings = dict.fromkeys(text for report in reports for text in report.warnings)
    document = replace(
        report.document,
        inputs=_inputs(reports),
        results=Results(records),
        families=_families(reports, records),
        tables={"checks": checks_table(checks)},
        warnings=tuple(warnings),
        verdict=overall(checks),
    )
    report = replace(report, document=document)
    if options.save_to is not None:
        for path in save_baseline(options.save_to, report, records, options.seed):
            listener.note(f"wrote {path}")
    return Checked(report, tuple(checks))


def _require_variants(rules: Sequence[Rule], present: Collection[str]) -> None:
    """Check that every rule is for a variant that is asked for.

    Args:
        rules: the rules.
        present: names of the variants, and `ORIGINAL`.

    Raises:
        ConfigError: a rule is for another variant.
    """
    for rule in rules:
        if rule.variant is not None and rule.variant not in present:
            raise ConfigError(
                f"the rule {rule.name} is for {rule.variant}, and there is no such variant: pass "
                f"{_asked_by(rule.variant)}"
            )


def _earlier(
    source: str,
    own: Mapping[int, Record],
    rules: Sequence[Rule],
    report: Report,
    chosen: Mapping[tuple[str, int], Record],
    baseline: Baseline | None,
    listener: Listener,
) -> dict[int, Earlier]:
    """The numbers that bounds of the change of a source are held against, by rule.

    Those of the baseline; without one, those of the original of a variant.

    Args:
        own: rule -> its number of the source.
        chosen: source and rule -> number.
    """
    of_change = [i for i in own if rules[i].needs_baseline]
    original = report.originals[source]
    if not of_change or (baseline is None and original == source):
        return {}
    if baseline is not None:
        place = str(baseline.path)
        base = baseline.of(source, report.document.variants[source])
    else:
        place = "this run"
        of_original = tuple(chosen[original, i] for i in own)
        base = BaselineSource(original, report.rows[original], of_original, None)
    match = match_rows(report.rows[source], base.keys)
    listener.note(f"{source} against {base.source} of {place}: {match.text}")
    return {i: Earlier(_same_number(rules[i], own[i], base, place), base, match) for i in of_change}


def _asked_by(variant: str) -> str:
    """The option that asks for a variant: `--dims 64`."""
    change, _, dims = variant.partition("=")
    if dims:
        return f"--dims {dims}"
    return f"--quantise {change}" if change in QUANTISED else f"--transform {change}"


def _variant(source: str, report: Report) -> str:
    """The name of the variant that a source is; of a checkpoint as it is saved, `ORIGINAL`."""
    return report.document.variants[source] or ORIGINAL


def _same_number(rule: Rule, record: Record, base: BaselineSource, path: str) -> Record:
    """The baseline's number of the same metric, definition and parameters."""
    of_metric = [other for other in base.records if other.metric == record.metric]
    for other in of_metric:
        if (other.definition, other.params) == (record.definition, record.params):
            if other.value is None:
                raise ConfigError(f"{path}: {rule.name} is undefined: {other.reason}")
            return other
    wanted = f"definition {record.definition}, params {record.params}"
    known = "; ".join(f"definition {r.definition}, params {r.params}" for r in of_metric)
    raise ConfigError(
        f"{path} has no {record.metric} with {wanted}; it has {known or 'none'}: save the "
        "baseline again with these rules"
    )


def _inputs(reports: Sequence[Report]) -> tuple[dict[str, Any], ...]:
    """The entries of all reports, each once."""
    entries: list[dict[str, Any]] = []
    for report in reports:
        entries += [entry for entry in report.document.inputs if entry not in entries]
    return tuple(entries)


def _families(reports: Sequence[Report], records: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    """Each family with the indices of its records, in the order of the reports."""
    index_of = {id(record): i for i, record in enumerate(records)}
    families: dict[str, tuple[int, ...]] = {}
    for report in reports:
        for family, indices in report.document.families.items():
            ids = (id(report.records[i]) for i in indices)
            kept = tuple(index_of[key] for key in ids if key in index_of)
            if kept:
                families[family] = families.get(family, ()) + kept
    return families
