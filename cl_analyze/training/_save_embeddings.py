"""A Lightning callback that saves the embeddings of a validation loader, for `compare`."""

from __future__ import annotations

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
from cl_analyze.training._checkpoints import checked_arrays, checkpoint_name, write_arrays

Embed = Callable[[Any, Any], Mapping[str, Tensor]]


class SaveEmbeddings(lightning.Callback):
    """Writes DIR/epoch-0009-step-570.npz every n epochs, for `cl-analyze compare DIR/*.npz`.

    The arrays have the names that `cl-analyze` reads: `embeddings` (N, D) and optionally `labels`
    (N,), `view1` and `view2` (N, D), `ids` (N,).  `validation_step` or `embed` returns the arrays.
    Files are written atomically.  Epochs are numbered from 0, as in Lightning;
    `compare --x epoch` or `--x step` orders the files.

    With several ranks, the first rank writes the rows of all ranks, sorted by `ids`.  `ids` are
    required then, because samplers distribute the rows in turns and repeat some rows.  With one
    rank, rows are also sorted by `ids` if there are any.  An array that cannot be saved is an error
    on every rank.

    The sanity check and `fast_dev_run` write nothing.  `trainer.validate(ckpt_path=...)` writes a
    file with the name of the checkpoint, or `validate.npz` without a checkpoint.

    Args:
        folder: folder of the files; created if it is missing.
        every_n_epochs: n; every validation in the epochs n, 2n, ... is saved.  With
            `val_check_interval` an epoch has several validations, at different steps.
        embed: function of the module and a batch (on the module's device) that returns a dictionary
            with `embeddings` and the other arrays to save; None: `validation_step` returns the
            dictionary.  `embed` runs under no_grad, in evaluation mode and the trainer's precision,
            on every validation batch of the saved epochs.
        dataloader: index of the validation loader; for index 1 and above, names of files end in
            `-loader-1` and so on.

    Raises:
        ConfigError: an option has an invalid value, or the arrays of a batch cannot be saved.

    Cost: host memory for the arrays of the loader, half precision as float32; a few times this
    memory on the first rank while the file is written.

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
        """Warn if no epoch was saved."""
        if trainer.global_rank == 0 and not self._has_written and not _is_trial(trainer):
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
        """Discard the rows of an interrupted epoch."""
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
            ConfigError: there are no embeddings, or the shapes of arrays do not agree.  With
                several ranks, the error is raised at the end of the epoch.
        """
        if dataloader_idx != self.dataloader or not self._is_due(trainer) or self._failed:
            return
        if self.embed is None:
            returned, function = outputs, "validation_step"
        else:
            with trainer.precision_plugin.val_step_context(), torch.no_grad():
                returned, function = self.embed(pl_module, batch), "embed"
        try:
            self._keep(returned, function, batch_idx)
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
            DataError: ids are repeated.
        """
        if not self._is_due(trainer):
            return
        parts, self._parts = self._parts, {}
        own_arrays = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        distributed, n_ranks = torch.distributed, trainer.world_size
        if n_ranks == 1:
            self._write(trainer, [own_arrays])
            return
        if own_arrays and "ids" not in own_arrays:
            self._failed = ConfigError(
                f"SaveEmbeddings: {n_ranks} ranks share the rows, in turns and with repeats: "
                "return 'ids', the index of each row in the data set, beside the embeddings"
            )
        if self._hosts is None and distributed.get_backend() != "gloo":
            self._hosts = distributed.new_group(backend="gloo")  # gather rows without GPU memory
        self._raise_on_all_ranks(n_ranks)
        gathered: list[Any] | None = [None] * n_ranks if trainer.global_rank == 0 else None
        distributed.gather_object(own_arrays, gathered, group=self._hosts)
        if gathered is not None:
            try:
                self._write(trainer, gathered)
            except AnalysisError as error:
                self._failed = error
        self._raise_on_all_ranks(n_ranks)

    def _raise_on_all_ranks(self, n_ranks: int) -> None:
        """Raise the first failure of any rank on every rank."""
        failures: list[AnalysisError | None] = [None] * n_ranks
        torch.distributed.all_gather_object(failures, self._failed, group=self._hosts)
        for failure in failures:
            if failure is not None:
                raise failure

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Free the rows of an epoch that ended with an exception."""
        self._parts = {}

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        if trainer.sanity_checking or _is_trial(trainer):
            return False
        is_fitting = trainer.state.fn == "fit"
        return not is_fitting or (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _keep(self, returned: Any, function: str, index: int) -> None:
        """Check the arrays of a batch and add them to the arrays of earlier batches."""
        arrays = checked_arrays(returned, "SaveEmbeddings", function, f"batch {index} of ")
        shapes = {name: array.shape for name, array in arrays.items()}
        earlier_shapes = {name: array[0].shape[1:] for name, array in self._parts.items()}
        row_shapes = {name: shape[1:] for name, shape in shapes.items()}
        if earlier_shapes and earlier_shapes != row_shapes:
            raise ConfigError(
                f"SaveEmbeddings: rows of batch {index} of {function} have shapes {row_shapes}, "
                f"those before {earlier_shapes}: every batch needs the same arrays"
            )
        for name, array in arrays.items():
            self._parts.setdefault(name, []).append(array)

    def _write(self, trainer: lightning.Trainer, parts: list[dict[str, NDArray[Any]]]) -> None:
        """Write the rows of all ranks."""
        arrays = joined(parts)
        if not arrays:
            raise ConfigError(
                f"SaveEmbeddings: validation loader {self.dataloader} gave no batch: is there one?"
            )
        if trainer.state.fn == "fit":
            name = checkpoint_name(trainer.current_epoch, trainer.global_step)
        else:
            name = Path(str(trainer.ckpt_path)).stem if trainer.ckpt_path else "validate"
        name += f"-loader-{self.dataloader}" if self.dataloader else ""
        path = self.folder / f"{name}.npz"
        write_arrays(path, arrays, "SaveEmbeddings")
        self._has_written = True


def _is_trial(trainer: lightning.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))


def joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Join the rows of all ranks; with ids, sort by ids and remove repeated rows.

    Raises:
        ConfigError: ranks have different arrays.
        DataError: more ids are repeated than a sampler repeats rows.
    """
    filled = [part for part in parts if part]
    if not filled:
        return {}
    shapes = [{name: array.shape[1:] for name, array in part.items()} for part in filled]
    if any(other != shapes[0] for other in shapes):
        raise ConfigError(
            "SaveEmbeddings: every rank needs the same arrays, found rows of shapes "
            + " and ".join(map(str, shapes))
        )
    arrays = {name: np.concatenate([part[name] for part in filled]) for name in filled[0]}
    if "ids" not in arrays:
        return arrays
    ids, first_row = np.unique(arrays["ids"], return_index=True)
    repeated = len(arrays["ids"]) - len(ids)
    if repeated >= len(parts):  # a sampler gives every rank the same number of rows
        raise DataError(
            f"SaveEmbeddings: {len(arrays['ids'])} rows have {len(ids)} different ids: an id must "
            "identify a row of the data set: return the index of the row"
        )
    return {name: array[first_row] for name, array in arrays.items()}
