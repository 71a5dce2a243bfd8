"""Rules: what a number must be, read from cl-analyze.toml or pyproject.toml."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.metrics.metric import Better
from cl_analyze.quoting import described, quoted
from cl_analyze.small_files import read_text
from cl_analyze.tables import Param, Unit

Severity = Literal["fail", "warn"]
LARGEST = 1e300
BOUNDS = ("min", "max", "max_drop", "max_rise", "max_worse")
OF_CHANGE = BOUNDS[2:]
MOST_BYTES = 4 << 20
_DEEP = re.compile(r"(?<![\w\"'.-])(?:[\w\"'-]+[ \t]*\.[ \t]*){100}")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
OWN_FILE, PROJECT_FILE = "cl-analyze.toml", "pyproject.toml"
PARAMETERS = (
    "tau", "t", "k", "q", "group", "negatives", "name", "alpha", "lambda", "gamma", "power",
    "batch_size", "temperature", "direction", "kernel", "view", "beta", "sigma", "anchors",
    "first_rank", "last_rank",
)  # fmt: skip
"""Parameters that records of some metric have."""


@dataclass(frozen=True)
class Rule:
    """What one number must be.

    Attributes:
        metric: which.
        definition: of the metric; None: its default.
        params: parameters that the number must have; the others are free where there is one only.
        unit: of the number, where the rule states it: a check against mistaking one for another.
        min, max: bounds of the value.
        max_drop, max_rise: bounds of what it falls or rises against the baseline, >= 0.
        max_worse: of what it falls or rises in the direction that is worse, >= 0.
        relative: whether these are shares of the baseline's value.
        confidence: of the two-sided interval that decides.
        severity: what beyond a bound means.
        on_inconclusive: what an interval across a bound means.
        require_paired: whether a comparison without matched rows is an error.
    """

    metric: str
    definition: str | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    unit: str | None = None
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
    def bounds(self) -> list[tuple[str, float]]:
        """The bounds that it has, by name."""
        found = [(name, getattr(self, name)) for name in BOUNDS]
        return [(name, value) for name, value in found if value is not None]

    @property
    def needs_baseline(self) -> bool:
        """Whether a bound is against a baseline."""
        return any(getattr(self, name) is not None for name in OF_CHANGE)

    @property
    def better(self) -> Better | None:
        """Which values of the metric are better; None where neither is by itself."""
        family = next(f for f in METRICS.values() if self.metric in f.definitions)
        return family.better(self.metric, self.params)

    @property
    def guards_the_better_side(self) -> str | None:
        """A bound that stops the number from getting better, which is seldom meant."""
        wrong = {"lower": "max_drop", "higher": "max_rise"}.get(self.better or "")
        return wrong if wrong is not None and getattr(self, wrong) is not None else None

    @property
    def name(self) -> str:
        """The number as messages write it."""
        name = self.metric if self.definition is None else f"{self.metric}[{self.definition}]"
        params = " ".join(f"{key}={quoted(value)[1:-1]}" for key, value in self.params.items())
        return f"{name} {params}".rstrip()


_LONGEST_WORD = 100


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt word, as the end of a message; empty where none is near.

    >>> nearest("uniformty", ["tolerance", "uniformity"])
    "; did you mean 'uniformity'?"
    """
    found = difflib.get_close_matches(word[:_LONGEST_WORD], list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def find_rules(path: Path | None, folder: Path) -> Path:
    """The rules file: the one given, else cl-analyze.toml, else a pyproject.toml that has some.

    Raises:
        ConfigError: there is none.
    """
    if path is not None:
        return path
    own, project = folder / OWN_FILE, folder / PROJECT_FILE
    if own.exists():
        return own
    if project.exists() and "cl-analyze" in _tool_tables(project):
        return project
    raise ConfigError(
        f"no rules: pass --rules FILE, or write {OWN_FILE} (or [tool.cl-analyze] in "
        f"{PROJECT_FILE}) with [[rule]] tables"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path, MOST_BYTES)
        if _DEEP.search(_QUOTED.sub("_", text)):
            raise ValueError("a key has more than 100 parts between dots")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, integers of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _tool_tables(path: Path) -> dict[str, Any]:
    tool = _read(path).get("tool", {})
    return tool if isinstance(tool, dict) else {}


def load_rules(path: Path) -> list[Rule]:
    """Read and check rules.

    Args:
        path: a TOML file with [[rule]] tables; of one named pyproject.toml, [tool.cl-analyze].

    Raises:
        ConfigError: it cannot be read; an unknown key, metric, definition, parameter or unit, or
            values that make no sense; messages name the rule and suggest the nearest name.
    """
    if path.name == PROJECT_FILE:
        where, content = "tool.cl-analyze", _tool_tables(path).get("cl-analyze")
        if not isinstance(content, dict):
            raise ConfigError(f"{path} has no table [tool.cl-analyze] with rules")
    else:
        where, content = "the file", _read(path)
    for key in content:
        if key != "rule":
            raise ConfigError(
                f"{path}: unknown key {quoted(key, 60)} in {where}{nearest(key, ['rule'])}; "
                "rules are [[rule]] tables"
            )
    listed = content.get("rule", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ConfigError(f"{path}: rules are [[rule]] tables (with two brackets)")
    if not listed:
        raise ConfigError(f"{path} has no rules: write [[rule]] tables")
    return [parse_rule(item, f"{path}: rule {i}") for i, item in enumerate(listed, 1)]


def parse_rule(given: Mapping[str, Any], where: str) -> Rule:
    """One rule from its table.

    Args:
        given: the table.
        where: how messages call it.

    Raises:
        ConfigError: see `load_rules`.
    """
    known = [each.name for each in fields(Rule)]
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {quoted(key, 60)}{nearest(key, known)} Keys are "
                f"{', '.join(known)}"
            )
    definitions = {
        metric: of for family in METRICS.values() for metric, of in family.definitions.items()
    }
    metric = given.get("metric")
    if not isinstance(metric, str):
        raise ConfigError(f'{where}: metric = "NAME" is needed, found {described(metric)}')
    where = f"{where} ({quoted(metric, 60)[1:-1]})"
    if any(metric in family.definitions for family in BETWEEN.values()):
        raise ConfigError(f"{where}: it is one of two checkpoints, which compare has, not check")
    if metric not in definitions:
        raise ConfigError(f"{where}: there is no such metric{nearest(metric, definitions)}")
    definition = given.get("definition")
    every = {d for of in definitions.values() for d in of}
    if definition is not None and (not isinstance(definition, str) or definition not in every):
        listed = ", ".join(definitions[metric])
        raise ConfigError(
            f"{where}: no metric has a definition {described(definition)}"
            + (f"; it has {listed}" if listed else nearest(str(definition), every))
        )
    if definition is not None and definitions[metric] and definition not in definitions[metric]:
        own = definitions[metric]
        if metric not in ("loss", "loss_alignment", "loss_uniformity"):  # theirs go by name
            raise ConfigError(
                f"{where}: it has no definition {described(definition)}; it has {', '.join(own)}"
            )
    unit = given.get("unit")
    units = get_args(Unit)
    if unit is not None and unit not in units:
        raise ConfigError(
            f"{where}: there is no unit {described(unit)}{nearest(str(unit), units)}; units are "
            f"{', '.join(units)}"
        )
    rule = Rule(
        metric,
        definition,
        _params(given.get("params", {}), where),
        unit,
        min=_number(given.get("min"), "min", where),
        max=_number(given.get("max"), "max", where),
        max_drop=_number(given.get("max_drop"), "max_drop", where),
        max_rise=_number(given.get("max_rise"), "max_rise", where),
        max_worse=_number(given.get("max_worse"), "max_worse", where),
        relative=_flag(given, "relative", where),
        confidence=_confidence(given.get("confidence", 0.95), where),
        severity=_severity(given, "severity", "fail", where),
        on_inconclusive=_severity(given, "on_inconclusive", "warn", where),
        require_paired=_flag(given, "require_paired", where),
    )
    _check_bounds(rule, where)
    return rule


def _check_bounds(rule: Rule, where: str) -> None:
    """Bounds that can be met, and options that have something to act on."""
    if not rule.bounds:
        raise ConfigError(f"{where}: a bound is needed: {', '.join(BOUNDS)}")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        raise ConfigError(f"{where}: min {rule.min:g} is above max {rule.max:g}")
    if rule.max_worse is not None and rule.better is None:
        raise ConfigError(
            f"{where}: neither high nor low values are better by themselves, so max_worse says "
            "nothing: use max_drop or max_rise"
        )
    for name in OF_CHANGE:
        value = getattr(rule, name)
        if value is not None and value < 0:
            raise ConfigError(f"{where}: {name} must be at least 0, found {value:g}")
    for name in ("relative", "require_paired"):
        if getattr(rule, name) and not rule.needs_baseline:
            raise ConfigError(f"{where}: {name} goes with {', '.join(OF_CHANGE)}")


def _params(given: Any, where: str) -> dict[str, Param]:
    if not isinstance(given, dict):
        raise ConfigError(
            f"{where}: params is a table, as {{ tau = 0.2 }}, found {described(given)}"
        )
    for key, value in given.items():
        if key not in PARAMETERS:
            raise ConfigError(
                f"{where}: no metric has a parameter {quoted(key, 60)}{nearest(key, PARAMETERS)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ConfigError(
                f"{where}: {key} must be a number or a text, found {described(value)}"
            )
        if not isinstance(value, str) and not abs(value) < LARGEST:
            raise ConfigError(f"{where}: {key} must be finite, found {described(value)}")
    return {
        key: int(value)
        if isinstance(value, float) and value == int(value) and key in _WHOLE
        else value
        for key, value in given.items()
    }


_WHOLE = frozenset({"k", "batch_size", "view", "first_rank", "last_rank"})


def _number(value: Any, name: str, where: str) -> float | None:
    if value is None:
        return None
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if not usable or not abs(value) < LARGEST:
        raise ConfigError(f"{where}: {name} must be a finite number, found {described(value)}")
    return float(value)


def _confidence(value: Any, where: str) -> float:
    number = _number(value, "confidence", where)
    if number is None or not 0 < number <= 1 - 1e-9:
        raise ConfigError(f"{where}: confidence must lie between 0 and 1, found {described(value)}")
    return number


def _flag(given: Mapping[str, Any], name: str, where: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {name} must be true or false, found {described(value)}")
    return value


def _severity(given: Mapping[str, Any], name: str, default: Severity, where: str) -> Severity:
    value = given.get(name, default)
    if value == "fail":
        return "fail"
    if value == "warn":
        return "warn"
    raise ConfigError(f'{where}: {name} must be "fail" or "warn", found {described(value)}')
