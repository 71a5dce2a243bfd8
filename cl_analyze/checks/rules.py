"""Rules, read from cl-analyze.toml or pyproject.toml: each rule has bounds of one number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.metrics.metric import Better
from cl_analyze.options import QUANTISED, TRANSFORMED
from cl_analyze.project_file import (
    OWN_FILE,
    PROJECT_FILE,
    RULES,
    find_project_file,
    read_project_file,
)
from cl_analyze.quoting import described, nearest, quoted
from cl_analyze.results.tables import Param, Unit, full_name

Severity = Literal["fail", "warn"]
LARGEST = 1e300
ORIGINAL = "original"
_VARIANT = re.compile("|".join((ORIGINAL, *QUANTISED, *TRANSFORMED, "dims=[1-9][0-9]*")))
BOUNDS = ("min", "max", "max_drop", "max_rise", "max_worse")
OF_CHANGE = BOUNDS[2:]
"""Bounds of the change against a baseline; the others are bounds of the value."""
PARAMETERS = {
    parameter.name: parameter for metric in DECLARED.values() for parameter in metric.parameters
}
"""Parameters of the records of all metrics, by name."""


def family_of(metric: str) -> str:
    """The name of the family that a metric belongs to."""
    return next(name for name, family in METRICS.items() if metric in family.definitions)


@dataclass(frozen=True)
class Rule:
    """The bounds of one number.

    Attributes:
        metric: name of the metric.
        definition: name of the definition; None: the default definition.
        params: parameters that the number must have; a parameter that the rule leaves out may have
            any value, if only one number fits.
        unit: expected unit of the number, a guard against a wrong number; None: any unit.
        variant: the variant that the rule is for, such as int8 or dims=64; "original": checkpoints
            as they are saved; None: every source.
        min, max: bounds of the value.
        max_drop, max_rise: bounds of the fall and of the rise against the baseline, >= 0.
        max_worse: bound of the change in the worse direction, >= 0.
        relative: whether bounds of the change are shares of the baseline's value.
        confidence: confidence of the two-sided interval that decides.
        severity: verdict on an interval beyond a bound.
        on_inconclusive: verdict on an interval across a bound.
        require_paired: whether a baseline whose rows cannot be matched is an error.
    """

    metric: str
    definition: str | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    unit: str | None = None
    variant: str | None = None
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    max_rise: float | None = None
    max_worse: float | None = None
    relative: bool = False
    confidence: float = 0.95
    severity: Severity = "fail"
    on_inconclusive: Severity = "warn"
    require_paired: bool = False

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are set, by name."""
        values = {name: getattr(self, name) for name in BOUNDS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def needs_baseline(self) -> bool:
        """Whether the rule bounds the change against a baseline."""
        return not self.bounds.keys().isdisjoint(OF_CHANGE)

    @property
    def better(self) -> Better | None:
        """Whether high or low values are better; None: neither."""
        return METRICS[family_of(self.metric)].better(self.metric, self.params)

    @property
    def guards_the_better_side(self) -> str | None:
        """The name of a bound that stops the number from getting better, a likely mistake."""
        on_better_side = {"lower": "max_drop", "higher": "max_rise"}.get(self.better or "")
        return on_better_side if on_better_side in self.bounds else None

    def note_on(self, kind: str) -> str | None:
        """What is likely to be wrong with a bound; None where nothing is."""
        if kind != self.guards_the_better_side:
            return None
        return (
            f"{self.better} is better, and {kind} stops it from getting better; max_worse stops "
            "it from getting worse"
        )

    @property
    def name(self) -> str:
        """The name of the number in messages."""
        return full_name(self.metric, self.definition, self.params)

    def is_for(self, variant: str) -> bool:
        """Whether the rule is for a variant, or for checkpoints as they are saved (ORIGINAL)."""
        return self.variant in (None, variant)


def find_rules(path: Path | None, folder: Path) -> Path:
    """The file of rules: `path`, else cl-analyze.toml, else a pyproject.toml that has rules.

    Raises:
        ConfigError: the folder has no file of rules.
    """
    if path is not None:
        return path
    found = find_project_file(folder)
    if found is not None:
        return found
    raise ConfigError(
        f"no rules: pass --rules FILE, or write {OWN_FILE} (or [tool.cl-analyze] in "
        f"{PROJECT_FILE}) with [[rule]] tables"
    )


def load_rules(path: Path) -> list[Rule]:
    """Read and check rules.

    Args:
        path: a TOML file with [[rule]] tables; in a pyproject.toml, under [tool.cl-analyze].  The
            defaults of options that it may hold too are not looked at.

    Raises:
        ConfigError: the file cannot be read; a key, metric, definition, parameter or unit is
            unknown; or a value is not allowed.  Messages name the rule and suggest the nearest
            known name.
    """
    tables = read_project_file(path).content.get(RULES, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: rules are [[rule]] tables (with two brackets)")
    if not tables:
        raise ConfigError(f"{path} has no rules: write [[rule]] tables")
    return [parse_rule(table, f"{path}: rule {i}") for i, table in enumerate(tables, 1)]


def parse_rule(table: Mapping[str, Any], context: str) -> Rule:
    """One rule from its table.

    Args:
        table: keys of the rule and their values.
        context: file and number of the rule, the start of every message.

    Raises:
        ConfigError: see `load_rules`.
    """
    known = [key.name for key in fields(Rule)]
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{context}: unknown key {quoted(key, 60)}{nearest(key, known) or '.'} Keys are "
                f"{', '.join(known)}"
            )
    metric = table.get("metric")
    if not isinstance(metric, str):
        raise ConfigError(f'{context}: metric = "NAME" is needed, found {described(metric)}')
    context = f"{context} ({quoted(metric, 60)[1:-1]})"
    definition = table.get("definition")
    _check_names(metric, definition, context)
    unit = _unit(table.get("unit"), context)
    params = _params(table.get("params", {}), context)
    rule = Rule(metric, definition, params, unit, **_values(table, context))
    _check_bounds(rule, context)
    return rule


def _check_names(metric: str, definition: Any, context: str) -> None:
    if any(metric in family.definitions for family in BETWEEN.values()):
        raise ConfigError(f"{context}: it is one of two checkpoints, which compare has, not check")
    definitions = {
        name: names for family in METRICS.values() for name, names in family.definitions.items()
    }
    if metric not in definitions:
        raise ConfigError(f"{context}: there is no such metric{nearest(metric, definitions)}")
    if definition is None:
        return
    all_names = {name for names in definitions.values() for name in names}
    known = definitions[metric]
    if not isinstance(definition, str) or definition not in all_names:
        remedy = f"; it has {', '.join(known)}" if known else nearest(str(definition), all_names)
        raise ConfigError(f"{context}: no metric has a definition {described(definition)}{remedy}")
    if known and definition not in known:
        raise ConfigError(
            f"{context}: it has no definition {described(definition)}; it has {', '.join(known)}"
        )


def _check_bounds(rule: Rule, context: str) -> None:
    """Check that a number can meet all bounds, and that every option applies to a bound.

    Raises:
        ConfigError: a bound or an option makes no sense.
    """
    if not rule.bounds:
        raise ConfigError(f"{context}: a bound is needed: {', '.join(BOUNDS)}")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise ConfigError(f"{context}: min {rule.min:g} is above max {rule.max:g}")
    if rule.max_worse is not None and rule.better is None:
        raise ConfigError(
            f"{context}: neither high nor low values are better by themselves, so max_worse says "
            "nothing: use max_drop or max_rise"
        )
    for name, value in rule.bounds.items():
        if name in OF_CHANGE and value < 0:
            raise ConfigError(f"{context}: {name} must be at least 0, found {value:g}")
    for name in ("relative", "require_paired"):
        if getattr(rule, name) and not rule.needs_baseline:
            raise ConfigError(f"{context}: {name} goes with {', '.join(OF_CHANGE)}")


def _unit(unit: Any, context: str) -> str | None:
    units = get_args(Unit)
    if unit is None or unit in units:
        return None if unit is None else str(unit)
    raise ConfigError(
        f"{context}: there is no unit {described(unit)}{nearest(str(unit), units)}; units are "
        f"{', '.join(units)}"
    )


def _params(params: Any, context: str) -> dict[str, Param]:
    if not isinstance(params, dict):
        raise ConfigError(
            f"{context}: params is a table, as {{ tau = 0.2 }}, found {described(params)}"
        )
    for name, value in params.items():
        if name not in PARAMETERS:
            suggestion = nearest(name, PARAMETERS)
            raise ConfigError(
                f"{context}: no metric has a parameter {quoted(name, 60)}{suggestion}"
            )
        if isinstance(value, str) or _is_finite(value):
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        requirement = "be finite" if is_number else "be a number or a text"
        raise ConfigError(f"{context}: {name} must {requirement}, found {described(value)}")
    return {
        name: int(value) if PARAMETERS[name].is_whole and _is_whole(value) else value
        for name, value in params.items()
    }


def _is_whole(value: Param) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < LARGEST


_FLAG = ("be true or false", lambda value: isinstance(value, bool))
_SEVERITY = ('be "fail" or "warn"', get_args(Severity).__contains__)
_REQUIREMENTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(BOUNDS, ("be a finite number", _is_finite)),
    "relative": _FLAG,
    "confidence": (
        "lie between 0 and 1",
        lambda value: _is_finite(value) and 0 < value <= 1 - 1e-9,
    ),
    "severity": _SEVERITY,
    "on_inconclusive": _SEVERITY,
    "require_paired": _FLAG,
    "variant": (
        f"be {', '.join(map(repr, (ORIGINAL, *QUANTISED, *TRANSFORMED)))} or 'dims=K'",
        lambda value: isinstance(value, str) and _VARIANT.fullmatch(value) is not None,
    ),
}
"""Key of a rule -> requirement on its value, in words and as a function."""


def _values(table: Mapping[str, Any], context: str) -> dict[str, Any]:
    """The values of the keys in `_REQUIREMENTS`, numbers as floats."""
    values = {key: table[key] for key in _REQUIREMENTS if key in table}
    for key, value in values.items():
        requirement, holds = _REQUIREMENTS[key]
        if not holds(value):
            raise ConfigError(f"{context}: {key} must {requirement}, found {described(value)}")
    return {
        key: value if isinstance(value, bool | str) else float(value)
        for key, value in values.items()
    }
