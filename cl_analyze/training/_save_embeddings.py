"""A Lightning callback that saves the embeddings of a validation loader, to compare."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_analyze.errors import AnalysisError, ConfigError, DataError
from cl_analyze.options.kinds import whole_number
from cl_analyze.output import replacing

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
    on one rank.  What cannot be saved is an error on every rank.

    Nothing is written in the sanity check and in `fast_dev_run`.  `trainer.validate(ckpt_path=...)`
    writes under the checkpoint's name, and under `validate` without one.

    Args:
        folder: where the files go; it is made when it is missing.
        every_n_epochs: epochs n, 2n, ... are saved, each validation in them (several where
            `val_check_interval` says so, with steps of their own).
        embed: takes the module and a batch (on the module's device), returns a dictionary with
            `embeddings` and what else is to be saved; None: `validation_step` returns one.  It runs
            under no_grad, in evaluation mode and the trainer's precision, on every validation
            batch of those epochs.
        dataloader: which of several validation loaders; `-loader-1` and so on is in the name.

    Raises:
        ConfigError: an option makes no sense, or what a batch gives cannot be saved.

    Cost: the arrays of the loader in the host's memory, half precision as float32; a few times
    that on the first rank while it writes.

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
        self.every_n_epochs = whole_number("every_n_epochs", every_n_epochs)
        self.embed = embed
        self.dataloader = whole_number("dataloader", dataloader, 0)
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._failed: AnalysisError | None = None
        self._hosts: Any = None
        self._has_written = False

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say so where no epoch was saved."""
        dry = getattr(trainer, "fast_dev_run", False)
        if trainer.global_rank == 0 and not self._has_written and not dry:
            warnings.warn(
                f"SaveEmbeddings: nothing was saved in {trainer.current_epoch} epochs with "
                f"every_n_epochs={self.every_n_epochs}: is there a validation loader, and does it "
                "run in these epochs?",
                UserWarning,
                stacklevel=2,
            )

    def on_validation_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Forget what an interrupted epoch left."""
        self._parts, self._failed = {}, None

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
            ConfigError: there are no embeddings, or arrays that do not fit each other; with several
                ranks at the end of the epoch.
        """
        if dataloader_idx != self.dataloader or not self._is_due(trainer) or self._failed:
            return
        if self.embed is None:
            found, where = outputs, "validation_step"
        else:
            with trainer.precision_plugin.val_step_context(), torch.no_grad():
                found, where = self.embed(pl_module, batch), "embed"
        try:
            self._keep(found, where, batch_idx)
        except AnalysisError as error:
            if trainer.world_size == 1:
                raise
            self._failed = error

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
        if trainer.world_size == 1:
            self._write(trainer, [here])
            return
        if here and "ids" not in here:
            self._failed = ConfigError(
                f"SaveEmbeddings: {trainer.world_size} ranks share the rows, in turns and with "
                "repeats: return 'ids', the index of each row in the data set, beside the "
                "embeddings"
            )
        distributed, world = torch.distributed, trainer.world_size
        if self._hosts is None and distributed.get_backend() != "gloo":
            self._hosts = distributed.new_group(backend="gloo")  # rows stay off the GPUs
        failures: list[AnalysisError | None] = [None] * world
        distributed.all_gather_object(failures, self._failed, group=self._hosts)
        _raise_first(failures)
        first = trainer.global_rank == 0
        gathered: list[Any] | None = [None] * world if first else None
        distributed.gather_object(here, gathered, group=self._hosts)
        outcome: list[AnalysisError | None] = [None]
        if gathered is not None:
            try:
                self._write(trainer, gathered)
            except AnalysisError as error:
                outcome = [error]
        distributed.broadcast_object_list(outcome, group=self._hosts)
        _raise_first(outcome)

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

    def _keep(self, found: Any, where: str, index: int) -> None:
        """Add what a batch gives to what there is.

        Raises:
            ConfigError: it does not fit.
        """
        if not isinstance(found, Mapping) or "embeddings" not in found:
            what = f"keys {list(found)}" if isinstance(found, Mapping) else type(found).__name__
            raise ConfigError(
                f"SaveEmbeddings: {where} must return a dictionary with 'embeddings' (and labels, "
                f"view1, view2, ids where there are), found {what}"
            )
        arrays = {name: as_array(found[name]) for name in ARRAYS if found.get(name) is not None}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len({shape[:1] for shape in shapes.values()}) > 1 or () in shapes.values():
            raise ConfigError(
                f"SaveEmbeddings: batch {index} of {where} has shapes {shapes}: every array needs "
                "one entry a row"
            )
        _check_shapes(shapes, where)
        before = {name: array[0].shape[1:] for name, array in self._parts.items()}
        now = {name: shape[1:] for name, shape in shapes.items()}
        if before and before != now:
            raise ConfigError(
                f"SaveEmbeddings: rows of batch {index} of {where} have shapes {now}, those before "
                f"{before}: every batch needs the same arrays"
            )
        for name, array in arrays.items():
            self._parts.setdefault(name, []).append(array)

    def _write(self, trainer: lightning.Trainer, parts: list[dict[str, NDArray[Any]]]) -> None:
        """Write the rows of all ranks.

        Raises:
            AnalysisError: there are none, they do not fit, or the file cannot be written.
        """
        arrays = joined(parts)
        if not arrays:
            raise ConfigError(
                f"SaveEmbeddings: validation loader {self.dataloader} gave no batch: is there one?"
            )
        if trainer.state.fn == "fit":
            name = f"epoch-{trainer.current_epoch:04d}-step-{trainer.global_step}"
        else:
            name = Path(str(trainer.ckpt_path)).stem if trainer.ckpt_path else "validate"
        name += f"-loader-{self.dataloader}" if self.dataloader else ""
        path = self.folder / f"{name}.npz"
        z = arrays["embeddings"]
        bad = int((~np.isfinite(z)).any(axis=tuple(range(1, z.ndim))).sum())
        if bad:
            warnings.warn(
                f"SaveEmbeddings: {bad} of {len(z)} rows of {path} have NaN or "
                "infinity: has the training diverged?",
                UserWarning,
                stacklevel=2,
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            raise ConfigError(
                f"SaveEmbeddings: cannot write {path}: {error.strerror or error}"
            ) from error
        self._has_written = True


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse what the command line would refuse to read, while the run can still be mended.

    Raises:
        ConfigError: embeddings or views that are not (rows, dimensions), or labels or ids that are
            not one value a row.
    """
    for name, shape in shapes.items():
        rest = math.prod(shape[2:])
        if name in ("embeddings", "view1", "view2") and len(shape) != 2:
            is_stack = name == "embeddings" and len(shape) == 3 and shape[1] > 0
            if is_stack:  # views of each row
                continue
            remedy = (
                "z.flatten(1)" if rest == 1 or len(shape) < 2 else "z.mean over the axes behind"
            )
            raise ConfigError(
                f"SaveEmbeddings: {where} returns {name!r} of shape {shape}, and they must be "
                f"(rows, dimensions): return {remedy}"
            )
        if name in ("labels", "ids") and len(shape) != 1:
            remedy = "one value each"
            if math.prod(shape[1:]) == 1:
                remedy = f"{name}.flatten()"
            elif name == "labels" and len(shape) == 2:
                remedy = "labels.argmax(1)"
            raise ConfigError(
                f"SaveEmbeddings: {where} returns {name!r} of shape {shape}, and they must be one "
                f"value a row: return {remedy}"
            )


def _raise_first(failures: list[AnalysisError | None]) -> None:
    for failure in failures:
        if failure is not None:
            raise failure


def as_array(values: Any) -> NDArray[Any]:
    """A copy of what a batch gives as an array: half precision becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach()
        if values.is_floating_point() and values.dtype != torch.float64:
            values = values.float()
        values = values.cpu().numpy()
    return np.array(values)


def joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The rows of all ranks, in the order of their ids where there are any, each once.

    Raises:
        ConfigError: ranks that have other arrays.
        DataError: more ids repeat than samplers repeat rows.
    """
    there = [part for part in parts if part]
    if not there:
        return {}
    shapes = [{name: array.shape[1:] for name, array in part.items()} for part in there]
    if any(other != shapes[0] for other in shapes):
        raise ConfigError(
            "SaveEmbeddings: every rank needs the same arrays, found rows of shapes "
            + " and ".join(map(str, shapes))
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
