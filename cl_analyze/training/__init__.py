"""Numbers during training: metrics (torchmetrics), an evaluator, callbacks that save embeddings.

    _metric.py           base class of all metrics: checks rows, returns a value and a record
    _samples.py          metrics of a random sample of rows; samples of batches and ranks merge
    _sums.py             metrics computed from sums over rows, exact
    _save_embeddings.py  the callback of Lightning
    _evaluator.py        the evaluator of sentence-transformers
    _trainer_callback.py the callback of Hugging Face's Trainer
    _texts.py            texts that a model embeds again and again
    _checkpoints.py      names, checks and writing of the files that callbacks and evaluator save

A metric has the same value as the function of `cl_analyze` on the same rows.  Extras: training;
sentence for the evaluator and the callback of the Trainer.

The first use of a name loads torch, and torchmetrics, Lightning or sentence-transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_analyze.training._evaluator import EmbeddingEvaluator
    from cl_analyze.training._metric import EmbeddingMetric
    from cl_analyze.training._samples import FalseNegativeShare, PenaltyEntropy, Uniformity
    from cl_analyze.training._save_embeddings import SaveEmbeddings
    from cl_analyze.training._sums import Alignment, EffectiveRank, Tolerance
    from cl_analyze.training._trainer_callback import SaveEmbeddingsCallback

_MODULE_OF = {
    "Alignment": "_sums",
    "EffectiveRank": "_sums",
    "EmbeddingEvaluator": "_evaluator",
    "EmbeddingMetric": "_metric",
    "FalseNegativeShare": "_samples",
    "PenaltyEntropy": "_samples",
    "SaveEmbeddings": "_save_embeddings",
    "SaveEmbeddingsCallback": "_trainer_callback",
    "Tolerance": "_sums",
    "Uniformity": "_samples",
}
_OF_SENTENCES = ("_evaluator", "_trainer_callback")
"""Modules that need the extra sentence; the others need the extra training."""

__all__ = [
    "Alignment",
    "EffectiveRank",
    "EmbeddingEvaluator",
    "EmbeddingMetric",
    "FalseNegativeShare",
    "PenaltyEntropy",
    "SaveEmbeddings",
    "SaveEmbeddingsCallback",
    "Tolerance",
    "Uniformity",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from cl_analyze.errors import DependencyError
    from cl_analyze.extras import pip_install

    extra = "sentence" if _MODULE_OF[name] in _OF_SENTENCES else "training"
    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"cl_analyze.training.{name} needs {error.name}: {pip_install(extra)}"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
