"""While training: metrics for torchmetrics, and a Lightning callback that saves embeddings.

    _metric.py          what all metrics share: rows in, a number and its record out
    _reservoir.py       a seeded sample of rows that merges across batches and ranks
    _uniformity.py  _penalty.py     read off such a sample
    _tolerance.py  _alignment.py  _effective_rank.py     read off sums, exact
    _save_embeddings.py  the callback

Every value is what the functions of this package say of the same rows.  Extra: training.

Names load torch, torchmetrics or Lightning when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_analyze.training._alignment import Alignment
    from cl_analyze.training._effective_rank import EffectiveRank
    from cl_analyze.training._metric import EmbeddingMetric
    from cl_analyze.training._penalty import FalseNegativeShare, PenaltyEntropy
    from cl_analyze.training._save_embeddings import SaveEmbeddings
    from cl_analyze.training._tolerance import Tolerance
    from cl_analyze.training._uniformity import Uniformity

_WHERE = {
    "Alignment": "_alignment",
    "EffectiveRank": "_effective_rank",
    "EmbeddingMetric": "_metric",
    "FalseNegativeShare": "_penalty",
    "PenaltyEntropy": "_penalty",
    "SaveEmbeddings": "_save_embeddings",
    "Tolerance": "_tolerance",
    "Uniformity": "_uniformity",
}

__all__ = [
    "Alignment",
    "EffectiveRank",
    "EmbeddingMetric",
    "FalseNegativeShare",
    "PenaltyEntropy",
    "SaveEmbeddings",
    "Tolerance",
    "Uniformity",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from cl_analyze.errors import DependencyError

    try:
        module = import_module(f"{__name__}.{_WHERE[name]}")
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"cl_analyze.training.{name} needs {error.name}: pip install 'cl-analyze[training]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
