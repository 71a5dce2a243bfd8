"""Contrastive losses as torch modules to train with, the losses that `cl-analyze losses` reports.

    _names.py        the public names, the one list of them
    _batch.py        PairLoss: two views in, values of the pairs, reduction, ranks
    _functional.py   the function of a module: contrastive(u, v, tau=0.2) of Contrastive(tau=0.2)
    _negatives.py    sums over the negatives of each anchor
    _contrastive.py  InfoNCE: Contrastive, HardContrastive, NTXent, AInfoNCE
    _decoupled.py    InfoNCE without the positive under the logarithm: DCL, DCLW, DHEL
    _simple.py       without a temperature: Simple, HardSimple, TripletLimit
    _distances.py    of distances: KCL, CACR
    _apart.py        each pair by itself: SigLIP, SpectralContrastive
    _dimensions.py   of the dimensions' moments: VICReg, BarlowTwins
    _classes.py      with labels: SupCon, NSCL, ICL, CLOP
    _gradients.py    gradients with respect to the similarities, relative penalties

Every loss is a module, `Contrastive(tau=0.2)(u, v)`, and a function, `contrastive(u, v, tau=0.2)`.
The first use of a name loads torch.  The package itself can be called: `losses(u, v)` measures
saved embeddings, as `cl_analyze.api.losses` does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_analyze.losses._names import *  # noqa: F403


class _Losses(ModuleType):
    """This package, which can be called and loads its names at their first use."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Measure saved embeddings: see `cl_analyze.api.losses`."""
        from cl_analyze.api import losses

        return losses(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__" or not name.startswith("_"):
            try:
                from cl_analyze.losses import _names
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                from cl_analyze.errors import DependencyError

                raise DependencyError(
                    f"cl_analyze.losses.{name} needs torch: pip install torch"
                ) from error

            public = {key: value for key, value in vars(_names).items() if key[0] != "_"}
            self.__dict__.update(public, __all__=sorted(public))
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted(self.__all__)


sys.modules[__name__].__class__ = _Losses
