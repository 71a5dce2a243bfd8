"""The metrics that a comparison is asked for: families, and single metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.quoting import nearest

EVERYTHING = "all"
ALIASES = {"mutual_knn": "neighbour_overlap"}
"""Other names of metrics."""
_BETWEEN = frozenset(name for family in BETWEEN.values() for name in family.definitions)


@dataclass(frozen=True)
class Selection:
    """What is measured and compared.

    Attributes:
        families: names of the families of one checkpoint that have the metrics.
        metrics: names of the metrics; None: all metrics of the families, and of two checkpoints.
        single: the metrics that were asked for by their own names.
    """

    families: tuple[str, ...]
    metrics: frozenset[str] | None = None
    single: tuple[str, ...] = ()

    @property
    def only(self) -> tuple[str, ...]:
        """The metrics for `MetricOptions.only`; empty: all."""
        return () if self.metrics is None else tuple(sorted(self.metrics))

    def of(self, result: FamilyResult) -> FamilyResult:
        """The result of a family with these metrics alone."""
        metrics = self.metrics
        if metrics is None:
            return result
        return replace(result, records=tuple(r for r in result.records if r.metric in metrics))

    @property
    def between(self) -> frozenset[str]:
        """The metrics of two checkpoints."""
        return _BETWEEN if self.metrics is None else _BETWEEN & self.metrics

    def require(self, results: Iterable[FamilyResult], source: str) -> None:
        """Check that a checkpoint has every single metric.

        Raises:
            ConfigError: it lacks what a metric needs.
        """
        known = {record.metric for result in results for record in result.records}
        for name in self.single:
            if name not in known | _BETWEEN:
                needs = DECLARED[name].needs
                reason = f": it needs {needs}" if needs else ""
                raise ConfigError(f"--metrics {name}: {source} has no such number{reason}")


def selection(names: Iterable[str] | str) -> Selection:
    """Families and metrics from their names; a name of both means the family.

    Args:
        names: names of families (uniformity, quality ...), of metrics (knn_accuracy, cka ...), or
            "all".

    Raises:
        ConfigError: a name is neither, or there are no names.

    >>> selection(["tolerance", "knn_accuracy"]).families
    ('tolerance', 'quality')
    """
    listed = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    if not listed:
        raise ConfigError(f"no metrics are asked for; there are {', '.join(METRICS)} and all")
    listed = tuple(dict.fromkeys(ALIASES.get(name, name) for name in listed))
    for name in listed:
        if name not in METRICS and name not in DECLARED and name != EVERYTHING:
            near = nearest(name, [*METRICS, *DECLARED])
            raise ConfigError(
                f"no metric or family of metrics {name!r}{near or ';'} Families are "
                f"{', '.join(METRICS)} and all"
            )
    if EVERYTHING in listed:
        return Selection(tuple(METRICS))
    single = tuple(name for name in listed if name not in METRICS)
    families = tuple(
        name
        for name, family in METRICS.items()
        if name in listed or not family.definitions.keys().isdisjoint(single)
    )
    if not single:
        return Selection(families)
    whole = {metric for name in listed if name in METRICS for metric in METRICS[name].definitions}
    asked_between = _BETWEEN & set(single) or _BETWEEN
    return Selection(families, frozenset({*whole, *single, *asked_between}), single)
