"""Texts that a model embeds again and again while it trains: their labels, partners and ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.options.kinds import whole_number


@dataclass(frozen=True)
class Texts:
    """Texts, or pairs of texts, and how a model of sentence-transformers embeds them.

    Attributes:
        texts: N texts, or what else the model's `encode` takes.
        pairs: N partners of the texts; None: no pairs.
        companions: arrays of N values that are saved beside the embeddings: `labels`, `ids`.
        batch_size: texts that the model embeds at a time.
        show_progress_bar: whether `encode` shows its progress.
        truncate_dim: dimensions to keep, the first ones; None: those of the model.
    """

    texts: Sequence[Any]
    pairs: Sequence[Any] | None
    companions: dict[str, NDArray[Any]]
    batch_size: int
    show_progress_bar: bool = False
    truncate_dim: int | None = None

    def embedded(self, model: Any) -> dict[str, NDArray[Any]]:
        """The arrays to save: `embeddings` (N, D), or (N, 2, D) with pairs, and the companions."""
        rows = self._rows(model, self.texts)
        if self.pairs is not None:
            rows = np.stack([rows, self._rows(model, self.pairs)], axis=1)
        return {"embeddings": rows, **self.companions}

    def _rows(self, model: Any, texts: Sequence[Any]) -> NDArray[Any]:
        rows = model.encode(
            texts,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
            convert_to_numpy=True,
            truncate_dim=self.truncate_dim,
        )
        return np.asarray(rows)


def checked_texts(
    caller: str,
    texts: Iterable[Any],
    pairs: Iterable[Any] | None,
    labels: Any,
    ids: Any,
    batch_size: int,
    show_progress_bar: bool = False,
    truncate_dim: int | None = None,
) -> Texts:
    """Texts with everything beside them, checked before the training starts.

    Args:
        caller: name of the class that embeds them, for messages.
        texts, pairs: texts; pairs None: no pairs.
        labels, ids: one value for each text; None: there are none.
        batch_size, show_progress_bar, truncate_dim: see `Texts`.

    Raises:
        ConfigError: there are fewer than two texts, their numbers do not agree, or labels or ids
            are no numbers or strings.
    """
    listed = _listed(caller, "texts", texts)
    if len(listed) < 2:
        raise ConfigError(f"{caller}: two texts or more are needed, found {len(listed)}")
    partners = None if pairs is None else _listed(caller, "pairs", pairs)
    if partners is not None and len(partners) != len(listed):
        raise ConfigError(
            f"{caller}: pairs[i] is the partner of texts[i], and there are {len(partners)} pairs "
            f"and {len(listed)} texts"
        )
    companions = {}
    for name, values in (("labels", labels), ("ids", ids)):
        if values is None:
            continue
        array = np.asarray(values)
        if array.dtype.hasobject and name == "labels":  # None: unlabelled, an empty word in files
            array = np.array(["" if value is None else str(value) for value in array.flat])
        if array.shape != (len(listed),):
            raise ConfigError(
                f"{caller}: {name} need one value for each of {len(listed)} texts, found an array "
                f"of shape {array.shape}"
            )
        if array.dtype.kind not in "biufU":
            raise ConfigError(f"{caller}: {name} must be numbers or strings, found {array.dtype}")
        companions[name] = array
    return Texts(
        listed,
        partners,
        companions,
        whole_number("batch_size", batch_size),
        show_progress_bar,
        None if truncate_dim is None else whole_number("truncate_dim", truncate_dim),
    )


def _listed(caller: str, name: str, texts: Any) -> list[Any]:
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ConfigError(f"{caller}: {name} must be a list, found {type(texts).__name__}")
    return list(texts)
