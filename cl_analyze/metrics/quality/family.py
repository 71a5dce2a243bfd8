"""Representation quality: is it collapsed, is it useful, where does it fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality import (
    distances,
    factors,
    geometry,
    hubs,
    lidar,
    neighbours,
    neural_collapse,
    probe,
    retrieval,
    spectrum,
    views,
)
from cl_analyze.metrics.quality.class_tables import (
    class_table,
    confusion_table,
    pair_table,
    same_class_potential,
)
from cl_analyze.metrics.quality.collapse import collapse_table
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.projection import projection_notes, projection_table
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PairHistogram
from cl_analyze.results.tables import Record, Table


@dataclass(frozen=True)
class Part:
    """A part of `quality`: its metrics, records, tables and notes.

    Attributes:
        metrics: declared beside the formulas.
        records, tables, notes: functions of the checkpoint.
        has_pass: whether it reads the pass over the pairs of the embeddings.
    """

    metrics: tuple[Metric, ...]
    records: Callable[[Context], Iterable[Record]]
    tables: tuple[Callable[[Context], Table], ...] = ()
    notes: Callable[[Context], Iterable[str]] = lambda context: ()
    has_pass: bool = False

    @property
    def needs(self) -> set[str]:
        """What the metrics need beside the embeddings, one of these; empty: nothing."""
        needs = {need for metric in self.metrics for need in metric.needs.split(" or ")}
        return set() if "" in needs else needs

    @property
    def names(self) -> set[str]:
        """Names of the metrics."""
        return {metric.name for metric in self.metrics}


PARTS = (
    Part(
        spectrum.METRICS,
        spectrum.spectrum_records,
        (spectrum.spectrum_table, collapse_table, projection_table),
        projection_notes,
    ),
    Part(
        geometry.METRICS, geometry.geometry_records, (geometry.near_duplicate_table,), has_pass=True
    ),
    Part(
        distances.METRICS,
        distances.distance_records,
        notes=distances.distance_notes,
        has_pass=True,
    ),
    Part(hubs.METRICS, hubs.hub_records, (hubs.hub_table, hubs.degree_table), has_pass=True),
    Part(views.METRICS, views.view_records, notes=views.view_notes),
    Part(lidar.METRICS, lidar.lidar_records),
    Part(retrieval.METRICS, retrieval.retrieval_records, notes=retrieval.retrieval_notes),
    Part(
        neighbours.METRICS,
        neighbours.knn_records,
        notes=neighbours.knn_notes,
        has_pass=True,
    ),
    Part(
        probe.METRICS,
        probe.probe_records,
        (probe.probe_table, probe.calibration_table),
        probe.probe_notes,
    ),
    Part(
        neural_collapse.METRICS,
        neural_collapse.collapse_records,
        (confusion_table, class_table, pair_table),
        has_pass=True,
    ),
)
"""In the order of the output."""


class Quality(Family):
    """Spectrum and collapse, geometry, use (kNN, probe), views, class structure.

    All parts look at the embeddings alone, except alignment, recall, the modality gaps and LiDAR of
    views, which need views.  Class metrics leave unlabelled rows out.  Standard errors come from
    own values for means over rows, from deletions for the mean cosine, distances of neighbours and
    the modality gaps, and from deleted groups for spectra and LiDAR.
    """

    name = "quality"
    title = "Representation quality"
    metrics = tuple(metric for part in PARTS for metric in part.metrics)
    uses_views = True
    reads_neighbours = True

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Values of rows, pseudo-values of means over them, spectra, the rows of the probe."""
        kept = (600 + distances.ROW_BYTES) * (options.anchors_of(n_rows) or n_rows)
        of_probe = min(4 * dim * min(n_rows, probe.MOST_ROWS), probe.KEPT_BYTES)
        of_spectra = factors.memory_needed(n_rows, dim, n_threads)
        return kept + of_spectra + lidar.memory_needed(dim) + of_probe

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Neighbours of every row, the histogram of cosines, potentials within classes."""
        without_pass = {name for part in PARTS if not part.has_pass for name in part.names}
        if options.only and set(options.only) <= without_pass:
            return ()
        wanted: list[Reducer] = [
            nearest_negatives_reducer(subject, _of_instances(options)),
            PairHistogram(geometry.BINS),
        ]
        if subject.labels is not None and options.anchors_of(subject.n) is None:
            wanted.append(same_class_potential())
        return tuple(wanted)

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """As the pass against a training set; retrieval costs about as much a pair."""
        if subject.views is None and subject.train is None and subject.relevance is None:
            return ()
        return (nearest_negatives_reducer(subject, _of_instances(options)),)

    def own_pairs(self, subject: Subject, options: MetricOptions) -> float:
        """One rectangular pass for each pair of views, and one against a training set."""
        n = subject.n
        n_passes = subject.n_view_pairs + (subject.train is not None)
        return float(n_passes * (options.anchors_of(n) or n) * n)

    def compute(self, results: PassResults) -> FamilyResult:
        """Records by part, and tables.

        With `options.only`, the records of these metrics alone.
        """
        subject, options = results.subject, results.options
        notes: list[str] = []
        if subject.labels is not None and not subject.labels.counts.any():
            subject = replace(subject, labels=None)
            notes.append(f"{subject.source}: no row is labelled: class metrics are left out")
        context = Context(subject, _of_instances(options), results)
        given = {"labels"} if subject.labels is not None else set()
        if results.positives is not None:
            given.add("views")
        parts = [part for part in PARTS if not part.needs or part.needs & given]
        records: list[Record] = []
        tables: list[Table] = []
        if options.only:
            for part in parts:
                records += part.records(context) if options.wants(part.names) else ()
            return FamilyResult(tuple(r for r in records if r.metric in options.only))
        notes += near_duplicate_notes(subject, context.options, context.near)
        for part in parts:
            records += part.records(context)
            tables += [table(context) for table in part.tables]
            notes += part.notes(context)
        return FamilyResult(
            tuple(records), tuple(table for table in tables if table.rows), tuple(notes)
        )


def with_voters(options: MetricOptions) -> MetricOptions:
    """Options with which every family keeps as many neighbours as quality needs, in one list."""
    n_voters = max(options.n_voters, options.ks[-1], hubs.HUB_NEIGHBOURS)
    return replace(options, n_voters=n_voters)


def _of_instances(options: MetricOptions) -> MetricOptions:
    """Options whose neighbours are among all rows, whichever rows are negatives elsewhere."""
    return with_voters(options).of_instances
