"""What must be computed for some rules, and which record a rule means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cl_analyze.analysis import metric_options
from cl_analyze.checks.rules import Rule
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.family import MetricOptions
from cl_analyze.similarity_groups import negative_rank
from cl_analyze.tables import Param, Record

_SCALARS = {
    "negatives": "negatives",
    "alpha": "hard_alpha",
    "lambda": "simple_lambda",
    "gamma": "kcl_gamma",
    "power": "alignment_power",
}
"""Parameters of records that are one option of a run each."""
_WITH_TAU = frozenset({"penalty", "losses"})


@dataclass(frozen=True)
class Need:
    """One analysis that serves some rules.

    Attributes:
        families: of metrics, in their order.
        options: with the parameters that the rules name.
        rules: indices of the rules.
    """

    families: tuple[str, ...]
    options: MetricOptions
    rules: tuple[int, ...]


def family_of(metric: str) -> str:
    """The family that a metric belongs to."""
    return next(name for name, family in METRICS.items() if metric in family.definitions)


def needs(rules: Sequence[Rule], seed: int = 0, anchors: int | None = None) -> list[Need]:
    """As few analyses as the rules allow: one for each set of options that exclude each other.

    Raises:
        ConfigError: a parameter that no run can have.
    """
    by_scalars: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for i, rule in enumerate(rules):
        by_scalars.setdefault(tuple(sorted(_scalars(rule).items())), []).append(i)
    found = []
    for scalars, indices in by_scalars.items():
        own = [rules[i] for i in indices]
        names = {family_of(rule.metric) for rule in own}
        try:
            options = metric_options(
                **dict(scalars), **_lists(own), top_k=_top_k(own), seed=seed, anchors=anchors
            )
        except (ConfigError, TypeError, ValueError) as error:
            names_of = ", ".join(rule.name for rule in own)
            raise ConfigError(f"the rules on {names_of}: {error}") from error
        options = replace(options, only=tuple(sorted({rule.metric for rule in own})))
        found.append(
            Need(tuple(name for name in METRICS if name in names), options, tuple(indices))
        )
    return found


def _scalars(rule: Rule) -> dict[str, Any]:
    """Options of a run that the rule's parameters fix."""
    found = {option: rule.params[key] for key, option in _SCALARS.items() if key in rule.params}
    if "t" in rule.params and family_of(rule.metric) == "losses":
        found["kcl_t"] = rule.params["t"]
    return found


def _lists(rules: Sequence[Rule]) -> dict[str, Any]:
    """Lists of parameters: those that rules name, and the default where one names none."""

    def values(key: str, families: frozenset[str], default: tuple[Any, ...]) -> Any:
        own = [rule for rule in rules if family_of(rule.metric) in families]
        named = [rule.params[key] for rule in own if key in rule.params]
        if any(key not in rule.params for rule in own):
            named = [*default, *named]
        return tuple(dict.fromkeys(named)) or None

    standard = MetricOptions()
    batches = [rule.params["batch_size"] for rule in rules if "batch_size" in rule.params]
    return {
        "ts": values("t", frozenset({"uniformity"}), standard.ts),
        "taus": values("tau", _WITH_TAU, standard.taus),
        "ks": _ks(rules, standard.ks),
        "batch_sizes": tuple(dict.fromkeys(batches)),
    }


_WITH_K = frozenset({"knn_accuracy", "knn_top5_accuracy", "recall_at_k"})


def _ks(rules: Sequence[Rule], default: tuple[int, ...]) -> tuple[Any, ...] | None:
    own = [rule for rule in rules if rule.metric in _WITH_K]
    named = [rule.params["k"] for rule in own if "k" in rule.params]
    if any("k" not in rule.params for rule in own):
        named = [*default, *named]
    return tuple(dict.fromkeys(named)) or (1,)


def _top_k(rules: Sequence[Rule]) -> int:
    """Nearest negatives that rules name, the default ten at least."""
    most = MetricOptions().top_k
    for rule in rules:
        most = max(most, negative_rank(rule.params.get("group")) or 0)
    return most


def same_param(wanted: Param, found: Param | None) -> bool:
    """Whether a parameter is the one that is meant; numbers agree to rounding."""
    if isinstance(wanted, str) or isinstance(found, str) or found is None:
        return wanted == found
    return math.isclose(wanted, found, rel_tol=1e-9)


def select(rule: Rule, records: Sequence[Record], where: str) -> Record:
    """The record that a rule means.

    Args:
        rule: the rule.
        records: of one source.
        where: how messages call the source.

    Raises:
        ConfigError: none, several, another unit, or one without a value.
    """
    of_metric = [record for record in records if record.metric == rule.metric]
    fitting = [
        record
        for record in of_metric
        if (rule.definition is None or record.definition == rule.definition)
        and all(same_param(value, record.params.get(key)) for key, value in rule.params.items())
    ]
    if not fitting:
        there = _listing(of_metric) or "none (does it need --labels or --pairs?)"
        raise ConfigError(f"{where}: no record for the rule {rule.name}; there are {there}")
    first = fitting[0]
    others = [record for record in fitting if record.params != first.params]
    if others:
        raise ConfigError(
            f"{where}: the rule {rule.name} means several records, say which by params: "
            f"{_listing(fitting)}"
        )
    if rule.unit is not None and rule.unit != first.unit:
        raise ConfigError(f"{where}: {rule.name} is in {first.unit}, the rule says {rule.unit}")
    if first.value is None:
        raise ConfigError(f"{where}: {rule.name} cannot be judged: {first.reason}")
    return first


def _listing(records: Sequence[Record], most: int = 12) -> str:
    """Records by name and parameters."""
    texts = [
        " ".join([record.name, *(f"{key}={value}" for key, value in record.params.items())])
        for record in records
    ]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
