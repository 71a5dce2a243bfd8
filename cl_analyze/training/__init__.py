"""Metrics during training (torchmetrics), and a Lightning callback that saves embeddings.

    _metric.py           base class of all metrics: checks rows, returns a value and a record
    _samples.py          metrics of a random sample of rows; samples of batches and ranks merge
    _sums.py             metrics computed from sums over rows, exact
    _save_embeddings.py  the callback

A metric has the same value as the function of `cl_analyze` on the same rows.  Extra: training.

The first use of a name loads torch, torchmetrics or Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_analyze.training._metric import EmbeddingMetric
    from cl_analyze.training._samples import FalseNegativeShare, PenaltyEntropy, Uniformity
    from cl_analyze.training._save_embeddings import SaveEmbeddings
    from cl_analyze.training._sums import Alignment, EffectiveRank, Tolerance

_MODULE_OF = {
    "Alignment": "_sums",
    "EffectiveRank": "_sums",
    "EmbeddingMetric": "_metric",
    "FalseNegativeShare": "_samples",
    "PenaltyEntropy": "_samples",
    "SaveEmbeddings": "_save_embeddings",
    "Tolerance": "_sums",
    "Uniformity": "_samples",
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
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from cl_analyze.errors import DependencyError

    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"cl_analyze.training.{name} needs {error.name}: pip install 'cl-analyze[training]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
