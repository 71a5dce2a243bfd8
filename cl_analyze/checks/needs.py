"""The analyses that some rules need, and the record that a rule names."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cl_analyze.checks.rules import Rule, family_of
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import DECLARED, METRICS
from cl_analyze.options import MetricOptions
from cl_analyze.options.declaration import options_of
from cl_analyze.quoting import some
from cl_analyze.results.similarity_groups import negative_rank
from cl_analyze.results.tables import Param, Record

_LISTS = [name for name, each in options_of(MetricOptions).items() if each.kind.is_list]
_OF_SEVERAL_VALUES = frozenset({*_LISTS, "top_k"})
"""Options with several values in one run: one run serves rules with different values."""
_MOST_LISTED = 12


@dataclass(frozen=True)
class Need:
    """One analysis that serves some rules.

    Attributes:
        families: metric families, in the order of METRICS.
        options: the options of the analysis, with the parameters that the rules name.
        rules: indices of the rules.
    """

    families: tuple[str, ...]
    options: MetricOptions
    rules: tuple[int, ...]


def needs(rules: Sequence[Rule], seed: int = 0, anchors: int | None = None) -> list[Need]:
    """The fewest analyses that serve all rules: rules share one unless their options differ.

    Raises:
        ConfigError: a rule has a parameter that no run can have.
    """
    by_options: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for i, rule in enumerate(rules):
        by_options.setdefault(tuple(sorted(_run_options(rule).items())), []).append(i)
    result = []
    for run_options, indices in by_options.items():
        served = [rules[i] for i in indices]
        try:
            options = MetricOptions(
                **dict(run_options),
                **_lists(served),
                top_k=_top_k(served),
                seed=seed,
                anchors=anchors,
            )
        except (ConfigError, TypeError, ValueError) as error:
            names = ", ".join(rule.name for rule in served)
            raise ConfigError(f"the rules on {names}: {error}") from error
        options = replace(options, only=tuple(sorted({rule.metric for rule in served})))
        needed = {family_of(rule.metric) for rule in served}
        families = tuple(family for family in METRICS if family in needed)
        result.append(Need(families, options, tuple(indices)))
    return result


def _run_options(rule: Rule) -> dict[str, Any]:
    """Options with a single value in a run that the parameters of a rule set."""
    return {
        parameter.option: rule.params[parameter.name]
        for parameter in DECLARED[rule.metric].parameters
        if parameter.option
        and parameter.option not in _OF_SEVERAL_VALUES
        and parameter.name in rule.params
    }


def _lists(rules: Sequence[Rule]) -> dict[str, Any]:
    """Options with several values in a run: values of the rules, and the default.

    The default is added where a rule leaves out the parameter.  An option that no metric of the
    rules reads keeps its default, except `ks` and `batch_sizes`: each of their values costs time,
    so they get the cheapest value.
    """
    default, lists = MetricOptions(), {"ks": (1,), "batch_sizes": ()}
    for option in _LISTS:
        of_rules: list[Param] = []
        needs_default = False
        for rule in rules:
            for parameter in DECLARED[rule.metric].parameters:
                if parameter.option == option and parameter.name in rule.params:
                    of_rules.append(rule.params[parameter.name])
                elif parameter.option == option:
                    needs_default = True
        values = (*(getattr(default, option) if needs_default else ()), *of_rules)
        if values:
            lists[option] = tuple(dict.fromkeys(values))
    return lists


def _top_k(rules: Sequence[Rule]) -> int:
    """The largest rank of a nearest negative that rules name, at least the default."""
    most = MetricOptions().top_k
    for rule in rules:
        most = max(most, negative_rank(rule.params.get("group")) or 0)
    return most


def _is_same(wanted: Param, value: Param | None) -> bool:
    """Whether two values of a parameter are equal; numbers may differ by rounding."""
    if isinstance(wanted, str) or isinstance(value, str) or value is None:
        return wanted == value
    return math.isclose(wanted, value, rel_tol=1e-9)


def select(rule: Rule, records: Sequence[Record], source: str) -> Record:
    """The record that a rule names.

    Args:
        rule: the rule.
        records: the records of one source.
        source: the name of the source, for messages.

    Raises:
        ConfigError: the rule fits no record or several records, the record has another unit than
            the rule, or the record has no value.
    """
    of_metric = [record for record in records if record.metric == rule.metric]
    fitting = [
        record
        for record in of_metric
        if rule.definition in (None, record.definition)
        and all(_is_same(value, record.params.get(key)) for key, value in rule.params.items())
    ]
    if not fitting:
        known = _listing(of_metric) or "none (does it need --labels or --pairs?)"
        raise ConfigError(f"{source}: no record for the rule {rule.name}; there are {known}")
    first = fitting[0]
    if any(record.params != first.params for record in fitting):
        raise ConfigError(
            f"{source}: the rule {rule.name} means several records, say which by params: "
            f"{_listing(fitting)}; the first is {_params_line(fitting)}"
        )
    if rule.unit not in (None, first.unit):
        raise ConfigError(f"{source}: {rule.name} is in {first.unit}, the rule says {rule.unit}")
    if first.value is None:
        raise ConfigError(f"{source}: {rule.name} cannot be judged: {first.reason}")
    return first


def _params_line(records: Sequence[Record]) -> str:
    """The line of a rules file that tells the first record from the others."""
    keys = dict.fromkeys(key for record in records for key in record.params)
    first = records[0].params
    own = [key for key in keys if any(r.params.get(key) != first.get(key) for r in records)]
    values = (f"{key} = {json.dumps(first[key])}" for key in own if key in first)
    return f"params = {{ {', '.join(values)} }}"


def _listing(records: Sequence[Record]) -> str:
    return some((record.full_name for record in records), _MOST_LISTED)
