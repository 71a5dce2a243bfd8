"""An evaluator for sentence-transformers, with the numbers of `analyze`."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers
import torch

from cl_analyze.analysis.run import run_analysis
from cl_analyze.comparison.selection import selection
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.options.declaration import options_of
from cl_analyze.output import replace_file
from cl_analyze.quoting import nearest, quoted
from cl_analyze.results.scalars import scalars
from cl_analyze.results.tables import Record
from cl_analyze.training._checkpoints import checkpoint_name, epoch_of, write_arrays
from cl_analyze.training._texts import checked_texts

_VERSION = int(sentence_transformers.__version__.partition(".")[0])
if _VERSION >= 6:
    from sentence_transformers.base.evaluation import BaseEvaluator
else:
    BaseEvaluator = import_module("sentence_transformers.evaluation").SentenceEvaluator  # type: ignore[misc]

_LOGGER = logging.getLogger(__name__)
_CALLER = "EmbeddingEvaluator"
_PRIMARY = ("auroc", "uniformity")
"""The primary metric, if the user names none: the first of these that has a value."""
_PLACES = ("epoch", "steps")
"""The first columns of the CSV file."""
_OF_TWO = frozenset(name for family in BETWEEN.values() for name in family.definitions)
"""Metrics of two checkpoints."""


class EmbeddingEvaluator(BaseEvaluator):
    """Numbers of `analyze` for `SentenceTransformerTrainer(evaluator=...)`, and saved embeddings.

    Each evaluation embeds the texts and returns every number of the chosen metrics.  A key is the
    name of the evaluator and the name of the number in `Report.scalars()`, as
    `dev_uniformity/u_stat/t_2`; the trainer puts `eval_` before it.  An undefined number is NaN.

    With `pairs`, texts and partners are two views of each row, as the command line reads an array
    (N, 2, D): anchors and negatives are the texts, positives are the pairs.  With `labels`,
    positives are the pairs of the same class, if there are no pairs of texts.

    `output_path/embedding_evaluation_NAME_results.csv` gets a line for each evaluation, with the
    columns `epoch`, `steps` and the numbers.  The trainer passes its `output_dir/eval` as path.

    Args:
        texts: N texts, or other inputs of `SentenceTransformer.encode`.
        labels: (N,) classes of the texts, integers or strings; None: no classes.
        pairs: N partners of the texts (translations, answers, captions); None: no pairs.
        ids: (N,) numbers or names of the texts, saved for `compare`; None: no ids.
        metrics: metric families and single metrics, as for `compare`; None: `uniformity`, and
            `tolerance` with labels, `similarity` with labels or pairs.
        primary_metric: a metric, or a key without the name of the evaluator, for `primary_metric`
            and `greater_is_better`; None: `auroc`, else `uniformity`, else the first number.
        name: name of the evaluator; it starts the keys, and is in the names of files.
        folder: folder for the embeddings of each evaluation, `epoch-0000-step-500-NAME.npz` with
            the arrays `embeddings` (N, D) or (N, 2, D), `labels`, `ids`, `step`, `epoch`; None:
            nothing is saved.  Epochs are numbered from 0.  Without an epoch, as in
            `evaluator(model)`, the file is `evaluation-NAME.npz`.
        batch_size: texts that the model embeds at a time.
        show_progress_bar: whether `encode` shows its progress.
        truncate_dim: dimensions to keep, the first ones; None: those of the model.
        write_csv: whether to write the CSV file.
        run: device, precision, threads and memory of the analysis; None: the CPU.
        options: options of the metrics, as for `analyze`: `taus=[0.05]`, `ts=[2]`, `ks=[1, 10]`.

    Raises:
        ConfigError: an argument has an invalid value, or a metric needs labels or pairs.  While
            training: a file cannot be written.
        DataError: while training: a row has NaN, infinity or zero norm.  It is saved before, if
            there is a folder.

    Cost: an embedding of all texts, and `analyze`: O(N^2 D) time; with families beside
    `uniformity`, `tolerance` and `similarity` see their functions.

    >>> evaluator = EmbeddingEvaluator(["dog", "cat"], pairs=["puppy", "kitten"], name="dev")
    >>> evaluator.metrics, evaluator.csv_file
    (('uniformity', 'similarity'), 'embedding_evaluation_dev_results.csv')
    """

    def __init__(
        self,
        texts: Iterable[Any],
        labels: Any = None,
        pairs: Iterable[Any] | None = None,
        *,
        ids: Any = None,
        metrics: Iterable[str] | str | None = None,
        primary_metric: str | None = None,
        name: str = "",
        folder: str | Path | None = None,
        batch_size: int = 32,
        show_progress_bar: bool = False,
        truncate_dim: int | None = None,
        write_csv: bool = True,
        run: RunOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.texts = checked_texts(
            _CALLER, texts, pairs, labels, ids, batch_size, show_progress_bar, truncate_dim
        )
        self.truncate_dim = self.texts.truncate_dim
        if not name.isprintable() or any(character in name for character in '/\\:*?"<>|'):
            raise ConfigError(f"{_CALLER}: the name is part of file names, found {quoted(name)}")
        self.name = name
        self.folder = None if folder is None else Path(folder)
        self.write_csv = write_csv
        self.csv_file = "_".join(filter(None, ("embedding_evaluation", name, "results.csv")))
        self._run = run or RunOptions()
        self._selection = selection(self._applicable() if metrics is None else metrics)
        self._check_needs()
        known = options_of(MetricOptions)
        for option in options:
            if option not in known:
                raise ConfigError(
                    f"{_CALLER}: no option {quoted(option)}{nearest(option, list(known))}"
                )
        shown: dict[str, Any] = {"projection": "none", **options}  # maps of rows are for reports
        self._options = MetricOptions(**shown, only=self._selection.only)
        self._asked_primary = primary_metric
        if primary_metric is not None:
            metric = primary_metric.partition("/")[0]
            if metric not in self._measured():
                raise ConfigError(
                    f"{_CALLER}: primary_metric {quoted(primary_metric)} is not among the metrics"
                    f"{nearest(metric, sorted(self._measured()))}"
                )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metric families that are computed."""
        return self._selection.families

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,
        epoch: float = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """Embed the texts, and compute, save and return the numbers.

        Args:
            model: the SentenceTransformer.
            output_path: folder of the CSV file; None: no CSV file.
            epoch: epochs done so far, which may have a fraction; -1: not during training.
            steps: optimiser steps done so far; -1: unknown.

        Returns:
            key -> number.

        Raises:
            DataError: a row has NaN, infinity or zero norm.
            ConfigError: a file cannot be written.
        """
        arrays = self.texts.embedded(model)
        if self.folder is not None and _is_first_rank():
            path = self.folder / f"{self._file_name(epoch, steps)}.npz"
            places = {"step": np.array(steps), "epoch": np.array(float(epoch))}
            write_arrays(path, {**arrays, **places}, _CALLER)
        source = self.name or "embeddings"
        request = Request(
            arrays["embeddings"],
            source=source,
            labels=self.texts.companions.get("labels"),
        )
        report = run_analysis(
            [request], self._selection.families, self._options, self._run, "report"
        )
        wanted = self._measured()
        records = [record for record in report.records if record.metric in wanted]
        by_key = _by_key(records, source)
        numbers = {
            key: math.nan if record.value is None else float(record.value)
            for key, record in by_key.items()
        }
        primary = self._primary(by_key)
        self._asked_primary = primary  # the same in every evaluation
        self.primary_metric = primary
        self.greater_is_better = DECLARED[by_key[primary].metric].better != "lower"
        _LOGGER.info("%s %s: %s = %g", _CALLER, self.name, primary, numbers[primary])
        if output_path is not None and self.write_csv:
            _add_line(Path(output_path) / self.csv_file, epoch, steps, numbers)
        prefixed: dict[str, float] = self.prefix_name_to_metrics(numbers, self.name)
        self.store_metrics_in_model_card_data(model, prefixed, epoch, steps)  # type: ignore[arg-type]
        return prefixed

    def get_config_dict(self) -> dict[str, Any]:
        """The options that the model card shows."""
        return {} if self.truncate_dim is None else {"truncate_dim": self.truncate_dim}

    def _applicable(self) -> tuple[str, ...]:
        has_labels, has_pairs = "labels" in self.texts.companions, self.texts.pairs is not None
        families = ["uniformity"]
        families += ["tolerance"] * has_labels
        families += ["similarity"] * (has_labels or has_pairs)
        return tuple(families)

    def _measured(self) -> frozenset[str]:
        """Names of the metrics that are returned."""
        if self._selection.metrics is not None:
            return self._selection.metrics - _OF_TWO
        families = self._selection.families
        return frozenset(name for family in families for name in METRICS[family].definitions)

    def _check_needs(self) -> None:
        """Check that there are labels and pairs, before the training starts.

        Raises:
            ConfigError: a single metric or a whole family needs what there is not.
        """
        given = {"labels": "labels" in self.texts.companions, "views": self.texts.pairs is not None}
        given["views or labels"] = any(given.values())
        given[""] = True
        for family in self._selection.families:
            needed = {metric.needs for metric in METRICS[family].metrics}
            if not any(given[needs] for needs in needed):
                raise ConfigError(f"{_CALLER}: {family} needs {_in_words(min(needed))}")
        for name in self._selection.single:
            if name in _OF_TWO:
                raise ConfigError(
                    f"{_CALLER}: {name} needs two checkpoints: save them (folder=) and run "
                    "cl-analyze compare"
                )
            if not given[DECLARED[name].needs]:
                raise ConfigError(f"{_CALLER}: {name} needs {_in_words(DECLARED[name].needs)}")

    def _primary(self, by_key: dict[str, Record]) -> str:
        """The key of the primary metric: of a metric the first, which has the default definition.

        Raises:
            ConfigError: no number has the name that the user gave.
        """
        if self._asked_primary in by_key:
            return self._asked_primary
        if self._asked_primary is None:
            defined = [key for key, record in by_key.items() if record.value is not None]
            for metric in _PRIMARY:
                for key in defined:
                    if by_key[key].metric == metric:
                        return key
            return next(iter(defined or by_key))
        for key, record in by_key.items():
            if record.metric == self._asked_primary:
                return key
        near = nearest(self._asked_primary, list(by_key))
        raise ConfigError(
            f"{_CALLER}: no number has the name {quoted(self._asked_primary)}{near}; "
            f"the first is {next(iter(by_key))}"
        )

    def _file_name(self, epoch: float, steps: int) -> str:
        if epoch < 0:
            name = "evaluation"
        else:
            name = checkpoint_name(epoch_of(epoch), None if steps < 0 else steps)
        return "-".join(filter(None, (name, self.name)))


def _in_words(needs: str) -> str:
    return needs.replace("views", "pairs of texts (pairs=)").replace("labels", "labels (labels=)")


def _by_key(records: list[Record], source: str) -> dict[str, Record]:
    """Each record by the key of its number; an undefined number has a key too."""
    numbered = [
        replace(record, value=float(i), std_error=None, reason=None)
        for i, record in enumerate(records)
    ]
    return {key: records[int(i)] for key, i in scalars(numbered, [source]).items()}


def _is_first_rank() -> bool:
    distributed = torch.distributed
    is_alone = not (distributed.is_available() and distributed.is_initialized())
    return is_alone or distributed.get_rank() == 0


def _add_line(path: Path, epoch: float, steps: int, numbers: dict[str, float]) -> None:
    """Add a line to a CSV file; numbers that it did not have become columns at its end.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    line = {"epoch": epoch, "steps": steps, **numbers}
    columns, lines = list(line), []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, restkey="")
                lines = [{key: old[key] for key in old if key} for old in reader]
                earlier = list(reader.fieldnames or _PLACES)
            columns = earlier + [name for name in line if name not in earlier]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows([*lines, line])
        replace_file(path, text.getvalue().encode())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{_CALLER}: cannot add a line to {path}: {error}") from error
