"""From what the user names to a subject that can be measured: open, check, drop, normalise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.identifiers import identify
from cl_analyze.data.labels import Labels, distinct_rows, encode, negative_classes
from cl_analyze.data.memory import free_memory, mebibytes
from cl_analyze.data.opening import (
    ID_KEYS,
    LABEL_KEYS,
    NO_LABELS,
    STDIN,
    Opened,
    OpenedEmbeddings,
    Spec,
    as_rows,
    embeddings_from_memory,
    open_any,
    open_embeddings,
    real_path,
)
from cl_analyze.data.remote import is_url, url_bytes
from cl_analyze.data.rows import Rows, SelectedRows, is_real
from cl_analyze.data.unit import UnitRows, normalise
from cl_analyze.data.validation import (
    RowCheck,
    check_rows,
    listed,
    require_valid,
    subnormal_in_words,
)
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.anchors import WIDEST
from cl_analyze.metrics.family import MetricOptions, Subject, TrainSet
from cl_analyze.metrics.quality.probe import KEPT_BYTES as PROBE_BYTES
from cl_analyze.metrics.quality.probe import MOST_ROWS as MOST_PROBE_ROWS
from cl_analyze.metrics.quality.spectrum import memory_needed as spectrum_memory
from cl_analyze.pairs.plan import DEFAULT_BLOCK, MOST_BLOCKS, SMALLEST_BLOCK, spans
from cl_analyze.pairs.rescoring import MARGIN
from cl_analyze.pairs.saved import SAVE_EVERY, fingerprint
from cl_analyze.quoting import printable, quoted, some, without_secrets

Precision = Literal["auto", "float32", "float64"]
OnInvalid = Literal["error", "drop"]

FLOAT64_ROWS = 20_000
FLOAT64_TAU = 0.02
KEPT_ROWS = 128 << 20
"""Bytes of unit rows that are kept unless a budget says otherwise; others are read again."""
PARTNER_KEYS = ("embeddings", "view2", "z2")
GROUP_KEYS = ("groups", "group")


class Listener(Protocol):
    """Who is told how a run goes; the command line prints it, the default is silence."""

    def note(self, text: str) -> None:
        """Something was chosen or found that the user should know."""
        ...

    def warn(self, text: str) -> None:
        """Something about the inputs may make the numbers mean less than they seem to."""
        ...

    def stage(self, text: str) -> None:
        """A new pass begins."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Pairs done, of pairs in all, in this pass."""
        ...

    def resumed(self, done: int, total: int) -> None:
        """Pairs of this pass that an earlier run has done already."""
        ...


class Silent:
    """A listener that keeps quiet."""

    def note(self, text: str) -> None:
        """Keep quiet."""

    def warn(self, text: str) -> None:
        """Keep quiet."""

    def stage(self, text: str) -> None:
        """Keep quiet."""

    def progress(self, done: int, total: int) -> None:
        """Keep quiet."""

    def resumed(self, done: int, total: int) -> None:
        """Keep quiet."""


@dataclass(frozen=True)
class RunOptions:
    """How to compute; none of it changes what is computed beyond rounding.

    Attributes:
        device: cpu, cuda or mps.
        precision: of the similarities; auto takes float64 for float64 input of up to 20,000 rows
            and for temperatures under 0.02.
        threads: tiles at a time; None: one for each core this process may use, and one more.
        memory: budget in bytes; None: a quarter of what is free.
        block: rows of a tile; None: as many as are fast and the budget allows.
        on_invalid: refuse rows with NaN, infinity or zero norm, or drop them and say so.
        unlabelled: a label value that means unlabelled.
        definition: keep this definition alone where a metric has it.
        resume: folder where long passes keep their states, and go on from them; None: nowhere.
        save_every: seconds between two saves there.
        scheduler: address of a Dask scheduler whose workers compute; None: this machine.

    >>> RunOptions(precision="float64", threads=1).on_invalid
    'error'
    """

    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    memory: int | None = None
    block: int | None = None
    on_invalid: OnInvalid = "error"
    unlabelled: str | None = None
    definition: str | None = None
    resume: str | Path | None = None
    save_every: float = SAVE_EVERY
    scheduler: str | None = None


@dataclass(frozen=True)
class Request:
    """One checkpoint as the user names it: paths (with ::KEY) or arrays.

    Attributes:
        embeddings: (N, D), or (N, V, D) views.
        labels, pairs, groups: one value, or one partner, a row; None where there are none.  Labels
            may be "none": then those in the embeddings' file are not used either.
        source: its name in the output; None: from the path.
        queue: (K, D) further negatives of the losses, or None.
        frame: (C, D) anchors of the classes for CLOP's term, in the classes' order, or None.
        train: (M, D) rows that classifiers learn from, or None.
        train_labels: their classes; None takes those in their file.
        ids: what identifies each row across files; None takes those in the embeddings' file where
            rows are to be matched.
        match: whether rows are to be matched with those of other checkpoints.

    >>> Request("run1/embeddings.npz::z", labels="labels.csv").pairs is None
    True
    """

    embeddings: Any
    labels: Any = None
    pairs: Any = None
    groups: Any = None
    source: str | None = None
    queue: Any = None
    frame: Any = None
    train: Any = None
    train_labels: Any = None
    ids: Any = None
    match: bool = False


class Recorder:
    """Passes everything on to a listener and remembers the warnings.

    Attributes:
        warnings: each text once, in order.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Pass on."""
        self._listener.note(printable(text))

    def warn(self, text: str) -> None:
        """Pass on what is new, and remember it."""
        text = printable(text)
        if text not in self.warnings:
            self.warnings.append(text)
            self._listener.warn(text)

    def stage(self, text: str) -> None:
        """Pass on."""
        self._listener.stage(text)

    def progress(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.progress(done, total)

    def resumed(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.resumed(done, total)


def source_names(requests: Sequence[Request]) -> list[str]:
    """Names of sources: the shortest path suffix that is unique, with ::KEY where one was typed.

    Raises:
        ConfigError: one array is named twice.
    """
    specs = [
        Spec.parse(str(request.embeddings))
        if isinstance(request.embeddings, str | Path)
        else Spec(request.source or "embeddings")
        for request in requests
    ]
    seen: dict[tuple[str, str | None], str] = {}
    for spec in specs:
        place = (spec.path if is_url(spec.path) else str(real_path(spec.path)), spec.key)
        if place in seen:
            raise ConfigError(f"{seen[place]} and {spec} are the same; name each checkpoint once")
        seen[place] = str(spec)
    names = []
    for request, spec in zip(requests, specs, strict=True):
        if request.source is not None:
            names.append(without_secrets(printable(request.source)))
            continue
        parts = Path(spec.path).parts
        suffix = spec.path
        for length in range(1, len(parts) + 1):
            suffix = str(Path(*parts[-length:]))
            alike = {s.path for s in specs if Path(*Path(s.path).parts[-length:]) == Path(suffix)}
            if len(alike) == 1:
                break
        if is_url(spec.path):  # what follows may be a signature
            suffix = suffix.partition("?")[0]
        title = suffix if spec.key is None else f"{suffix}::{spec.key}"
        title = without_secrets(printable(title))
        again = names.count(title)
        names.append(title if not again else f"{title} ({again + 1})")
    return names


def n_threads(run: RunOptions) -> int:
    """Threads asked for, else the cores this process may use, and one more where there are several.

    The one more computes while others wait for the interpreter lock (a tenth faster on two cores).
    """
    if run.threads is not None:
        return run.threads
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores + 1 if cores > 1 else 1


def positives_in_words(subject: Subject) -> str:
    """What counts as a positive pair."""
    if subject.partners is not None:
        return "each row with its partner in the second file"
    if subject.views is not None:
        return "view 1 with view 2 of the same row"
    if subject.labels is not None:
        return "every pair of rows of one class"
    return "none (no views and no labels)"


@cache
def _sha256_of_file(path: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sha256_of_path(path: Path) -> str:
    status = path.stat()
    return _sha256_of_file(str(path), status.st_size, status.st_mtime_ns)


def sha256(opened: Opened) -> str:
    """SHA-256 of a file's bytes (read once a run), or of the values of an array in memory.

    Of shards: of the text of their hashes, in their order.
    """
    if opened.shards:
        hashes = [_sha256_of_path(path) for path in opened.shards]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    if opened.path is not None and is_url(opened.path):
        digest = hashlib.sha256()
        for piece in url_bytes(opened.path):
            digest.update(piece)
        return digest.hexdigest()
    if opened.path is not None and opened.path != STDIN:
        return _sha256_of_path(Path(opened.path))
    digest = hashlib.sha256()
    values = opened.array.values()
    step = max(1, (1 << 20) // max(values[:1].size, 1))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        if part.dtype.hasobject:  # the text, for objects are only addresses
            digest.update("\n".join(map(str, part.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _input_entry(
    opened: Opened, dropped: int, duplicates: int | None = None, unlabelled: int | None = None
) -> dict[str, Any]:
    shape = opened.array.shape
    return {
        "path": None if opened.path is None else without_secrets(printable(opened.path)),
        "key": opened.key,
        "sha256": sha256(opened),
        "n": shape[0],
        "d": shape[1] if len(shape) > 1 else None,
        "dtype": opened.array.dtype_name,
        "dropped_rows": dropped,
        "duplicate_rows": duplicates,
        "unlabelled_rows": unlabelled,
    }


@dataclass(frozen=True)
class Prepared:
    """A subject, entries of `inputs` for the arrays it was made from, and how it fits."""

    subject: Subject
    inputs: tuple[dict[str, Any], ...]
    room: Room

    @property
    def fingerprint(self) -> str:
        """A hash of what the arrays hold, and of nothing else."""
        return fingerprint(
            [
                [entry[k] for k in ("sha256", "key", "n", "d", "dtype", "dropped_rows")]
                for entry in self.inputs
            ]
        )


def prepare(
    request: Request,
    title: str,
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    told: Recorder,
) -> Prepared:
    """Open and check one checkpoint, drop what was asked to be dropped, put rows on the sphere.

    Args:
        request: what the user named.
        title: its name in the output.
        names: the metric families that will look at it.
        options, run: what is asked, and how to compute.
        told: hears notes and warnings.

    Raises:
        DataError: the inputs do not hold what is needed.
        ConfigError: options that they cannot meet, or a budget they do not fit.
    """
    opened = _open(request, title, names)
    for text in opened.notes:
        told.note(text)
    for text in opened.warnings:
        told.warn(text)
    main = opened.main
    partners = None
    if request.pairs is not None:
        partners = as_rows(open_any(request.pairs, "pairs", PARTNER_KEYS))
        _check_partners(main, partners)
    views = None if partners is not None else opened.views
    labels_from, labels, unused = _labels(request, opened, run)
    if labels_from is not None and labels_from is opened.labels:
        told.note(f"{request.embeddings}: labels are its array {quoted(labels_from.key)}")
    groups_from = (
        open_any(request.groups, "groups", GROUP_KEYS) if request.groups is not None else None
    )
    ids_from = open_any(request.ids, "ids", ID_KEYS) if request.ids is not None else opened.ids
    for other, what in ((groups_from, "groups"), (ids_from, "ids")):
        if other is not None:
            _check_length(main, other, what)
    if labels_from is not None and request.labels is not None and opened.labels is not None:
        told.note(f"{title}: --labels stands in for the labels in the file")
    needs_labels = "tolerance" in names and len(names) == 1
    if not needs_labels and options.negatives != "class":
        for text in unused:
            told.warn(f"{text}; --labels none says that there are none")
    missing_labels = "".join(f" ({text})" for text in unused)
    queue = _beside(request.queue, "queue", main)
    frame = _beside(request.frame, "class anchors", main)
    if frame is not None and labels is None:
        raise ConfigError(
            f"{title}: --clop-anchors needs labels: pass --labels FILE{missing_labels}"
        )
    train = _training_set(request, title, main, labels, run, told)
    if tuple(names) == ("losses",) and views is None and partners is None:
        raise DataError(
            f"{title}: losses need two views of the same rows: pass --pairs FILE with the partners "
            "(or a file that holds view1 and view2)"
        )
    if needs_labels and labels is None:
        raise DataError(f"{title}: tolerance needs labels: pass --labels FILE{missing_labels}")
    groups = None if groups_from is None else encode(groups_from, what="groups").codes
    ids = None if ids_from is None else identify(ids_from)

    told.stage(f"{title}: checking rows")
    checks = [(main, check_rows(main.array))]
    beside = [*(views or ()), *([partners] if partners is not None else [])]
    checks += [
        (other, check_rows(other.array)) for other in beside if other.array is not main.array
    ]
    kept = _kept_rows(checks, main.array.n_rows, run, told)
    if options.batch_sizes and 2 * options.batch_sizes[-1] > len(kept):
        raise ConfigError(
            f"--batch-size {options.batch_sizes[-1]}: {title} has {len(kept)} pairs; batches of "
            f"more than half of them are all alike: give at most {len(kept) // 2}"
        )
    dropped = main.array.n_rows - len(kept)
    inputs = [
        _input_entry(
            array,
            dropped,
            len(np.intersect1d(check.duplicates, kept)),
            labels.n_unlabelled if labels is not None and array is main else None,
        )
        for array, check in checks
    ]
    if labels_from is not None and labels is not None:
        inputs.append(_input_entry(labels_from, dropped, unlabelled=labels.n_unlabelled))
    if groups_from is not None:
        inputs.append(_input_entry(groups_from, dropped))
    if ids_from is not None:
        inputs.append(_input_entry(ids_from, dropped))
    inputs += [_input_entry(other, 0) for other in (queue, frame) if other is not None]
    if train is not None:
        inputs += train.inputs
    _warn_about(title, checks[0][1], labels, run, told)
    if views is not None or partners is not None:
        _warn_of_repeats(checks, told)
    if dropped:
        labels = None if labels is None else labels.take(kept)
        groups = None if groups is None else groups[kept]
        ids = None if ids is None else ids[kept]
    if groups is not None and (groups < 0).any():
        raise DataError(f"{title}: every row needs a group; {int((groups < 0).sum())} have none")
    if options.negatives == "class":
        if labels is None:
            raise ConfigError(
                f"{title}: class negatives need labels: pass --labels FILE{missing_labels}"
            )
        if not labels.names:
            raise DataError(f"{title}: class negatives need labels, and no row is labelled")

    dtype = chosen_precision(main, len(kept), options, run)
    fits = room(run, len(kept), main.array.shape[1], dtype, options, names, title)

    def unit(array: Any) -> UnitRows:
        rows: Rows = SelectedRows(array, kept) if dropped else array
        return UnitRows(rows, dtype, fits.cached // (1 + len(beside)))

    rows = unit(main.array)
    second = None if partners is None else unit(partners.array)
    pair = None if views is None else (unit(views[0].array), unit(views[1].array))
    subject = Subject(
        source=title,
        rows=rows,
        labels=labels,
        views=pair if second is None else (rows, second),
        partners=second,
        groups=groups,
        queue=None if queue is None else UnitRows(queue.array, dtype, KEPT_ROWS // 4),
        frame=None if frame is None else normalise(frame.array.read(0, frame.array.n_rows)),
        train=None
        if train is None or labels is None
        else _train_set(UnitRows(train.rows, dtype, KEPT_ROWS // 4), train.labels, labels),
        ids=ids,
        kept=kept if dropped else None,
    )
    return Prepared(subject, tuple(inputs), fits)


def _open(request: Request, title: str, names: Sequence[str]) -> OpenedEmbeddings:
    """The embeddings, with only those companions of their file that the metrics look at."""
    wants_labels = request.match or any(METRICS[name].uses_labels for name in names)
    wants_views = request.pairs is None and any(METRICS[name].uses_views for name in names)
    if isinstance(request.embeddings, str | Path):
        return open_embeddings(
            Spec.parse(str(request.embeddings)), wants_labels, wants_views, request.match
        )
    opened = embeddings_from_memory(request.embeddings, title)
    return opened if wants_views else replace(opened, views=None)


def _labels(
    request: Request, opened: OpenedEmbeddings, run: RunOptions
) -> tuple[Opened | None, Labels | None, tuple[str, ...]]:
    """Where labels come from, the labels, and why those in the embeddings' file are not used.

    Labels that were asked for must be right; those that only lie in the file and cannot be classes
    do not stop what needs none.

    Raises:
        DataError: labels that were asked for are no classes, or not one a row.
    """
    if isinstance(request.labels, str) and request.labels == NO_LABELS:
        return None, None, ()
    if request.labels is not None:
        given = open_any(request.labels, "labels", LABEL_KEYS)
        _check_length(opened.main, given, "labels")
        return given, encode(given, run.unlabelled), ()
    if opened.labels is None:
        return None, None, opened.unused
    try:
        return opened.labels, encode(opened.labels, run.unlabelled), ()
    except DataError as error:
        return None, None, (f"{error}: they are not used",)


def _beside(given: Any, what: str, main: Opened) -> Opened | None:
    """Further rows in the space of the embeddings, checked; None where none are given."""
    if given is None:
        return None
    opened = _opened_beside(given, what, main)
    require_valid(check_rows(opened.array), opened.name)
    return opened


def _opened_beside(given: Any, what: str, main: Opened) -> Opened:
    """Further rows in the space of the embeddings, their values not looked at."""
    if isinstance(given, list | tuple) and any(isinstance(one, str | Path) for one in given):
        raise ConfigError(
            f"{what}: found a list of {len(given)} paths; give one for all checkpoints, or one for "
            "each: analyze takes a list as long as theirs, compare a dictionary by name"
        )
    opened = as_rows(open_any(given, what, PARTNER_KEYS))
    shape, dim = opened.array.shape, main.array.shape[1]
    if len(shape) == 2 and shape[0] == dim != shape[1]:
        raise DataError(
            f"{opened.name}: {what} must have shape (rows, {dim}), found {shape}, which looks like "
            "(dimensions, rows), as MoCo keeps its queue: save its transpose, queue.T"
        )
    if len(shape) != 2 or not is_real(opened.array.dtype) or shape[1] != main.array.shape[1]:
        raise DataError(
            f"{opened.name}: {what} must be a 2-D array of real numbers with the "
            f"{main.array.shape[1]} dimensions of {main.name}, found shape {shape}, "
            f"{opened.array.dtype_name}"
        )
    return opened


@dataclass(frozen=True)
class _Training:
    """Rows that classifiers learn from, their classes, and their entries of `inputs`."""

    rows: Rows
    labels: Labels
    inputs: tuple[dict[str, Any], ...]


def _training_set(
    request: Request,
    title: str,
    main: Opened,
    labels: Labels | None,
    run: RunOptions,
    told: Recorder,
) -> _Training | None:
    """What classifiers learn from, checked; None where nothing is given.

    Raises:
        ConfigError: one of the two options without the other, or without labels of the tested rows.
        DataError: not the embeddings' dimensions, not a label for each row, invalid rows, or no
            class in common.
    """
    if request.train is None:
        if request.train_labels is not None:
            raise ConfigError("--train-labels needs --train FILE, the rows that they belong to")
        return None
    if labels is None:
        raise ConfigError(f"{title}: --train needs labels of the tested rows: pass --labels")
    train = _opened_beside(request.train, "training rows", main)
    given = None
    if request.train_labels is not None:
        given = open_any(request.train_labels, "training labels", LABEL_KEYS)
    elif isinstance(request.train, str | Path):
        given = open_embeddings(Spec.parse(str(request.train)), True, False).labels
    if given is None:
        raise ConfigError(f"{train.name}: no labels are with it: pass --train-labels FILE")
    _check_length(train, given, "training labels")
    classes = encode(given, run.unlabelled, "training labels")
    check = check_rows(train.array)
    kept = _kept_rows([(train, check)], train.array.n_rows, run, told)
    dropped = train.array.n_rows - len(kept)
    inputs = (
        _input_entry(train, dropped, len(np.intersect1d(check.duplicates, kept))),
        _input_entry(given, dropped, unlabelled=classes.n_unlabelled),
    )
    rows: Rows = train.array
    if dropped:
        rows, classes = SelectedRows(train.array, kept), classes.take(kept)
    if classes.n_unlabelled:
        told.warn(f"{train.name}: {classes.n_unlabelled} training rows are unlabelled and left out")
    missing = [name for name in labels.names if name not in set(classes.names)]
    if labels.names and len(missing) == len(labels.names):
        raise DataError(
            f"{train.name} has none of the classes of {title}: classes {some(classes.names)} "
            f"there, {some(labels.names)} here; are the labels of one kind?"
        )
    if missing:
        told.warn(f"{title}: the training set has no row of the classes {some(missing)}")
    return _Training(rows, classes, inputs)


def _train_set(rows: UnitRows, own: Labels, tested: Labels) -> TrainSet:
    """Training rows with their classes counted as the tested rows' are."""
    known = {name: code for code, name in enumerate(tested.names)}
    further = [name for name in own.names if name not in known]
    known.update({name: len(tested.names) + i for i, name in enumerate(further)})
    recoded = np.array([known[name] for name in own.names] + [-1], dtype=np.int64)
    return TrainSet(rows, recoded[own.codes], (*tested.names, *further))


def _check_partners(main: Opened, partners: Opened) -> None:
    if len(partners.array.shape) != 2 or not is_real(partners.array.dtype):
        raise DataError(
            f"{partners.name}: partners must be a 2-D array of real numbers, found shape "
            f"{partners.array.shape}, {partners.array.dtype_name}"
        )
    _check_length(main, partners, "partners")
    if main.array.shape[1] != partners.array.shape[1]:
        raise DataError(
            f"{partners.name} has {partners.array.shape[1]} dimensions, {main.name} has "
            f"{main.array.shape[1]}; partners must be in the same space"
        )


def _check_length(main: Opened, other: Opened, what: str) -> None:
    n, m = main.array.n_rows, other.array.n_rows if other.array.shape else 0
    if n == m:
        return
    hint = ""
    if m == main.array.shape[1]:
        hint = (
            f"; {main.name} is {main.array.shape}: is it (dimensions, rows)? Then save its "
            "transpose, z.T"
        )
    elif other.path is not None and Path(other.path).suffix.lower() in (".csv", ".tsv", ".txt"):
        if m == n + 1:
            hint = "; its first line may be a header: remove it"
            if Path(other.path).suffix.lower() != ".txt":
                hint += ", or name the column as PATH::COLUMN"
        elif m == n - 1 and Path(other.path).suffix.lower() != ".txt":
            hint = "; a first line may have been taken for a header"
    raise DataError(
        f"{other.name} has {m} rows, {main.name} has {n}; {what} must have one for each "
        f"embedding, in the same order{hint}"
    )


def _kept_rows(
    checks: Sequence[tuple[Opened, RowCheck]], n_rows: int, run: RunOptions, told: Recorder
) -> NDArray[np.int64]:
    kept = np.ones(n_rows, dtype=bool)
    for opened, check in checks:
        if run.on_invalid == "error":
            require_valid(check, opened.name)
        elif len(check.invalid):
            kept[check.invalid] = False
            told.warn(
                f"{opened.name}: dropped {listed(check.invalid)} (NaN, infinite or zero norm), "
                "with what belongs to them"
            )
    if kept.sum() < 2:
        raise DataError(f"{checks[0][0].name}: fewer than 2 valid rows are left")
    return np.flatnonzero(kept).astype(np.int64)


def _warn_about(
    title: str, check: RowCheck, labels: Labels | None, run: RunOptions, told: Recorder
) -> None:
    if len(check.subnormal):
        told.warn(f"{title}: {subnormal_in_words(check)}")
    n = len(check.duplicates)
    if n:
        told.warn(
            f"{title}: {n} row{'s are' if n > 1 else ' is'} equal to an earlier row "
            f"({listed(check.duplicates)})"
        )
    if labels is None:
        return
    if distinct_rows(labels):
        told.warn(
            f"{title}: {len(labels.names)} classes of {len(labels.codes)} rows: are the labels "
            "ids, texts or numbers to predict? --labels none leaves them out"
        )
    if labels.n_singletons:
        told.warn(f"{title}: classes with one member, which has no positive: {labels.n_singletons}")
    negative = negative_classes(labels)
    if negative:
        told.warn(
            f"{title}: the label {some(negative)} is taken as a class; pass --unlabelled "
            f"{negative[0]} if it means none"
        )
    if run.unlabelled is not None and not labels.n_unlabelled:
        told.warn(f"{title}: no label is {quoted(run.unlabelled)}, so --unlabelled changes nothing")
    if labels.n_unlabelled:
        told.warn(
            f"{title}: {labels.n_unlabelled} rows are unlabelled and left out of class metrics"
            + (f" ({some(map(quoted, labels.missing))} read as missing)" if labels.missing else "")
        )


MOST_REPEATED = 0.05
"""Share of equal rows on one side of pairs from which on retrieval says little."""


def _warn_of_repeats(checks: Sequence[tuple[Opened, RowCheck]], told: Recorder) -> None:
    """Captions or items that stand several times on one side, and once on the other."""
    shares = [len(check.duplicates) / opened.array.n_rows for opened, check in checks]
    for (opened, check), share in zip(checks, shares, strict=True):
        if share > MOST_REPEATED and share > 2.0 * min(shares):
            told.warn(
                f"{opened.name}: {len(check.duplicates)} rows are repeated, on this side of the "
                "pairs alone: all of the equal rows are as near, and recall and ranks count but "
                "one of them as right; give every row one partner, and no row twice"
            )


def chosen_precision(
    main: Opened, n_rows: int, options: MetricOptions, run: RunOptions
) -> type[np.floating[Any]]:
    """The dtype of the similarities; see `RunOptions.precision`."""
    if run.precision != "auto":
        return np.float32 if run.precision == "float32" else np.float64
    if run.device.startswith("mps"):  # it has no float64
        return np.float32
    if min(options.taus) < FLOAT64_TAU:
        return np.float64
    wide = main.array.dtype != "bfloat16" and np.dtype(main.array.dtype).itemsize == 8
    return np.float64 if wide and n_rows <= FLOAT64_ROWS else np.float32


@dataclass(frozen=True)
class Room:
    """How a run fits into its memory.

    Attributes:
        block: rows of a tile.
        cached: bytes for unit rows that are kept.
        needed: bytes that the run takes beside these.
    """

    block: int
    cached: int
    needed: int


def _bytes_per_row(names: Sequence[str], options: MetricOptions, n_rows: int) -> int:
    """What is kept for each row until the end: states, statistics and pseudo-values."""
    total = 64 + 96 * len(options.ts) * ("uniformity" in names) + 96 * ("tolerance" in names)
    if {"similarity", "penalty", "quality"} & set(names):
        total += 40 * (options.n_neighbours_of(n_rows) + MARGIN)
    if "similarity" in names:
        total += 16 * (options.top_k + 2)
    if "penalty" in names:
        total += 200 * len(options.taus)
    if "quality" in names:  # values of rows, and pseudo-values of means over them
        total += 600
    if "losses" in names:  # masses of four matrices and three sets of pairs, weights received
        total += 600 + (96 + 40 * 16) * len(options.taus)
    return total


def _bytes_of_deletions(n_rows: int, names: Sequence[str], options: MetricOptions) -> int:
    """What sampled deletions keep for every row: five sums a temperature and half."""
    sampled = options.anchors_of(n_rows) is not None or n_rows > options.exact_deletions
    return 120 * len(options.taus) * n_rows * (sampled and "penalty" in names)


def room(
    run: RunOptions,
    n_rows: int,
    dim: int,
    dtype: type[np.floating[Any]],
    options: MetricOptions,
    names: Sequence[str],
    title: str,
) -> Room:
    """The largest block that the budget allows, and what is left to keep rows in.

    Raises:
        ConfigError: the budget is too small for the smallest block.
    """
    budget = run.memory if run.memory is not None else free_memory() // 4
    size = np.dtype(dtype).itemsize
    looked_at = options.anchors_of(n_rows) or n_rows
    kept = looked_at * _bytes_per_row(names, options, n_rows) + 64 * n_rows
    kept += _bytes_of_deletions(n_rows, names, options)
    if "quality" in names:
        kept += spectrum_memory(n_rows, dim, n_threads(run))
        kept += min(4 * dim * min(n_rows, MOST_PROBE_ROWS), PROBE_BYTES)
    if options.anchors_of(n_rows) is not None:  # second moments of the rows, a few at a time
        kept += 48 * min(dim, WIDEST) ** 2
    block = run.block or _usual_block(run.device, dim)
    smallest = min(block, SMALLEST_BLOCK)
    remedies = "a smaller --k, fewer --tau" if "quality" in names else "fewer --tau"
    while True:
        n_blocks = len(spans(n_rows, block))
        threads = min(n_threads(run), n_blocks * (n_blocks + 1) // 2)
        side = min(block, n_rows)
        held = min(MOST_BLOCKS, n_blocks) + 1
        needed = kept + threads * (10 * side**2 * size + side * dim * (held * size + 24))
        if needed <= budget:
            limit = budget if run.memory is not None else KEPT_ROWS
            return Room(block, min(budget - needed, limit), needed)
        if block == smallest or run.block is not None:
            raise ConfigError(
                f"{title}: {n_rows} rows of {dim} need about {mebibytes(needed)}, the budget is "
                f"{mebibytes(budget)}; pass --memory {needed // 2**20 + 1}MiB or more, "
                f"--anchors M for an estimate from M rows, {remedies}, or fewer --threads"
            )
        block = max(block // 2, smallest)


def _usual_block(device: str, dim: int) -> int:
    """Rows of a tile: long rows fill a core with fewer of them, a GPU needs more."""
    if device != "cpu":
        return 4 * DEFAULT_BLOCK
    return DEFAULT_BLOCK if dim <= 1024 else DEFAULT_BLOCK // 2
