"""Losses: every loss of the catalogue on saved views, with its parts, limits and errors."""

from __future__ import annotations

import math
from dataclasses import replace

from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.losses.batches import batch_records
from cl_analyze.metrics.losses.catalogue import LOSSES
from cl_analyze.metrics.losses.class_means import other_loss_records
from cl_analyze.metrics.losses.dimensions import memory_needed
from cl_analyze.metrics.losses.energy import energy_records
from cl_analyze.metrics.losses.false_negatives import (
    gap_records,
    gap_terms,
    weight_records,
    weight_terms,
)
from cl_analyze.metrics.losses.gradients import gradient_table, limit_table, total_table
from cl_analyze.metrics.losses.influence import Influence
from cl_analyze.metrics.losses.item_losses import item_losses
from cl_analyze.metrics.losses.mean_over_views import mean_over_views
from cl_analyze.metrics.losses.metrics import METRICS
from cl_analyze.metrics.losses.one_view import one_view_losses
from cl_analyze.metrics.losses.passes import Passes, pair_sets
from cl_analyze.metrics.losses.pieces import Constants
from cl_analyze.metrics.losses.records import Entry, Recorder
from cl_analyze.metrics.positives import view_pairs
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import RowLogSumExp
from cl_analyze.results.tables import Record

OTHER_COST, CURVE_COST = 3.7, 21.0
"""Cost of hardest negatives and kernels, and of a pair of the gradients' bins, in masses."""
DIMENSIONS_COST = 15.0
"""Products of a row with D x D matrices: each costs as much as D pairs, or less."""


class Losses(Family):
    """`loss` and its two parts for every loss that the inputs allow; energies, gaps and weights.

    Means over anchors (rows of the first view, or of both).  Errors take in that every row is an
    anchor and a negative of the others (infinitesimal jackknife): exact up to 10,000 rows, above
    that the influence on others comes from two halves of 2,048 seeded anchors.
    """

    name = "losses"
    title = "Losses"
    metrics = METRICS
    uses_views = True

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Masses of four matrices and three sets of pairs, and weights received, for each tau.

        And the scatters of the dimensions.
        """
        per_row = 800 + (112 + 40 * 16) * len(options.taus)
        of_rows = per_row * (options.anchors_of(n_rows) or n_rows)
        return of_rows + memory_needed(dim, n_threads)

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of the record's loss, default first."""
        if "name" not in record.params:
            return self.definitions[record.metric]
        name = record.params["name"]
        return tuple(x.definition for x in LOSSES if x.name == name and x.definition is not None)

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Masses of the sets of pairs, as every matrix of similarities is asked for."""
        if subject.views is None and subject.labels is None:
            return ()
        return tuple(
            RowLogSumExp(tau, pairs) for tau in options.taus for pairs in pair_sets(subject)
        )

    def own_pairs(self, subject: Subject, options: MetricOptions) -> float:
        """For each pair of views four matrices twice, the hardest negatives, Riesz kernel, bins."""
        n_rows = subject.n
        anchors = options.anchors_of(n_rows)
        if subject.views is None:  # half a matrix twice
            return 2.0 * (0.5 * n_rows**2 if anchors is None else anchors * n_rows)
        first = 2.0 * n_rows**2 if anchors is None else 4.0 * anchors * n_rows
        second = first * 1.5
        if anchors is None and n_rows > options.exact_deletions:
            second = 4.0 * options.sampled_anchors * n_rows
        curve = min(options.curve_anchors or n_rows, anchors or n_rows) * n_rows
        of_two_views = first + second + OTHER_COST * first + CURVE_COST * curve
        return subject.n_view_pairs * (of_two_views + DIMENSIONS_COST * n_rows * subject.d)

    def compute(self, results: PassResults) -> FamilyResult:
        """Records and tables: of two views, of the mean over pairs of views, or of one view.

        One view has the losses that need classes and no second view; without classes it has none.
        """
        subject = results.subject
        if subject.relevance is not None:
            return item_losses(results, _constants(results.options))
        if subject.views is None:
            return one_view_losses(results, _constants(results.options))
        pairs = view_pairs(len(subject.views))
        if len(pairs) == 1:
            return _of_two_views(results)
        each = []
        for a, b in pairs:
            views = subject.views[a], subject.views[b]
            of_pair = replace(results, subject=replace(subject, views=views), _results={})
            each.append(_of_two_views(of_pair, f" of views {a} and {b}"))
        return mean_over_views(each, subject.groups)


def _of_two_views(results: PassResults, tag: str = "") -> FamilyResult:
    """Every loss that the inputs allow; `tag` tells the pair of views from others."""
    subject, options = results.subject, results.options
    notes: tuple[str, ...] = ()
    if subject.labels is not None and not subject.labels.counts.any():
        subject = replace(subject, labels=None)
        notes = (f"{subject.source}: no row is labelled: losses that need classes are left out",)
    passes = Passes(subject, options, results.runner, _constants(options), results.anchors, tag)
    notes += constant_dimensions(passes)
    entries, gaps, weights = _entries(passes), gap_terms(passes), weight_terms(passes)
    influence = Influence(passes)
    for entry in entries:
        influence.expect(entry.terms)
    for terms in (*gaps.values(), *(one for pair in weights.values() for one in pair)):
        if terms is not None:
            influence.expect(terms)
    influence.receive()
    recorder = Recorder(passes, influence)
    records = [record for entry in entries for record in recorder.loss_records(entry)]
    records += other_loss_records(recorder)
    records += gap_records(recorder, gaps)
    records += weight_records(recorder, weights)
    records += energy_records(recorder)
    tables = [
        limit_table(passes, entries),
        total_table(subject.source, entries),
        gradient_table(passes, results.curve_anchors),
    ]
    if options.batch_sizes:
        of_batches, table, more_notes = batch_records(recorder, entries)
        records += of_batches
        tables.append(table)
        notes += more_notes
    return FamilyResult(tuple(records), tuple(tables), notes)


def constant_dimensions(passes: Passes) -> tuple[str, ...]:
    """A note where dimensions have one value in all rows, as after a collapse."""
    counts = passes.pieces.dimensions["as_saved"].n_constant
    if not any(counts):
        return ()
    subject, listed = passes.subject, " and ".join(map(str, counts))
    return (
        f"{subject.source}: {listed} of {subject.d} dimensions of the two views are constant; for "
        "barlow_twins they correlate with nothing, which adds 1 each",
    )


def _constants(options: MetricOptions) -> Constants:
    return Constants(
        options.hard_alpha,
        options.simple_lambda,
        options.kcl_t,
        options.kcl_gamma,
        siglip_bias=options.siglip_bias,
    )


def _entries(passes: Passes) -> list[Entry]:
    """Every loss that the inputs allow, at every temperature."""
    subject, p, c = passes.subject, passes.pieces, passes.constants
    has = {"": True, "labels": subject.labels is not None, "queue": subject.queue is not None}
    return [
        Entry(
            loss,
            tau,
            loss.terms(p, c, tau),
            {"name": loss.name, **loss.parameters(c, tau, p.n_negatives, p.n_hard)},
        )
        for loss in LOSSES
        if has[loss.needs]
        for tau in (passes.options.taus if "tau" in loss.params else (math.nan,))
    ]
