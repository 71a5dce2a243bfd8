"""Losses of the dimensions' variances and correlations: VICReg, Barlow Twins.

They compare no row with another.  Without `normalised` they take rows as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction, unit, wide
from cl_analyze.losses._checks import not_negative, one_of
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import others
from cl_analyze.metrics.losses.dimensions import (
    BARLOW_WEIGHT,
    CONSTANT,
    FORMS,
    VICREG_EPS,
    VICREG_STD,
    VICREG_WEIGHTS,
    Form,
)


class _OfDimensions(PairLoss):
    """Base of losses that take rows as they are, or on the unit sphere."""

    def __init__(self, definition: Form, reduction: Reduction, gather: bool) -> None:
        super().__init__(reduction, gather)
        self.definition = one_of("definition", definition, FORMS)

    def prepared(self, rows: Tensor) -> Tensor:
        return unit(rows) if self.definition == "normalised" else wide(rows)


class VICReg(_OfDimensions):
    """Invariance, variance and covariance: views alike, dimensions that vary and do not covary.

    invariance: mean of (u - v)^2 over the entries.  variance: mean over views and dimensions of
    max(0, 1 - sqrt(var + 1e-4)).  covariance: sum over views of the squared covariances of
    different dimensions, over D.  Variances and covariances are over M - 1.

    Args:
        invariance, variance, covariance: weights of the terms, >= 0.
        definition: as_saved: rows as they are, as the paper has it; normalised: on the unit sphere,
            where deviations are at most 1 / sqrt(D), so that the variance term cannot reach 0.
        reduction, gather: see `PairLoss`; variance and covariance are the same for every pair.

    Reference: Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", ICLR 2022, eqs. 1-6.

    >>> u = torch.ones(4, 3)       # collapsed: 25 (1 - sqrt(1e-4))
    >>> round(float(VICReg()(u, u)), 6)
    24.75
    """

    saved = ("vicreg",)

    def __init__(
        self,
        invariance: float = VICREG_WEIGHTS[0],
        variance: float = VICREG_WEIGHTS[1],
        covariance: float = VICREG_WEIGHTS[2],
        definition: Form = "as_saved",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(definition, reduction, gather)
        self.invariance = not_negative("invariance", invariance)
        self.variance = not_negative("variance", variance)
        self.covariance = not_negative("covariance", covariance)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        divisor, dim = max(len(u) - 1, 1), u.shape[1]
        of_all = torch.zeros((), dtype=u.dtype, device=u.device)
        for rows in (u, v):
            centred = rows - rows.mean(dim=0)
            covariances = centred.T @ centred / divisor
            deviations = (covariances.diagonal() + VICREG_EPS).sqrt()
            below = (VICREG_STD - deviations).clamp(min=0.0).mean()
            apart = covariances.masked_fill(~others(dim, u.device), 0.0)
            of_all = of_all + 0.5 * self.variance * below
            of_all = of_all + self.covariance / dim * apart.square().sum()
        return self.invariance * (u - v).square().mean(dim=1) + of_all


vicreg = functional("vicreg", VICReg)


class BarlowTwins(_OfDimensions):
    """sum_d (1 - c_dd)^2 + weight sum_{d != e} c_de^2, c the cross-correlation of the dimensions.

    c_de = sum_i a_id b_ie / M with each dimension's mean taken off and its deviation (over M - 1)
    divided by.  A constant dimension has c = 0 with all others: it adds 1 to the loss, as with the
    batch normalisation of the authors' code, and not NaN.

    Args:
        weight: lambda, of the correlations off the diagonal, >= 0.
        definition: as_saved: rows as they are, as the paper has it; normalised: on the unit sphere.
        reduction, gather: see `PairLoss`; the loss is the same for every pair.

    Reference: Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    ICML 2021, eqs. 1 and 2.

    >>> u = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(BarlowTwins()(u, u)), 6)       # D / M^2
    0.125
    """

    saved = ("barlow_twins",)

    def __init__(
        self,
        weight: float = BARLOW_WEIGHT,
        definition: Form = "as_saved",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(definition, reduction, gather)
        self.weight = not_negative("weight", weight)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        a, b = _standardised(u), _standardised(v)
        correlations = a.T @ b / len(u)
        apart = correlations.masked_fill(~others(u.shape[1], u.device), 0.0)
        on = (1.0 - correlations.diagonal()).square().sum()
        loss: Tensor = on + self.weight * apart.square().sum()
        return loss.expand(len(u))


barlow_twins = functional("barlow_twins", BarlowTwins)


def _standardised(rows: Tensor) -> Tensor:
    """(M, D) rows with dimensions of mean 0 and deviation 1; constant dimensions are 0."""
    centred = rows - rows.mean(dim=0)
    squares = centred.square().sum(dim=0)
    rounding = CONSTANT * torch.finfo(rows.dtype).eps * rows.abs().amax(dim=0)
    is_constant = (squares / len(rows)).sqrt() <= rounding
    variances = torch.where(is_constant, 1.0, squares / max(len(rows) - 1, 1))
    return torch.where(is_constant, 0.0, centred / variances.sqrt())
