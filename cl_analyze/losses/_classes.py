"""Losses with labels: classes attract (SupCon, CLOP), repel (NSCL) or become alike (ICL)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from cl_analyze.errors import ConfigError
from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import check_rows, one_of, positive
from cl_analyze.losses._functional import class_functional
from cl_analyze.losses._negatives import both_views_log_sums, masked_log_sum_exp, others

SupConDefinition = Literal["out", "in"]
NSCLDefinition = Literal["decoupled", "official"]


class _ClassLoss(PairLoss):
    """Base of losses that need labels; rows with a negative label take no part."""

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        return None if labels is None else labels >= 0

    def _needed(self, labels: Tensor | None) -> Tensor:
        """The labels; without labels, a ConfigError."""
        if labels is None:
            raise ConfigError(f"{type(self).__name__} needs labels: pass labels=(M,) integers")
        return labels


class SupCon(_ClassLoss):
    """Supervised contrastive loss: every row of the anchor's class, in either view, is a positive.

    A mean over 2M anchors.

    Args:
        tau: temperature, > 0 (without the factor tau / base_tau of the authors' code).
        definition: whether the mean over positives stands outside or inside the logarithm
            (in <= out).
        reduction, gather: see `PairLoss`.

    Called with (u, v, labels); rows with a negative label take no part.

    Reference: Khosla et al., NeurIPS 2020, eqs. 2 and 3.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(SupCon(tau=0.5)(u, u, labels)), 6)
    1.321542
    """

    saved = ("supcon",)

    def __init__(
        self,
        tau: float = 0.2,
        definition: SupConDefinition = "out",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, get_args(SupConDefinition))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        labels = self._needed(labels)
        rows, classes = torch.cat([u, v]), torch.cat([labels, labels])
        logits = rows @ rows.T / self.tau
        known = classes >= 0
        counted = others(len(rows), rows.device) & known[:, None] & known[None, :]
        positives = counted & (classes[:, None] == classes[None, :])
        log_total = masked_log_sum_exp(logits, counted)
        n_positives = positives.sum(dim=1).clamp(min=1).to(logits.dtype)
        if self.definition == "out":
            aligned = logits.masked_fill(~positives, 0.0).sum(dim=1) / n_positives
        else:
            aligned = masked_log_sum_exp(logits, positives) - n_positives.log()
        values = torch.where(known, log_total - torch.where(known, aligned, 0.0), 0.0)
        return 0.5 * (values[: len(u)] + values[len(u) :])


supcon = class_functional("supcon", SupCon)


class NSCL(_ClassLoss):
    """Negatives-only supervised contrastive loss: DCL whose negatives are rows of other classes.

    A mean over anchors of both views.

    Args:
        tau: temperature, > 0.
        definition: decoupled: as the paper has it; official: the authors' code, which adds the
            positive under the logarithm.
        reduction, gather: see `PairLoss`.

    Called with (u, v, labels); rows with a negative label take no part, and an anchor whose class
    is the whole batch has no value.

    Reference: Luthra et al., "Self-Supervised Contrastive Learning is Approximately Supervised
    Contrastive Learning", 2025.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(NSCL(tau=0.5)(u, u, labels)), 6)
    -1.075804
    """

    saved = ("nscl",)

    def __init__(
        self,
        tau: float = 0.2,
        definition: NSCLDefinition = "decoupled",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, get_args(NSCLDefinition))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        labels = self._needed(labels)
        known = labels >= 0
        mask = (labels[:, None] != labels[None, :]) & known[:, None] & known[None, :]
        positive = (u * v).sum(dim=1) / self.tau
        of_u, of_v = (sums - positive for sums in both_views_log_sums(u, v, self.tau, mask))
        if self.definition == "official":
            of_u, of_v = softplus(of_u), softplus(of_v)
        return 0.5 * of_u + 0.5 * of_v

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """Labelled rows for which there is a row of another class."""
        if labels is None:
            return None
        known = labels[labels >= 0]
        several = len(known) > 0 and bool((known != known[0]).any())
        return (labels >= 0) & several


nscl = class_functional("nscl", NSCL)


class ICL(_ClassLoss):
    """Inverse contrastive loss: rows become invariant to an extraneous variable.

    Rows of different classes of that variable attract each other, rows of one class repel.
    mmd: sum over ordered pairs of classes of |mu_c - mu_c'|^2 over both views, which equals
    sum_{c != c'} of mean distances minus (C - 1) times the mean distance within each class.
    exponential: the repulsion within a class is exp(a - b |z - z'|) in place of -|z - z'|^2 (self
    pairs counted, as in the authors' code).

    Args:
        definition: mmd or exponential.
        a, b: of the exponential repulsion.
        reduction, gather: see `PairLoss`; values of pairs are such that their mean is the loss.

    Called with (u, v, labels), labels the classes of the extraneous variable.

    Reference: Akash et al., "Learning Invariant Representations using Inverse Contrastive Loss",
    AAAI 2021.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(ICL()(u, u, labels)), 6)
    3.0
    """

    saved = ("icl_mmd",)

    def __init__(
        self,
        definition: str = "mmd",
        a: float = 1.0,
        b: float = 1.0,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.definition = one_of("definition", definition, ("mmd", "exponential"))
        self.a = a
        self.b = positive("b", b)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        labels = self._needed(labels)
        rows, classes = torch.cat([u, v]), torch.cat([labels, labels])
        known = classes >= 0
        names, codes = torch.unique(classes[known], return_inverse=True)
        counts = torch.bincount(codes, minlength=len(names)).to(rows.dtype)
        weight = torch.zeros(len(rows), dtype=rows.dtype, device=rows.device)
        weight[known] = 1.0 / counts[codes]
        d2 = (2.0 - 2.0 * rows @ rows.T).clamp(min=0)
        same = (classes[:, None] == classes[None, :]) & known[:, None] & known[None, :]
        differ = known[:, None] & known[None, :] & ~same
        pull = (d2 * differ) @ weight
        if self.definition == "mmd":
            push = -(d2 * same) @ weight
        else:
            # of a row with itself the distance is 0, without a gradient
            inside = others(len(rows), rows.device)
            distance = torch.where(inside, d2, 1.0).clamp(min=1e-24).sqrt() * inside
            push = (torch.exp(self.a - self.b * distance) * same) @ weight
        n = known.sum() / 2
        values = weight * (pull + (len(names) - 1) * push) * n
        return values[: len(u)] + values[len(u) :]


icl = class_functional("icl", ICL)


class CLOP(_ClassLoss):
    """1 - (u_i . a_y + v_i . a_y) / 2: pulls classes towards orthonormal anchors.

    CLOP's prototype term, to be added to a base loss.

    Args:
        anchors: (C, D) frozen unit anchors, a_c that of class c; see `orthonormal_frame`.
        reduction, gather: see `PairLoss`.

    Called with (u, v, labels) of 0 .. C-1; rows with a negative label take no part.

    Reference: Li et al., "CLOP: Preventing Neural Collapse with Orthonormal Prototypes", 2024.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(CLOP(torch.eye(3)[:2])(u, u, labels)), 6)
    0.666667
    """

    saved = ("clop",)
    anchors: Tensor

    def __init__(self, anchors: Tensor, reduction: Reduction = "mean", gather: bool = True) -> None:
        super().__init__(reduction, gather)
        self.register_buffer("anchors", anchors)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        labels = self._needed(labels)
        check_rows("anchors", self.anchors, u.shape[1])
        if len(labels) and int(labels.max()) >= len(self.anchors):
            raise ConfigError(
                f"label {int(labels.max())} has no anchor: there are {len(self.anchors)}"
            )
        targets = self.anchors.to(u.dtype)[labels.clamp(min=0)]
        return 1.0 - 0.5 * ((u + v) * targets).sum(dim=1)


clop = class_functional("clop", CLOP)


def orthonormal_frame(n_classes: int, dim: int, seed: int = 0) -> Tensor:
    """(C, D) orthonormal rows, drawn at random.

    Raises:
        ConfigError: more classes than dimensions.

    >>> frame = orthonormal_frame(3, 8)
    >>> bool(torch.allclose(frame @ frame.T, torch.eye(3), atol=1e-6))
    True
    """
    if n_classes > dim:
        raise ConfigError(f"{n_classes} orthonormal anchors do not fit into {dim} dimensions")
    drawn = torch.randn(dim, n_classes, generator=torch.Generator().manual_seed(seed))
    frame: Tensor = torch.linalg.qr(drawn).Q.T.contiguous()
    return frame
