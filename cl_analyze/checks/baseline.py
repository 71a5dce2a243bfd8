"""Baselines: saved numbers of checkpoints, with the arrays for paired tests against them.

`base.json` holds the numbers and the identity of the rows.  `base.npz` beside it holds the ids of
the rows and the pseudo-values in float32; above `MOST_ROWS` rows, those of a seeded sample.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.analysis.report import Report
from cl_analyze.data.formats.npz import read_arrays, write_arrays
from cl_analyze.errors import ConfigError
from cl_analyze.metrics.differences import Match, RowKeys
from cl_analyze.output import replace_files
from cl_analyze.quoting import described, quoted
from cl_analyze.results.tables import ARRAYS, Record, to_json
from cl_analyze.small_files import read_bytes, read_text

SCHEMA = "cl-analyze-baseline/1"
MOST_DATA = 4 << 30
"""Largest size of a baseline's arrays in bytes."""
LARGEST = 1e300
"""Numbers of a baseline must be smaller than this."""
MOST_ROWS = 100_000
"""Most rows whose pseudo-values are saved."""
Index = NDArray[np.int64]


@dataclass(frozen=True)
class BaselineSource:
    """One checkpoint of a baseline.

    Attributes:
        source: name of the checkpoint when the baseline was saved.
        keys: identity of the rows.
        records: the numbers, with pseudo-values; NaN for rows outside the sample.
        sample: indices of the rows that have pseudo-values; None: all rows.
        variant: the name of the variant that it is; empty for a checkpoint as it was saved.
    """

    source: str
    keys: RowKeys
    records: tuple[Record, ...]
    sample: Index | None
    variant: str = ""

    def sample_of(self, match: Match) -> Index | None:
        """The rows of the sample in the numbering of the other checkpoint; None: all rows."""
        if self.sample is None or match.order is None:
            return None
        return np.flatnonzero(np.isin(match.order, self.sample))


@dataclass(frozen=True)
class Baseline:
    """The checkpoints of a baseline.

    Attributes:
        path: path of the JSON file.
        version: version of the program that saved the baseline.
        sources: the checkpoints, at least one.
    """

    path: Path
    version: str
    sources: tuple[BaselineSource, ...]

    def of(self, source: str, variant: str = "") -> BaselineSource:
        """The checkpoint for a comparison with a source.

        The only one of its variant; else the one with its name.  A baseline without this variant
        has the checkpoint as it was saved in its place.

        Args:
            source: name of the source.
            variant: the variant that it is; empty: none.

        Raises:
            ConfigError: there are several checkpoints, and no checkpoint has the name.
        """
        for wanted in dict.fromkeys((variant, "")):
            alike = [checkpoint for checkpoint in self.sources if checkpoint.variant == wanted]
            if len(alike) == 1:
                return alike[0]
            if alike:
                break
        by_name = {checkpoint.source: checkpoint for checkpoint in self.sources}
        if source in by_name:
            return by_name[source]
        names = ", ".join(by_name)
        raise ConfigError(
            f"{self.path} has several checkpoints ({names}) and none named {source}: save a "
            "baseline of one"
        )


def save_baseline(path: Path, report: Report, chosen: Sequence[Record], seed: int) -> list[Path]:
    """Write a baseline and its arrays, each file whole or not at all, the arrays first.

    Args:
        path: path of the JSON file; the file of the arrays has the suffix .npz.
        report: the report of the checkpoints.
        chosen: records of the report that the rules name.
        seed: seed of the sample of rows.

    Returns:
        The written paths.

    Raises:
        ConfigError: both files would have one name, the arrays would replace another file, or a
            file cannot be written.
    """
    data_path = path.with_suffix(".npz")
    if data_path == path:
        raise ConfigError(f"--save-baseline {path}: the JSON cannot end in .npz; name it .json")
    arrays: dict[str, NDArray[Any]] = {}
    sources = []
    for s, source in enumerate(report.document.sources):
        keys = report.rows[source]
        records = [record for record in chosen if record.source == source]
        sample = None
        if keys.n > MOST_ROWS:
            drawn = np.random.default_rng(seed).choice(keys.n, MOST_ROWS, replace=False)
            sample = np.sort(drawn)
            arrays[f"rows/{s}"] = sample
        if keys.ids is not None:
            arrays[f"ids/{s}"] = keys.ids
        for i, record in enumerate(records):
            for kind, values in record.arrays().items():
                kept = values if sample is None else values[sample]
                arrays[f"{kind}/{s}/{i}"] = kept.astype(np.float32)
        sources.append(
            {
                "source": source,
                "variant": report.document.variants[source],
                "n": keys.n,
                "labels_sha256": keys.labels,
                "kept_sha256": keys.kept,
                "ids": keys.ids is not None,
                "rows_with_pseudo_values": keys.n if sample is None else len(sample),
                "results": [
                    {**record.stored(), "arrays": list(record.arrays())} for record in records
                ],
            }
        )
    stream = io.BytesIO()
    write_arrays(stream, arrays)
    data = stream.getvalue()
    _check_replaced(data_path)
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "created": report.document.created,
        "data": {"file": data_path.name, "sha256": hashlib.sha256(data).hexdigest()},
        "inputs": list(report.document.inputs),
        "sources": sources,
    }
    replace_files({data_path: data, path: to_json(document).encode()})
    return [path, data_path]


_KINDS = (*ARRAYS, "ids", "rows")


def _check_replaced(path: Path) -> None:
    """Refuse to replace a file that does not hold the arrays of a baseline."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            is_ours = all(name.partition("/")[0] in _KINDS for name in read_arrays(file))
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        raise ConfigError(
            f"--save-baseline: {path} is there and is no baseline's; its arrays would replace it: "
            "give another name"
        )


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        ConfigError: a file is missing or unreadable, the schema is another one, or the arrays were
            not saved with the JSON file.
    """
    try:
        document = json.loads(read_text(path))
    except OSError as error:
        raise ConfigError(f"--baseline {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--baseline {path}: not JSON: {error}") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ConfigError(
            f"--baseline {path}: its schema is {described(schema)}, this version reads "
            f"{SCHEMA!r}; save it again with --save-baseline"
        )
    try:
        data_path = path.parent / Path(document["data"]["file"]).name
        data = read_bytes(data_path, MOST_DATA)
    except OSError as error:
        raise ConfigError(
            f"--baseline {path}: its arrays {data_path}: {error.strerror or error}; keep the two "
            "files together"
        ) from error
    except (KeyError, TypeError) as error:
        raise ConfigError(f"--baseline {path}: it names no arrays; save it again") from error
    if hashlib.sha256(data).hexdigest() != document["data"].get("sha256"):
        raise ConfigError(
            f"--baseline {path}: {data_path.name} is not the file that was saved with it; save "
            "both again with --save-baseline"
        )
    try:
        arrays = read_arrays(io.BytesIO(data))
        sources = tuple(_source(entry, s, arrays) for s, entry in enumerate(document["sources"]))
        if not sources:
            raise ValueError("it has no checkpoint")
        if len({checkpoint.source for checkpoint in sources}) < len(sources):
            raise ValueError("two checkpoints have one name")
        return Baseline(path, str(document.get("version")), sources)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ConfigError(
            f"--baseline {path}: it does not hold what a baseline holds ({error}); save it again"
        ) from error


def _record(fields: dict[str, Any]) -> Record:
    """A saved record, after a check of the types and values of all fields."""
    record = Record.restored(fields)
    words = (record.source, record.metric, record.unit, *record.params)
    numbers = (record.value, record.std_error, record.sampling_error, record.d, record.effective_n)
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"{record.metric!r}: source, metric, unit and parameters are words")
    if not all(isinstance(value, str | int | float) for value in record.params.values()):
        raise TypeError(f"{record.metric}: its parameters are numbers or words")
    if not all(number is None or isinstance(number, int | float) for number in numbers):
        raise TypeError(f"{record.metric}: its value and errors are numbers")
    if not isinstance(record.definition, str | None):
        raise TypeError(f"{record.metric}: its definition is a word")
    if not isinstance(record.n, int) or isinstance(record.n, bool) or record.n < 1:
        raise TypeError(f"{record.metric}: n is a number of rows, found {described(record.n)}")
    if not all(number is None or abs(number) < LARGEST for number in numbers):
        raise ValueError(f"{record.metric}: its value and errors are finite")
    if any(error is not None and error < 0 for error in (record.std_error, record.sampling_error)):
        raise ValueError(f"{record.metric}: its errors are not negative")
    if record.effective_n is not None and not 0 < record.effective_n <= record.n:
        raise ValueError(f"{record.metric}: effective_n lies between 0 and n")
    return record


def _source(entry: dict[str, Any], s: int, arrays: dict[str, NDArray[Any]]) -> BaselineSource:
    """One checkpoint, after a check that the JSON and the arrays agree.

    Raises:
        KeyError, TypeError, ValueError: the JSON and the arrays do not agree.
    """
    n, name = entry["n"], entry["source"]
    hashes = (entry["labels_sha256"], entry["kept_sha256"])
    if not isinstance(n, int) or isinstance(n, bool) or not 2 <= n < 2**48:
        raise TypeError(f"n is a number of rows, found {described(n)}")
    if not isinstance(name, str) or not all(isinstance(h, str | None) for h in hashes):
        raise TypeError("source and hashes are words")
    sample = arrays.get(f"rows/{s}")
    n_kept = n if sample is None else len(sample)
    if entry["rows_with_pseudo_values"] != n_kept:
        raise ValueError(
            f"pseudo-values of {n_kept} rows, where {described(entry['rows_with_pseudo_values'])} "
            "are said"
        )
    if sample is not None and not (
        sample.dtype.kind in "iu"
        and sample.ndim == 1
        and len(sample) >= 2
        and (np.diff(sample) > 0).all()
        and sample[0] >= 0
        and sample[-1] < n
    ):
        raise ValueError(f"the sample must be ascending row indices from 0 to {n - 1}")

    def full(key: str, is_listed: bool | None) -> NDArray[np.float64] | None:
        """An array with NaN for rows outside the sample; `is_listed` None: unknown."""
        values = arrays.get(key)
        if is_listed is not None and is_listed != (values is not None):
            raise ValueError(f"the array {key} is {'missing' if is_listed else 'not its own'}")
        if values is None:
            return None
        if values.shape != (n_kept,) or values.dtype.kind != "f":
            raise ValueError(f"the array {key} has shape {values.shape}, where {n_kept} are said")
        if sample is None:
            return values.astype(np.float64)
        of_all_rows = np.full(n, np.nan)
        of_all_rows[sample] = values
        return of_all_rows

    records = []
    for i, saved in enumerate(entry["results"]):
        fields = dict(saved)
        listed = fields.pop("arrays", None)  # older baselines have no list of arrays
        record = _record(fields)
        if record.source != name:
            raise ValueError(f"a number of {quoted(record.source)} stands under {quoted(name)}")
        if record.n > n:
            raise ValueError(f"{record.metric} is of {record.n} rows, where {n} are said")
        values, noise = (
            full(f"{kind}/{s}/{i}", None if listed is None else kind in listed) for kind in ARRAYS
        )
        records.append(replace(record, pseudo_values=values, pseudo_noise=noise))
    ids = arrays.get(f"ids/{s}")
    if (ids is not None) != bool(entry["ids"]) or (
        ids is not None and (ids.shape != (n,) or ids.dtype != np.uint64)
    ):
        raise ValueError("the ids must be one 64-bit number for each row")
    variant = entry.get("variant", "")  # older baselines have no variants
    if not isinstance(variant, str):
        raise TypeError("the name of a variant is a word")
    keys = RowKeys(n, hashes[0], ids, hashes[1])
    return BaselineSource(name, keys, tuple(records), sample, variant)
