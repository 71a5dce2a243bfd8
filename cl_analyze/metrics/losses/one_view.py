"""Losses that need classes and no second view: SupCon, ICL and CLOP on the rows alone.

The positives of an anchor are the other rows of its class.  A row that is alone in its class is
nobody's positive and no anchor of SupCon, but it is a negative of others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cl_analyze.metrics.family import FamilyResult, PassResults
from cl_analyze.metrics.losses.catalogue import LOSSES, SavedLoss
from cl_analyze.metrics.losses.class_means import class_mean_records
from cl_analyze.metrics.losses.influence import Influence
from cl_analyze.metrics.losses.passes import LossPasses, blocks
from cl_analyze.metrics.losses.pieces import Constants, Vector
from cl_analyze.metrics.losses.records import Entry, Recorder
from cl_analyze.metrics.losses.terms import Softmax, Terms
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import RowLogSumExp


def one_view_losses(results: PassResults, constants: Constants) -> FamilyResult:
    """Records of SupCon, ICL and CLOP on one view; their `params` have `views` 1."""
    subject, options = results.subject, results.options
    if subject.labels is None or not subject.labels.counts.any():
        return FamilyResult(())
    views = {"u": subject.rows}
    passes = OneView(subject, options, results.runner, constants, results.anchors, views)
    entries = [
        Entry(loss, tau, passes.supcon(loss, tau), {"name": loss.name, "tau": tau, **passes.params})
        for loss in LOSSES
        if loss.name == "supcon"
        for tau in options.taus
    ]
    influence = Influence(passes)
    for entry in entries:
        influence.expect(entry.terms)
    influence.receive()
    recorder = Recorder(passes, influence)
    records = [record for entry in entries for record in recorder.loss_records(entry)]
    return FamilyResult((*records, *class_mean_records(recorder)))


class OneView(LossPasses):
    """The masses of one view, and how rows of a class act on each other; see `LossPasses`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        subject, taus = self.subject, self.options.taus
        assert subject.labels is not None
        has_class = self.codes >= 0
        self.class_sums = np.zeros((len(subject.labels.names), subject.d))
        for start, stop in blocks(self.n):
            known = start + np.flatnonzero(has_class[start:stop])
            own = subject.rows.exact_block(start, stop)[known - start]
            np.add.at(self.class_sums, self.codes[known], own)
        self.n_positives = np.maximum(self.class_count - 1.0, 0.0)
        self.labelled = has_class & (self.n_positives > 0)
        self.to_class = np.zeros(self.n)
        for start, stop in blocks(self.n):
            known = start + np.flatnonzero(has_class[start:stop])
            own = subject.rows.exact_block(start, stop)[known - start]
            toward = np.einsum("ij,ij->i", own, self.class_sums[self.codes[known]])
            self.to_class[known] = toward - 1.0
        wanted: list[Reducer] = [
            RowLogSumExp(tau, pairs) for tau in taus for pairs in ("same_class", "other_class")
        ]
        self._masses = self.between(wanted, "uu", self._chosen, "")

    def supcon(self, loss: SavedLoss, tau: float) -> Terms:
        """Khosla et al., eqs. 2 and 3: the mean over positives outside or inside the logarithm."""
        at = self.rows
        is_anchor = self.labelled[at]
        of_class, of_others = (
            self._masses[RowLogSumExp(tau, pairs)] for pairs in ("same_class", "other_class")
        )
        same = np.where(is_anchor, of_class, np.nan)
        total = np.where(is_anchor, np.logaddexp(of_class, of_others), np.nan)
        n_positives = np.maximum(self.n_positives, 1.0)
        softmaxes = [
            Softmax(1.0, tau, total, (("uu", "same_class"), ("uu", "other_class"))),
        ]
        means = self.to_class / n_positives
        if loss.definition == "in":
            pull = same - np.log(n_positives[at])
            softmaxes.append(Softmax(-1.0, tau, same, (("uu", "same_class"),)))
            moved = np.where(self.labelled, 1.0, 0.0)  # the mean's denominator
        else:
            pull = np.where(is_anchor, means[at] / tau, np.nan)
            moved = self._on_class_means(means, n_positives) * (-1.0 / tau)
        log_count = np.log(max(int((self.codes >= 0).sum()) - 1, 1))
        value = total - pull
        return Terms(
            value,
            -pull,
            total,
            softmaxes=tuple(softmaxes),
            moved=moved,
            limit=value - log_count,
            log_count=float(log_count),
            tau=tau,
        )

    def _on_class_means(self, means: Vector, n_positives: Vector) -> Vector:
        """(N,) what each row adds to the mean similarities to positives of others of its class."""
        codes = np.where(self.labelled, self.codes, 0)
        known = self.labelled.astype(np.float64)
        of_class = np.bincount(codes, means * known, len(self.class_sums))[codes]
        shift = (self.to_class - (of_class - means)) / n_positives
        return np.where(self.labelled, shift, 0.0)
