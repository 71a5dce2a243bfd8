"""A callback of Hugging Face's Trainer that saves embeddings, for `compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cl_analyze.errors import ConfigError
from cl_analyze.options.kinds import whole_number
from cl_analyze.training._checkpoints import (
    checked_arrays,
    checkpoint_name,
    epoch_of,
    write_arrays,
)
from cl_analyze.training._texts import checked_texts

_CALLER = "SaveEmbeddingsCallback"
Embed = Callable[[Any], Any]


class SaveEmbeddingsCallback(TrainerCallback):
    """Writes DIR/epoch-0000-step-500.npz every n steps of a Trainer, and at the end.

    For `cl-analyze compare DIR/*.npz --x step`.  The rows are those of `texts`, which a model of
    sentence-transformers embeds by `encode`, or those that `embed` returns, for any other model.
    Files are written atomically.  Epochs are numbered from 0, steps are optimiser steps.  The
    model's mode (training or evaluation) is the same afterwards, and no gradient is computed.

    With several ranks the first one embeds and writes, while the others wait.  So each rank must
    hold the whole model (one process, or DDP; not FSDP and not ZeRO stage 3).

    Args:
        folder: folder of the files; created if it is missing.
        texts: N texts to embed; None: `embed` gives the rows.
        labels: (N,) classes of the texts, integers or strings; None: no classes.
        pairs: N partners of the texts; the embeddings are (N, 2, D) then.
        ids: (N,) numbers or names of the texts; None: no ids.
        every_n_steps: n; the steps n, 2n, ... are saved, and the last step.
        embed: function of the model that returns (N, D) rows, or a dictionary with `embeddings` and
            optionally `labels`, `view1`, `view2`, `ids`, as arrays or tensors.  It runs under
            no_grad in evaluation mode.
        batch_size: texts that the model embeds at a time.
        truncate_dim: dimensions to keep, the first ones; None: those of the model.

    Raises:
        ConfigError: an argument has an invalid value.  While training: rows have a shape that
            cannot be saved, or a file cannot be written.

    Cost: for each file an embedding of all rows; host memory for the rows.

    >>> saved = SaveEmbeddingsCallback("run", ["a dog", "a cat"], every_n_steps=100)
    >>> saved.every_n_steps
    100
    """

    def __init__(
        self,
        folder: str | Path,
        texts: Iterable[Any] | None = None,
        labels: Any = None,
        pairs: Iterable[Any] | None = None,
        *,
        ids: Any = None,
        every_n_steps: int = 500,
        embed: Embed | None = None,
        batch_size: int = 32,
        truncate_dim: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every_n_steps = whole_number("every_n_steps", every_n_steps)
        self.embed = embed
        if (texts is None) == (embed is None):
            raise ConfigError(f"{_CALLER}: pass either texts or embed, the function of a model")
        if texts is None:
            beside = {"labels": labels, "pairs": pairs, "ids": ids, "truncate_dim": truncate_dim}
            for name, value in beside.items():
                if value is not None:
                    raise ConfigError(f"{_CALLER}: {name} belong to texts: return them from embed")
            self._texts = None
        else:
            self._texts = checked_texts(
                _CALLER, texts, pairs, labels, ids, batch_size, truncate_dim=truncate_dim
            )
        self._last_step: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that the model can embed texts.

        Raises:
            ConfigError: it has no `encode`.
        """
        self._last_step = None
        model = kwargs.get("model")
        if self._texts is not None and not hasattr(model, "encode"):
            raise ConfigError(
                f"{_CALLER}: {type(model).__name__} has no method encode: pass embed=, a function "
                "of the model that returns the rows, instead of texts"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save every n steps.

        Raises:
            ConfigError: the rows cannot be saved.
        """
        if state.global_step % self.every_n_steps == 0:
            self._save(state, kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the last step, if it is not saved yet.

        Raises:
            ConfigError: the rows cannot be saved.
        """
        if self._last_step != state.global_step:
            self._save(state, kwargs["model"])

    def _save(self, state: TrainerState, model: Any) -> None:
        self._last_step = state.global_step
        if not state.is_world_process_zero:
            return
        with _evaluation(model):
            arrays = self._arrays(model)
        name = checkpoint_name(epoch_of(state.epoch or 0.0), state.global_step)
        write_arrays(self.folder / f"{name}.npz", arrays, _CALLER)

    def _arrays(self, model: Any) -> dict[str, NDArray[Any]]:
        if self._texts is not None:
            return self._texts.embedded(model)
        assert self.embed is not None
        returned = self.embed(model)
        if not isinstance(returned, Mapping):
            returned = {"embeddings": returned}
        return checked_arrays(returned, _CALLER, "embed")


@contextmanager
def _evaluation(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
