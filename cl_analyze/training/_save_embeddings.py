"""A Lightning callback that saves the embeddings of a validation loader, to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_analyze.errors import ConfigError, DataError
from cl_analyze.output import replacing
from cl_analyze.training._metric import whole

ARRAYS = ("embeddings", "labels", "view1", "view2", "ids")
Embed = Callable[[Any, Any], Mapping[str, Tensor]]


class SaveEmbeddings(lightning.Callback):
    """Writes DIR/epoch-0009-step-570.npz every n epochs, for `cl-analyze compare DIR/*.npz`.

    The arrays are those that `cl-analyze` reads by itself: `embeddings` (N, D) and, where they
    are given, `labels` (N,), `view1` and `view2` (N, D), `ids` (N,).  They come from what
    `validation_step` returns, or from `embed`.  A file appears whole or not at all; epochs are
    numbered from 0, as Lightning does, and `compare --x epoch` or `--x step` orders the files.

    With several ranks the rows of all are written by the first, sorted by `ids`, which are needed
    then: samplers deal rows out by turns and repeat some.  With ids rows are in their order also
    on one rank.

    Nothing is written in the sanity check and in `fast_dev_run`.  `trainer.validate` writes too.

    Args:
        folder: where the files go; it is made when it is missing.
        every_n_epochs: epochs n, 2n, ... are saved.
        embed: takes the module and a batch (on the module's device), returns a dictionary with
            `embeddings` and what else is to be saved; None: `validation_step` returns one.  It runs
            under no_grad, in evaluation mode, on every validation batch of those epochs.
        dataloader: which of several validation loaders.

    Raises:
        ConfigError: an option makes no sense, or what a batch gives cannot be saved.

    Cost: the arrays of the loader in memory, float32; nothing on a GPU beyond a batch.

    >>> import lightning.pytorch, tempfile
    >>> saved = SaveEmbeddings(tempfile.mkdtemp(), every_n_epochs=5)
    >>> trainer = lightning.pytorch.Trainer(callbacks=[saved], logger=False, accelerator="cpu",
    ...     enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False)
    """

    def __init__(
        self,
        folder: str | Path,
        every_n_epochs: int = 1,
        embed: Embed | None = None,
        dataloader: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.every_n_epochs = whole("every_n_epochs", every_n_epochs, 1)
        self.embed = embed
        self.dataloader = whole("dataloader", dataloader, 0)
        self._parts: dict[str, list[NDArray[Any]]] = {}

    def on_validation_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Forget what an interrupted epoch left."""
        self._parts = {}

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the arrays of a batch.

        Raises:
            ConfigError: there are no embeddings, or arrays of other lengths.
        """
        if dataloader_idx != self.dataloader or not self._is_due(trainer):
            return
        if self.embed is None:
            found, where = outputs, "validation_step"
        else:
            with torch.no_grad():
                found, where = self.embed(pl_module, batch), "embed"
        if not isinstance(found, Mapping) or "embeddings" not in found:
            what = f"keys {list(found)}" if isinstance(found, Mapping) else type(found).__name__
            raise ConfigError(
                f"SaveEmbeddings: {where} must return a dictionary with 'embeddings' (and labels, "
                f"view1, view2, ids where there are), found {what}"
            )
        arrays = {name: as_array(found[name]) for name in ARRAYS if found.get(name) is not None}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1 or (self._parts and set(arrays) != set(self._parts)):
            raise ConfigError(
                f"SaveEmbeddings: batch {batch_idx} of {where} has {lengths} rows"
                + (f"; batches before have {', '.join(self._parts)}" if self._parts else "")
                + ": every batch needs the same arrays, of one length"
            )
        for name, array in arrays.items():
            self._parts.setdefault(name, []).append(array)

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the file.

        Raises:
            ConfigError: there are several ranks and no ids, or the file cannot be written.
            DataError: ids that repeat.
        """
        if not self._is_due(trainer):
            return
        parts, self._parts = self._parts, {}
        here = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        if trainer.world_size > 1 and here and "ids" not in here:
            raise ConfigError(
                f"SaveEmbeddings: {trainer.world_size} ranks share the rows, in turns and with "
                "repeats: return 'ids', the index of each row in the data set, beside the "
                "embeddings"
            )
        gathered = _of_all_ranks(here, trainer)
        if gathered is None:
            return
        arrays = joined(gathered)
        if not arrays:
            raise ConfigError(
                f"SaveEmbeddings: validation loader {self.dataloader} gave no batch: is there one?"
            )
        name = f"epoch-{trainer.current_epoch:04d}-step-{trainer.global_step}.npz"
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            raise ConfigError(
                f"SaveEmbeddings: cannot write {path}: {error.strerror or error}"
            ) from error

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Let go of the rows of an epoch that did not end."""
        self._parts = {}

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        if trainer.sanity_checking or getattr(trainer, "fast_dev_run", False):
            return False
        fitting = trainer.state.fn == "fit"
        return not fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0


def as_array(values: Any) -> NDArray[Any]:
    """What a batch gives as an array: half precision becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach()
        if values.is_floating_point() and values.dtype != torch.float64:
            values = values.float()
        return values.cpu().numpy()  # type: ignore[no-any-return]
    return np.asarray(values)


def _of_all_ranks(
    arrays: dict[str, NDArray[Any]], trainer: lightning.Trainer
) -> list[dict[str, NDArray[Any]]] | None:
    """The arrays of each rank on the first, None on the others."""
    if trainer.world_size == 1:
        return [arrays]
    first = trainer.global_rank == 0
    gathered: list[Any] | None = [None] * trainer.world_size if first else None
    torch.distributed.gather_object(arrays, gathered)
    return gathered


def joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The rows of all ranks, in the order of their ids where there are any, each once.

    Raises:
        ConfigError: ranks that have other arrays.
        DataError: more ids repeat than samplers repeat rows.
    """
    there = [part for part in parts if part]
    if not there:
        return {}
    if len({tuple(part) for part in there}) > 1:
        raise ConfigError(
            "SaveEmbeddings: every rank needs the same arrays, found "
            + " and ".join(sorted({", ".join(part) for part in there}))
        )
    arrays = {name: np.concatenate([part[name] for part in there]) for name in there[0]}
    if "ids" not in arrays:
        return arrays
    ids, first = np.unique(arrays["ids"], return_index=True)
    repeated = len(arrays["ids"]) - len(ids)
    if repeated >= len(parts):  # a sampler deals the same number to every rank
        raise DataError(
            f"SaveEmbeddings: {len(arrays['ids'])} rows have {len(ids)} different ids: an id says "
            "which row of the data set it is, as its index"
        )
    return {name: array[first] for name, array in arrays.items()}
