"""Losses: every loss of the catalogue on saved views, with its parts, limits and errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import Family, FamilyResult, Measured
from cl_analyze.metrics.losses.batches import BatchEstimate, batch_estimates
from cl_analyze.metrics.losses.catalogue import (
    LOSSES,
    SavedLoss,
    Terms,
    dcl_nscl_gap,
    params_of,
)
from cl_analyze.metrics.losses.energy import energy_reference
from cl_analyze.metrics.losses.gradients import gradient_table
from cl_analyze.metrics.losses.passes import Moment, Passes, pair_sets, wanted_losses
from cl_analyze.metrics.losses.pieces import VIEWS, Constants, Vector
from cl_analyze.metrics.losses.prototypes import clop_values, mean_discrepancy
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.kernels import KERNELS
from cl_analyze.pairs.reducers import RowLogSumExp
from cl_analyze.pairs.strips import n_kept
from cl_analyze.stats import kernel_mean_standard_error, standard_error
from cl_analyze.tables import Cell, Param, Record, Table, Unit, undefined

OTHER_COST, CURVE_COST = 3.7, 21.0
"""What hardest negatives and kernels, and a pair of the gradients' bins, cost beside the masses."""
CONVERGED = 0.05
"""Nats within which L - log K counts as having reached its limit."""

LIMIT_COLUMNS = ("source", "name", "definition", "tau", "loss", "small_tau", "large_tau")
TOTAL_COLUMNS = ("source", "name", "definition", "tau", "positive", "negatives")
BATCH_COLUMNS = (
    "source",
    "name",
    "definition",
    "tau",
    "batch_size",
    "loss",
    "std_error",
    "sampling_error",
    "log_count",
    "normalised",
    "limit",
    "converged",
)


def constants_of(options: MetricOptions) -> Constants:
    """The losses' parameters among the options."""
    return Constants(options.hard_alpha, options.simple_lambda, options.kcl_t, options.kcl_gamma)


@dataclass(frozen=True)
class _Entry:
    """A loss at a temperature: what it is, what its record says of it, and its terms."""

    loss: SavedLoss
    tau: float
    params: dict[str, Param]
    terms: Terms


DEFINITIONS = tuple(dict.fromkeys(x.definition for x in LOSSES if x.definition is not None))


class Losses(Family):
    """`loss` and its two parts for every loss that the inputs allow, and what belongs beside them.

    Means over anchors (rows of the first view, or of both).  Errors take in that every row is an
    anchor and a negative of the others (infinitesimal jackknife): exact up to 10,000 rows, above
    that the influence on others comes from two halves of 2,048 seeded anchors.
    """

    name = "losses"
    title = "Losses"
    uses_views = True
    definitions: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        "loss": DEFINITIONS,
        "loss_alignment": DEFINITIONS,
        "loss_uniformity": DEFINITIONS,
        "hyperspherical_energy": (),
        "hyperspherical_energy_reference": ("simplex", "cross_polytope", "uniform_law"),
        "dcl_nscl_gap": (),
        "dcl_nscl_gap_bound": (),
        "a_infonce_effective_negatives": (),
        "a_infonce_false_negative_share": (),
    }
    directions = {  # noqa: RUF012
        "loss": "lower",
        "loss_alignment": "lower",
        "loss_uniformity": "lower",
        "hyperspherical_energy": "lower",
        "a_infonce_false_negative_share": "lower",
    }

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of the record's loss, default first."""
        if "name" not in record.params:
            return self.definitions[record.metric]
        name = record.params["name"]
        return tuple(x.definition for x in LOSSES if x.name == name and x.definition is not None)

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Masses of four matrices and three sets of pairs, and weights received, for each tau."""
        per_row = 600 + (96 + 40 * 16) * len(options.taus)
        return per_row * (options.anchors_of(n_rows) or n_rows)

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Masses of the sets of pairs, as every matrix of similarities is asked for."""
        if subject.views is None:
            return ()
        return tuple(
            RowLogSumExp(tau, pairs) for tau in options.taus for pairs in pair_sets(subject)
        )

    def own_pairs(self, n_rows: int, options: MetricOptions) -> float:
        """Four matrices twice, the hardest negatives, the Riesz kernel, and the gradients' bins."""
        anchors = options.anchors_of(n_rows)
        first = 2.0 * n_rows**2 if anchors is None else 4.0 * anchors * n_rows
        second = first * 1.5
        if anchors is None and n_rows > options.exact_deletions:
            second = 4.0 * options.sampled_anchors * n_rows
        curve = min(options.curve_anchors or n_rows, anchors or n_rows) * n_rows
        return first + second + OTHER_COST * first + CURVE_COST * curve

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Records and tables; nothing without a second view."""
        if subject.views is None:
            return FamilyResult(())
        notes: tuple[str, ...] = ()
        if subject.labels is not None and not subject.labels.counts.any():
            subject = replace(subject, labels=None)
            notes = (
                f"{subject.source}: no row is labelled: losses that need classes are left out",
            )
        constants = constants_of(options)
        passes = Passes(subject, options, runner, constants, measured.anchors)
        found = _Computation(passes, measured).result()
        return replace(found, notes=(*notes, *found.notes))


class _Computation:
    """The records and tables of one checkpoint."""

    def __init__(self, passes: Passes, measured: Measured) -> None:
        self.passes, self.measured = passes, measured
        self.subject, self.options = passes.subject, passes.options
        self.anchors: Anchors | None = measured.anchors
        self.losses = [LOSSES[at] for at in wanted_losses(self.subject)]
        self.entries = [self._entry(loss, tau) for loss in self.losses for tau in self._taus(loss)]
        self.gaps: dict[float, Terms] = {}
        if self.subject.labels is not None:
            p = passes.pieces
            self.gaps = {tau: dcl_nscl_gap(p, tau) for tau in self.options.taus}

    def _taus(self, loss: SavedLoss) -> Sequence[float]:
        return self.options.taus if "tau" in loss.params else (math.nan,)

    def _entry(self, loss: SavedLoss, tau: float) -> _Entry:
        p, c = self.passes.pieces, self.passes.constants
        params: dict[str, Param] = {
            "name": loss.name,
            **params_of(loss, c, tau, p.n_negatives, p.n_hard),
        }
        return _Entry(loss, tau, params, loss.terms(p, c, tau))

    def result(self) -> FamilyResult:
        """Everything: errors need one more pass, for which all askers come first."""
        for entry in self.entries:
            self.passes.expect(entry.terms)
        for terms in self.gaps.values():
            self.passes.expect(terms)
        cacr = self.passes.cacr_moment()
        weights = self._weights()
        self.passes.receive()
        records: list[Record] = []
        for entry in self.entries:
            records += self._loss_records(entry, cacr)
        records += self._class_losses()
        records += self._gap_records()
        records += self._weight_records(weights)
        records += self._energy_records()
        anchors = self.measured.curve_anchors
        tables = [self._limits(), self._totals(), gradient_table(self.passes, anchors)]
        notes: tuple[str, ...] = ()
        if self.options.batch_sizes:
            more, table, notes = self._batches()
            records += more
            tables.append(table)
        return FamilyResult(tuple(records), tuple(tables), notes)

    # ---- losses

    def _number(
        self, values: Vector, own: Vector, effects: Sequence[Vector], of_classes: bool
    ) -> Number | None:
        population = None
        if of_classes and self.subject.labels is not None:
            population = int((self.subject.labels.codes >= 0).sum())
        return mean_with_effects(
            values,
            own,
            effects,
            self.passes.share,
            self.subject.groups,
            self.anchors,
            population,
        )

    def _record(
        self,
        metric: str,
        definition: str | None,
        params: dict[str, Param],
        found: Number | None,
        unit: Unit,
        reason: str,
    ) -> Record:
        s = self.subject
        if found is None or not math.isfinite(found.value):
            return undefined(s.source, metric, definition, params, unit, s.d, reason)
        return Record(
            source=s.source,
            metric=metric,
            definition=definition,
            params=params,
            value=found.value,
            std_error=found.std_error,
            unit=unit,
            n=found.n,
            d=s.d,
            pseudo_values=found.pseudo_values,
            pseudo_noise=found.pseudo_noise,
            sampling_error=found.sampling_error,
            exact=found.sampling_error is None,
        )

    def _loss_records(self, entry: _Entry, cacr: Moment) -> list[Record]:
        loss, terms = entry.loss, entry.terms
        of_classes = loss.needs == "labels"
        effects = (
            self.passes.moment_effects(cacr)
            if terms.effect == "cacr"
            else self.passes.effects(terms)
        )
        own = terms.value if terms.own is None else terms.own
        reason = self._reason(loss, terms)
        found = self._number(terms.value, own, effects, of_classes)
        records = [self._record("loss", loss.definition, entry.params, found, _unit(loss), reason)]
        of_alignment = [np.zeros(self.subject.n)] * len(effects)
        if terms.effect in ("supcon_out", "supcon_in"):
            inside = tuple(softmax for softmax in terms.softmaxes if softmax.weight < 0)
            of_alignment = self.passes.effects(replace(terms, softmaxes=inside))
        for metric, part in (
            ("loss_alignment", terms.alignment),
            ("loss_uniformity", terms.uniformity),
        ):
            part_of = None
            if part is not None and found is not None:
                own_part = part
                if metric == "loss_alignment":
                    moved = of_alignment
                    if terms.own is not None and terms.effect != "kernel":
                        own_part = own - (terms.value - part)
                else:
                    moved = [a - b for a, b in zip(effects, of_alignment, strict=True)]
                    if terms.effect == "kernel":
                        own_part = 2.0 * part
                part_of = self._number(part, own_part, moved, of_classes)
            missing = terms.reason or reason
            records.append(
                self._record(metric, loss.definition, entry.params, part_of, _unit(loss), missing)
            )
        return records

    def _reason(self, loss: SavedLoss, terms: Terms) -> str:
        if loss.kernel is not None:
            for view in VIEWS:
                if self.passes.kernels[view, loss.kernel].reason:
                    return self.passes.kernels[view, loss.kernel].reason
            if np.isinf(terms.value).any():
                return "some rows coincide with their positives, or t is too large"
        if loss.needs == "labels":
            return "hardly any labelled row has a negative" if self.anchors else _NO_NEGATIVE
        return (
            "hardly any of the anchors has a negative" if self.anchors else "no row has a negative"
        )

    def _class_losses(self) -> list[Record]:
        """ICL's discrepancy and CLOP's term, from class sums; A-InfoNCE, which has no value."""
        records = []
        if self.subject.labels is not None:
            records += self._discrepancy()
            values, reason = clop_values(self.passes)
            found = None
            if values is not None and np.isfinite(values).any():
                there = np.isfinite(values)
                error = standard_error(values, self.subject.groups)
                found = Number(float(values[there].mean()), error, int(there.sum()), values)
            params: dict[str, Param] = {
                "name": "clop",
                "anchors": "given" if self.subject.frame is not None else "best_fit",
            }
            reason = reason or "no row is labelled"
            records.append(self._record("loss", None, params, found, "none", reason))
            records.append(self._record("loss_alignment", None, params, found, "none", reason))
            why = "it pulls towards fixed anchors, and nothing pushes"
            records.append(self._record("loss_uniformity", None, params, None, "none", why))
        why = (
            "its value is that of contrastive[symmetric]: only gradients differ; see "
            "a_infonce_effective_negatives"
        )
        return [*records, self._record("loss", None, {"name": "a_infonce"}, None, "nats", why)]

    def _discrepancy(self) -> list[Record]:
        assert self.subject.labels is not None
        params: dict[str, Param] = {"name": "icl_mmd"}
        n = int((self.subject.labels.codes >= 0).sum())
        parts: list[Number | None] = [None, None, None]
        if (self.subject.labels.counts > 0).sum() > 1:
            found = mean_discrepancy(self.passes)
            parts = [
                self._from_derivative(value, own, n)
                for value, own in (
                    (found.value, found.own),
                    (found.attraction, found.own + found.own_within),
                    (found.value - found.attraction, -found.own_within),
                )
            ]
        metrics = ("loss", "loss_alignment", "loss_uniformity")
        reason = "there is only one class"
        return [
            self._record(metric, None, params, part, "squared_distance", reason)
            for metric, part in zip(metrics, parts, strict=True)
        ]

    def _from_derivative(self, value: float, own: Vector, n: int) -> Number:
        there = np.isfinite(own)
        pseudo = value + own - float(own[there].mean())
        return Number(value, standard_error(pseudo, self.subject.groups), n, pseudo)

    def _gap_records(self) -> list[Record]:
        """DCL - NSCL among labelled rows: what false negatives cost, beside its bound."""
        if self.subject.labels is None:
            return []
        records = []
        counts = self.subject.labels.counts
        n, largest = int(counts.sum()), int(counts.max(initial=0))
        for tau in self.options.taus:
            terms = self.gaps[tau]
            found = self._number(terms.value, terms.value, self.passes.effects(terms), True)
            params: dict[str, Param] = {"tau": tau}
            records.append(self._record("dcl_nscl_gap", None, params, found, "nats", _NO_NEGATIVE))
            bound, reason = None, "there is only one class"
            if n > largest:
                ratio = math.log(largest / (n - largest)) + 2.0 / tau
                bound = Number(float(np.logaddexp(0.0, ratio)), 0.0, n)
            records.append(self._record("dcl_nscl_gap_bound", None, params, bound, "nats", reason))
        return records

    # ---- A-InfoNCE's weights

    def _weights(self) -> list[tuple[float, Moment, Moment | None]]:
        """Statistics of the relative weights exp((1 + beta) s / tau) that A-InfoNCE's push has."""
        found = []
        for tau in self.options.taus:
            steep = self.passes.constants.steeper(tau)
            log_mass, gap, same = self.passes.steeper[tau]
            with np.errstate(invalid="ignore"):
                entropy = np.clip(log_mass - (1.0 - gap) / steep, 0.0, None)
            effective = np.where(np.isfinite(log_mass), np.exp(entropy), np.nan)
            key = ("uv", steep, "all")
            count = self.passes.moment(
                key,  # type: ignore[arg-type]
                effective,
                log_mass,
                gap,
                weight=np.exp(entropy),
                scale=1.0 / steep,
                plain=1.0,
            )
            false = None
            if same is not None:
                share = np.where(
                    self.passes.labelled[self.passes.rows], np.exp(same - log_mass), np.nan
                )
                false = self.passes.moment(
                    key,  # type: ignore[arg-type]
                    share,
                    log_mass,
                    share,
                    pairs="same_class",
                )
            found.append((tau, count, false))
        return found

    def _weight_records(self, weights: list[tuple[float, Moment, Moment | None]]) -> list[Record]:
        records = []
        for tau, count, false in weights:
            params: dict[str, Param] = {"tau": tau, "beta": self.passes.constants.beta}
            found = self._number(
                count.values, count.values, self.passes.moment_effects(count), False
            )
            records.append(
                self._record(
                    "a_infonce_effective_negatives", None, params, found, "count", _NO_NEGATIVE
                )
            )
            if false is not None:
                found = self._number(
                    false.values, false.values, self.passes.moment_effects(false), True
                )
                records.append(
                    self._record(
                        "a_infonce_false_negative_share",
                        None,
                        params,
                        found,
                        "share",
                        "no row is labelled",
                    )
                )
        return records

    # ---- energies and the distance to the uniform law

    def _energy_records(self) -> list[Record]:
        records = []
        n, d, t = self.subject.n, self.subject.d, self.passes.constants.t
        for kernel in KERNELS:
            for view in VIEWS:
                part = self.passes.kernels[view, kernel]
                params: dict[str, Param] = {"kernel": kernel, "t": t, "view": 1 + VIEWS.index(view)}
                found = None
                if not part.reason:
                    sums, squares = part.sums, part.squares * n / len(part.sums)
                    relative = None
                    if math.isfinite(squares) and sums.any():
                        relative = kernel_mean_standard_error(
                            sums, squares, n if self.anchors is not None else None
                        )
                    error = None if relative is None else abs(float(part.means.mean()) * relative)
                    if self.subject.groups is not None and self.anchors is None:
                        error = standard_error(2.0 * part.means, self.subject.groups)
                    if self.anchors is None:
                        value = float(part.means.mean())
                        pseudo = 2.0 * part.means - value
                        found = Number(value, _positive(error), n, pseudo)
                    else:
                        mean = self.anchors.mean(part.means)
                        found = Number(
                            mean.value, _positive(error), mean.n, None, mean.sampling_error
                        )
                records.append(
                    self._record("hyperspherical_energy", None, params, found, "none", part.reason)
                )
            name, least = energy_reference(kernel, t, n, d)
            params = {"kernel": kernel, "t": t}
            reference = None if least is None else Number(least, 0.0, n)
            records.append(
                self._record(
                    "hyperspherical_energy_reference",
                    name,
                    params,
                    reference,
                    "none",
                    f"infinite for t >= D - 1 = {d - 1}",
                )
            )
        return records

    # ---- tables

    def _limits(self) -> Table:
        """The contrastive loss beside what it tends to for small and for large temperatures."""
        p = self.passes.pieces
        rows: list[dict[str, Cell]] = []
        triplet = float(np.maximum(p.hardest - p.positive, 0.0).mean())
        n = p.n
        first = float((p.negative_sum / n - (n - 1) / n * p.positive).mean())
        for entry in self.entries:
            if (entry.loss.name, entry.loss.definition) != ("contrastive", "one_way"):
                continue
            rows.append(
                {
                    "source": self.subject.source,
                    "name": entry.loss.name,
                    "definition": entry.loss.definition,
                    "tau": entry.tau,
                    "loss": float(entry.terms.value.mean()),
                    "small_tau": triplet / entry.tau,
                    "large_tau": math.log(n) + first / entry.tau,
                }
            )
        return Table("loss_limits", LIMIT_COLUMNS, tuple(rows))

    def _totals(self) -> Table:
        """Mean pull on the positive and mean push on the negatives, dL/ds."""
        rows: list[dict[str, Cell]] = []
        for entry in self.entries:
            terms = entry.terms
            if terms.push is None or terms.pull is None:
                continue
            rows.append(
                {
                    "source": self.subject.source,
                    "name": entry.loss.name,
                    "definition": entry.loss.definition,
                    "tau": None if math.isnan(entry.tau) else entry.tau,
                    "positive": _mean_of(terms.pull),
                    "negatives": _mean_of(terms.push),
                }
            )
        return Table("loss_gradient_totals", TOTAL_COLUMNS, tuple(rows))

    def _batches(self) -> tuple[list[Record], Table, tuple[str, ...]]:
        """Expectations over batches beside the limit that the saved rows give."""
        losses = tuple(loss for loss in self.losses if loss.needs != "queue")
        limits = {
            (e.loss, None if math.isnan(e.tau) else e.tau): _mean_of(e.terms.limit)
            for e in self.entries
        }
        records: list[Record] = []
        rows: list[dict[str, Cell]] = []
        far: dict[float, list[int]] = {}
        executor = self.passes.runner.executor
        for size in self.options.batch_sizes:
            self.passes.runner.announce(f"losses: batches of {size}")
            found = batch_estimates(
                self.subject, self.options, self.passes.constants, losses, size, executor
            )
            for at, loss in enumerate(losses):
                if (at, self.options.taus[0]) not in found:
                    records.append(self._no_batches(loss, size))
            for (at, tau), estimate in found.items():
                loss = losses[at]
                own_tau = tau if "tau" in loss.params else math.nan
                limit = limits[loss, None if math.isnan(own_tau) else tau]
                records.append(self._batch_record(loss, own_tau, size, estimate))
                row = self._batch_row(loss, own_tau, size, estimate, limit)
                rows.append(row)
                if (loss.name, loss.definition) == ("contrastive", "one_way") and not row[
                    "converged"
                ]:
                    far.setdefault(tau, []).append(size)
        notes: tuple[str, ...] = ()
        if far:
            listing = "; ".join(
                f"tau {tau:g}: {', '.join(map(str, sizes))}" for tau, sizes in far.items()
            )
            notes = (
                f"{self.subject.source}: L - log K of the contrastive loss is more than "
                f"{CONVERGED:g} nats from its limit at batch sizes ({listing}): the limit needs "
                "K far above exp(s+/tau) over the mean of exp(s/tau)",
            )
        return records, Table("loss_batch", BATCH_COLUMNS, tuple(rows)), notes

    def _no_batches(self, loss: SavedLoss, size: int) -> Record:
        params: dict[str, Param] = {"name": loss.name, "batch_size": size}
        reason = "it is infinite, or has no value, in some batch of this size"
        return self._record("loss", loss.definition, params, None, _unit(loss), reason)

    def _batch_record(
        self, loss: SavedLoss, tau: float, size: int, estimate: BatchEstimate
    ) -> Record:
        c, m = self.passes.constants, size - 1
        params: dict[str, Param] = {
            "name": loss.name,
            **params_of(loss, c, tau, m, n_kept(c.alpha, m)),
            "batch_size": size,
        }
        return Record(
            source=self.subject.source,
            metric="loss",
            definition=loss.definition,
            params=params,
            value=estimate.value,
            std_error=estimate.std_error,
            unit=_unit(loss),
            n=self.subject.n,
            d=self.subject.d,
            sampling_error=estimate.sampling_error,
            exact=False,
        )

    def _batch_row(
        self, loss: SavedLoss, tau: float, size: int, estimate: BatchEstimate, limit: float | None
    ) -> dict[str, Cell]:
        normalised = estimate.value - estimate.log_count
        converged = None
        if limit is not None:
            converged = abs(normalised - limit) <= CONVERGED + 2.0 * estimate.sampling_error
        return {
            "source": self.subject.source,
            "name": loss.name,
            "definition": loss.definition,
            "tau": None if math.isnan(tau) else tau,
            "batch_size": size,
            "loss": estimate.value,
            "std_error": estimate.std_error,
            "sampling_error": estimate.sampling_error,
            "log_count": estimate.log_count,
            "normalised": normalised,
            "limit": limit,
            "converged": converged,
        }


_NO_NEGATIVE = "no labelled row has a negative of another class"


def _unit(loss: SavedLoss) -> Unit:
    if "tau" in loss.params:
        return "nats"
    if loss.kernel is not None:
        return "none"
    return "squared_distance" if loss.name == "cacr" else "cosine"


def _mean_of(values: Vector | None) -> float | None:
    if values is None:
        return None
    there = np.isfinite(values)
    return float(values[there].mean()) if there.any() else None


def _positive(error: float | None) -> float | None:
    return error if error is not None and math.isfinite(error) else None
