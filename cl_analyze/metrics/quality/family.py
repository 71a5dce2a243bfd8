"""Representation quality: is it collapsed, is it useful, where does it fail."""

from __future__ import annotations

from dataclasses import replace

from cl_analyze.metrics.family import Family, FamilyResult, Measured
from cl_analyze.metrics.quality.classes_part import (
    DEFINITIONS as CLASS_DEFINITIONS,
)
from cl_analyze.metrics.quality.classes_part import (
    class_records,
    class_tables,
    same_class_potential,
    structures,
)
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.geometry import BINS, mean_cosine
from cl_analyze.metrics.quality.geometry_part import (
    HUB_NEIGHBOURS,
    geometry_records,
    hub_parts,
    near_duplicate_table,
)
from cl_analyze.metrics.quality.neighbours_part import classify, knn_records
from cl_analyze.metrics.quality.probe import KEPT_BYTES as PROBE_BYTES
from cl_analyze.metrics.quality.probe import MOST_ITERATIONS
from cl_analyze.metrics.quality.probe import MOST_ROWS as MOST_PROBE_ROWS
from cl_analyze.metrics.quality.probe_part import (
    Probed,
    confusion_table,
    probe_records,
    probe_tables,
    probes,
)
from cl_analyze.metrics.quality.rows import FORMS
from cl_analyze.metrics.quality.spectrum import memory_needed as spectrum_memory
from cl_analyze.metrics.quality.spectrum_part import (
    DEFINITIONS as SPECTRUM_DEFINITIONS,
)
from cl_analyze.metrics.quality.spectrum_part import (
    spectra,
    spectrum_records,
    spectrum_tables,
)
from cl_analyze.metrics.quality.views_part import view_parts
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.executors import single_threaded_blas
from cl_analyze.pairs.reducers import PairHistogram
from cl_analyze.tables import Record, Table

_LOWER = (
    "mean_cosine", "near_duplicate_share", "uniformity_wasserstein", "hubness_skewness",
    "hubness_robin_hood", "antihub_share", "alignment", "median_rank", "modality_gap",
    "probe_calibration_error", "condition_number", "nc1", "nc1_trace_ratio", "nc2_equinorm",
    "nc2_equiangular", "nc2_maximal_angle", "nc2_etf", "nc2_orthogonal_frame", "nc3",
    "nc4_disagreement", "cdnv",
)  # fmt: skip
_HIGHER = (
    "effective_rank", "rankme", "participation_ratio", "nesum", "stable_rank", "numerical_rank",
    "isoscore", "recall_at_k", "knn_accuracy", "knn_top5_accuracy", "probe_accuracy",
    "ncc_accuracy", "silhouette",
)  # fmt: skip


class Quality(Family):
    """Spectrum and collapse, geometry, use (kNN, probe), views, class structure.

    All of it looks at the embeddings alone, but alignment, recall and the modality gap, which need
    views.  Class metrics leave unlabelled rows out.  Errors are those of SPEC 6 where there is one:
    own values for means over rows, deletions for the mean cosine and the modality gap, deleted
    groups for spectra.
    """

    name = "quality"
    title = "Representation quality"
    uses_views = True
    reads_neighbours = True
    definitions: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        **SPECTRUM_DEFINITIONS,
        "norm_mean": (),
        "norm_std": (),
        "mean_cosine": (),
        "near_duplicate_share": (),
        "uniformity_wasserstein": (),
        "hubness_skewness": (),
        "hubness_robin_hood": (),
        "antihub_share": (),
        "alignment": (),
        "recall_at_k": (),
        "median_rank": (),
        "modality_gap": (),
        "modality_gap_residual": (),
        "knn_accuracy": ("leave_one_out", "train_set"),
        "knn_top5_accuracy": ("leave_one_out", "train_set"),
        "probe_accuracy": FORMS,
        "probe_calibration_error": FORMS,
        "nc3": FORMS,
        "nc4_disagreement": FORMS,
        **CLASS_DEFINITIONS,
    }
    directions = {  # noqa: RUF012
        **dict.fromkeys(_LOWER, "lower"),
        **dict.fromkeys(_HIGHER, "higher"),
    }

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Neighbours of every row, the histogram of cosines, potentials within classes."""
        if options.only and set(options.only) <= _WITHOUT_PAIRS:
            return ()
        wanted: list[Reducer] = [
            nearest_negatives_reducer(subject, _instance(options)),
            PairHistogram(BINS),
        ]
        if subject.labels is not None and options.anchors_of(subject.n) is None:
            wanted.append(same_class_potential())
        return tuple(wanted)

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Values of rows, pseudo-values of means over them, spectra, the rows of the probe."""
        probe = min(4 * dim * min(n_rows, MOST_PROBE_ROWS), PROBE_BYTES)
        kept = 600 * (options.anchors_of(n_rows) or n_rows)
        return kept + spectrum_memory(n_rows, dim, n_threads) + probe

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """As the pass against a training set; retrieval costs about as much a pair."""
        if subject.views is None and subject.train is None:
            return ()
        return (nearest_negatives_reducer(subject, _instance(options)),)

    def own_pairs(self, n_rows: int, options: MetricOptions) -> float:
        """One rectangular pass."""
        return float((options.anchors_of(n_rows) or n_rows) * n_rows)

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Records by part, and tables; BLAS on one thread, so that its number changes no byte."""
        with single_threaded_blas():
            return self._compute(subject, options, measured, runner)

    def _some(self, context: Context) -> FamilyResult:
        """The parts that have the metrics asked for, without tables."""
        options, subject = context.options, context.subject
        has_classes = subject.labels is not None and bool(subject.labels.counts.any())
        of_classes = _PROBED | _VOTES | set(CLASS_DEFINITIONS)
        others = set(self.definitions) - set(SPECTRUM_DEFINITIONS) - _OF_VIEWS - _HUBS - of_classes
        records: list[Record] = []
        near = None
        if options.wants(_HUBS | _VOTES | others):
            context.runner.announce("neighbours in their order")
            near = context.runner.nearest_negatives(
                _instance(options), context.measured.first, context.measured.anchors
            )
        if options.wants(SPECTRUM_DEFINITIONS):
            records += spectrum_records(context, spectra(context))
        if near is not None and options.wants(others):
            records += geometry_records(context, mean_cosine(subject.rows), near)
        if near is not None and options.wants(_HUBS):
            records += hub_parts(context, near)[0]
        if subject.views is not None and options.wants(_OF_VIEWS):
            records += view_parts(context)[0]
        if near is not None and has_classes and options.wants(_VOTES):
            records += knn_records(context, classify(context, near))
        if has_classes and options.wants(_PROBED):
            records += probe_records(context, probes(context))
        if has_classes and options.wants(CLASS_DEFINITIONS):
            records += class_records(context, structures(context))
        return FamilyResult(tuple(r for r in records if r.metric in options.only))

    def _compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        if options.only:
            return self._some(Context(subject, options, measured, runner))
        notes: list[str] = []
        if subject.labels is not None and not subject.labels.counts.any():
            subject = replace(subject, labels=None)
            notes.append(f"{subject.source}: no row is labelled: class metrics are left out")
        context = Context(subject, options, measured, runner)
        runner.announce("neighbours in their order")
        near = runner.nearest_negatives(_instance(options), measured.first, measured.anchors)
        notes += near_duplicate_notes(subject, _instance(options), near)
        found = spectra(context)
        cosine = mean_cosine(subject.rows)
        records: list[Record] = spectrum_records(context, found)
        of_spectrum, of_map = spectrum_tables(context, found, cosine)
        tables: list[Table] = list(of_spectrum)
        notes += of_map
        records += geometry_records(context, cosine, near)
        hubs, hub_tables = hub_parts(context, near)
        records += hubs
        tables += [near_duplicate_table(context, near), *hub_tables]
        apart = None
        if subject.partners is not None:
            notes.append(
                f"{subject.source}: spectrum, hubs and class structure are of this file alone; "
                "run quality on the partners' file to see its own"
            )
        if subject.views is not None:
            of_views, apart = view_parts(context)
            records += of_views
        if subject.labels is not None:
            classified = classify(context, near)
            records += knn_records(context, classified)
            if classified.n_near_train:
                notes.append(
                    f"{subject.source}: {classified.n_near_train} rows have a near-duplicate "
                    "(cosine above 1 - 1e-6) in the training set: accuracies are too good"
                )
            probed = probes(context)
            records += probe_records(context, probed)
            if probed is not None:
                tables += probe_tables(context, probed)
                notes += _probe_notes(subject.source, probed)
            tables.append(confusion_table(context, probed, classified))
            structure = structures(context)
            records += class_records(context, structure)
            tables += class_tables(context, structure, near, classified, probed, apart)
        return FamilyResult(
            tuple(records), tuple(table for table in tables if table.rows), tuple(notes)
        )


_PROBED = frozenset({"probe_accuracy", "probe_calibration_error", "nc3", "nc4_disagreement"})
_OF_VIEWS = frozenset(
    {"alignment", "recall_at_k", "median_rank", "modality_gap", "modality_gap_residual"}
)
_HUBS = frozenset({"hubness_skewness", "hubness_robin_hood", "antihub_share"})
_VOTES = frozenset({"knn_accuracy", "knn_top5_accuracy"})
_WITHOUT_PAIRS = frozenset(SPECTRUM_DEFINITIONS) | _PROBED | _OF_VIEWS
"""Metrics that need no pass over the pairs of the embeddings."""


def _probe_notes(source: str, found: Probed) -> list[str]:
    """What about the probes the user should know."""
    slow = [
        form for form, of in found.forms.items() if not all(probe.converged for probe in of.fitted)
    ]
    if not slow:
        return []
    return [
        f"{source}: the linear probe of {' and '.join(slow)} rows stopped after "
        f"{MOST_ITERATIONS} steps, before its loss stopped falling"
    ]


def with_voters(options: MetricOptions) -> MetricOptions:
    """Options with which every family keeps as many neighbours as quality needs, in one list."""
    return replace(options, n_voters=max(options.ks[-1], HUB_NEIGHBOURS))


def _instance(options: MetricOptions) -> MetricOptions:
    """Neighbours are among all rows, whatever counts as a negative elsewhere."""
    return replace(with_voters(options), negatives="instance")
