"""CLOP's prototype term: pull classes towards orthonormal anchors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_analyze.errors import ConfigError
from cl_analyze.losses._batch import PairLoss, Reduction, labelled
from cl_analyze.losses._checks import check_rows


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


class CLOP(PairLoss):
    """1 - (u_i . a_y + v_i . a_y) / 2, to be added to a base loss.

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

    anchors: Tensor

    def __init__(self, anchors: Tensor, reduction: Reduction = "mean", gather: bool = True) -> None:
        super().__init__(reduction, gather)
        self.register_buffer("anchors", anchors)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        labels = labelled(labels, "CLOP")
        check_rows("anchors", self.anchors, u.shape[1])
        if len(labels) and int(labels.max()) >= len(self.anchors):
            raise ConfigError(
                f"label {int(labels.max())} has no anchor: there are {len(self.anchors)}"
            )
        targets = self.anchors.to(u.dtype)[labels.clamp(min=0)]
        return 1.0 - 0.5 * ((u + v) * targets).sum(dim=1)

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """Labelled rows."""
        return None if labels is None else labels >= 0


def clop(
    u: Tensor, v: Tensor, labels: Tensor, anchors: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """CLOP's prototype term of two views; see `CLOP`.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(clop(u, u, labels, torch.eye(3)[:2])), 6)
    0.666667
    """
    return CLOP(anchors, reduction, gather=False)(u, v, labels)  # type: ignore[no-any-return]
