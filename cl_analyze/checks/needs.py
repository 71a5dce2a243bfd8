"""Which analyses some rules need, and which record a rule means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cl_analyze.checks.rules import Rule, family_of
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import METRICS
from cl_analyze.options import MetricOptions
from cl_analyze.quoting import some
from cl_analyze.tables import Param, Record

_OPTIONS = {
    "negatives": "negatives",
    "alpha": "hard_alpha",
    "lambda": "simple_lambda",
    "gamma": "kcl_gamma",
    "power": "alignment_power",
}
"""Parameter of a record -> the option that has one value in a run."""
_FAMILIES_WITH_TAU = frozenset({"penalty", "losses"})
_METRICS_WITH_K = frozenset({"knn_accuracy", "knn_top5_accuracy", "recall_at_k"})
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
    """As few analyses as the rules allow: one for each set of options that exclude each other.

    Raises:
        ConfigError: a parameter that no run can have.
    """
    by_options: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for i, rule in enumerate(rules):
        by_options.setdefault(tuple(sorted(_run_options(rule).items())), []).append(i)
    result = []
    for run_options, indices in by_options.items():
        own = [rules[i] for i in indices]
        try:
            options = MetricOptions(
                **dict(run_options), **_lists(own), top_k=_top_k(own), seed=seed, anchors=anchors
            )
        except (ConfigError, TypeError, ValueError) as error:
            names = ", ".join(rule.name for rule in own)
            raise ConfigError(f"the rules on {names}: {error}") from error
        options = replace(options, only=tuple(sorted({rule.metric for rule in own})))
        named = {family_of(rule.metric) for rule in own}
        families = tuple(family for family in METRICS if family in named)
        result.append(Need(families, options, tuple(indices)))
    return result


def _run_options(rule: Rule) -> dict[str, Any]:
    """Options with one value in a run that the rule's parameters fix."""
    options = {option: rule.params[key] for key, option in _OPTIONS.items() if key in rule.params}
    if "t" in rule.params and family_of(rule.metric) == "losses":
        options["kcl_t"] = rule.params["t"]
    return options


def _lists(rules: Sequence[Rule]) -> dict[str, Any]:
    """Options with several values in a run."""
    default = MetricOptions()
    with_t = [rule for rule in rules if family_of(rule.metric) == "uniformity"]
    with_tau = [rule for rule in rules if family_of(rule.metric) in _FAMILIES_WITH_TAU]
    with_k = [rule for rule in rules if rule.metric in _METRICS_WITH_K]
    with_batches = [rule for rule in rules if "batch_size" in rule.params]
    return {
        "ts": _values(with_t, "t", default.ts) or None,
        "taus": _values(with_tau, "tau", default.taus) or None,
        "ks": _values(with_k, "k", default.ks) or (1,),
        "batch_sizes": _values(with_batches, "batch_size", ()),
    }


def _values(rules: Sequence[Rule], key: str, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values that rules name, after the default ones if a rule names no value."""
    named = [rule.params[key] for rule in rules if key in rule.params]
    start = default if len(named) < len(rules) else ()
    return tuple(dict.fromkeys([*start, *named]))


def _top_k(rules: Sequence[Rule]) -> int:
    """Nearest negatives that rules name, the default ten at least."""
    most = MetricOptions().top_k
    for rule in rules:
        _, _, rank = str(rule.params.get("group", "")).partition("negative_")
        if rank.isascii() and rank.isdigit() and len(rank) < 10:
            most = max(most, int(rank))
    return most


def _is_same(wanted: Param, value: Param | None) -> bool:
    """Whether two values of a parameter agree, numbers but for rounding."""
    if isinstance(wanted, str) or isinstance(value, str) or value is None:
        return wanted == value
    return math.isclose(wanted, value, rel_tol=1e-9)


def select(rule: Rule, records: Sequence[Record], source: str) -> Record:
    """The record that a rule means.

    Args:
        rule: the rule.
        records: the records of one source.
        source: the name of the source, for messages.

    Raises:
        ConfigError: the rule fits no record or several, the record has another unit than the rule,
            or the record has no value.
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
            f"{_listing(fitting)}"
        )
    if rule.unit not in (None, first.unit):
        raise ConfigError(f"{source}: {rule.name} is in {first.unit}, the rule says {rule.unit}")
    if first.value is None:
        raise ConfigError(f"{source}: {rule.name} cannot be judged: {first.reason}")
    return first


def _listing(records: Sequence[Record]) -> str:
    return some((record.full_name for record in records), _MOST_LISTED)
