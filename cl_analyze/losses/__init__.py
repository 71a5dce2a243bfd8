"""Contrastive losses as torch modules to train with; each is what `cl-analyze losses` reports.

    _batch.py             what all share: two views in, values of the pairs, reduction, ranks
    _masked.py            log-sum-exp over some entries of a row, safe where there are none
    _contrastive.py       Wang & Liu, eq. 1, one way, symmetric, and with a queue
    _hard_contrastive.py  Wang & Liu, eqs. 8-9
    _simple.py            Wang & Liu, eq. 3, its hard form, and the limit of tau -> 0
    _nt_xent.py  _dcl.py  _dhel.py  _kcl.py  _supcon.py  _nscl.py  _cacr.py  _a_infonce.py  _icl.py
    _clop.py              one file each
    _gradients.py         gradients with respect to the similarities, relative penalties

Every loss is a module, `Contrastive(tau=0.2)(u, v)`, and a function, `contrastive(u, v, tau=0.2)`.
Names load torch when they are first used.  The package itself can be called: `losses(u, v)`
measures saved embeddings, as `cl_analyze.functions.losses` does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_analyze.losses._a_infonce import AInfoNCE, a_infonce
    from cl_analyze.losses._batch import PairLoss
    from cl_analyze.losses._cacr import CACR, cacr
    from cl_analyze.losses._clop import CLOP, clop, orthonormal_frame
    from cl_analyze.losses._contrastive import Contrastive, contrastive
    from cl_analyze.losses._dcl import DCL, DCLW, dcl, dclw
    from cl_analyze.losses._dhel import DHEL, dhel
    from cl_analyze.losses._gradients import SimilarityGradients, similarity_gradients
    from cl_analyze.losses._hard_contrastive import HardContrastive, hard_contrastive
    from cl_analyze.losses._icl import ICL, icl
    from cl_analyze.losses._kcl import KCL, kcl
    from cl_analyze.losses._nscl import NSCL, nscl
    from cl_analyze.losses._nt_xent import NTXent, nt_xent
    from cl_analyze.losses._simple import (
        HardSimple,
        Simple,
        TripletLimit,
        hard_simple,
        simple,
        triplet_limit,
    )
    from cl_analyze.losses._supcon import SupCon, supcon

_WHERE = {
    "PairLoss": "_batch",
    "AInfoNCE": "_a_infonce",
    "a_infonce": "_a_infonce",
    "CACR": "_cacr",
    "cacr": "_cacr",
    "CLOP": "_clop",
    "clop": "_clop",
    "orthonormal_frame": "_clop",
    "Contrastive": "_contrastive",
    "contrastive": "_contrastive",
    "DCL": "_dcl",
    "DCLW": "_dcl",
    "dcl": "_dcl",
    "dclw": "_dcl",
    "DHEL": "_dhel",
    "dhel": "_dhel",
    "SimilarityGradients": "_gradients",
    "similarity_gradients": "_gradients",
    "HardContrastive": "_hard_contrastive",
    "hard_contrastive": "_hard_contrastive",
    "ICL": "_icl",
    "icl": "_icl",
    "KCL": "_kcl",
    "kcl": "_kcl",
    "NSCL": "_nscl",
    "nscl": "_nscl",
    "NTXent": "_nt_xent",
    "nt_xent": "_nt_xent",
    "HardSimple": "_simple",
    "Simple": "_simple",
    "TripletLimit": "_simple",
    "hard_simple": "_simple",
    "simple": "_simple",
    "triplet_limit": "_simple",
    "SupCon": "_supcon",
    "supcon": "_supcon",
}

__all__ = [
    "CACR",
    "CLOP",
    "DCL",
    "DCLW",
    "DHEL",
    "ICL",
    "KCL",
    "NSCL",
    "AInfoNCE",
    "Contrastive",
    "HardContrastive",
    "HardSimple",
    "NTXent",
    "PairLoss",
    "SimilarityGradients",
    "Simple",
    "SupCon",
    "TripletLimit",
    "a_infonce",
    "cacr",
    "clop",
    "contrastive",
    "dcl",
    "dclw",
    "dhel",
    "hard_contrastive",
    "hard_simple",
    "icl",
    "kcl",
    "nscl",
    "nt_xent",
    "orthonormal_frame",
    "similarity_gradients",
    "simple",
    "supcon",
    "triplet_limit",
]


class _Losses(ModuleType):
    """This package, which can be called and loads its names when they are asked for."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Measure saved embeddings: see `cl_analyze.api.losses`."""
        from cl_analyze.api import losses

        return losses(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted(_WHERE)


sys.modules[__name__].__class__ = _Losses
