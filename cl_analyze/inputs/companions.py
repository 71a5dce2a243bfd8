"""Companions: the files and arrays that belong to the embeddings, each in a role.

ROLES says of every role where its array is found, how it is read, and which rows it must have an
entry for.  One loop opens and checks all of them; dropping rows and the entries of `inputs` follow
from the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.identifiers import identify
from cl_analyze.data.labels import Labels, encode
from cl_analyze.data.opening import (
    ID_KEYS,
    LABEL_KEYS,
    NO_LABELS,
    Opened,
    OpenedEmbeddings,
    Spec,
    as_rows,
    open_any,
    open_embeddings,
)
from cl_analyze.data.rows import Rows, SelectedRows, is_real
from cl_analyze.data.validation import RowCheck, check_rows, require_valid
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.inputs.checks import kept_rows
from cl_analyze.inputs.entries import input_entry
from cl_analyze.inputs.listener import Recorder
from cl_analyze.options import Request, RunOptions
from cl_analyze.quoting import quoted, some

ROW_KEYS = ("embeddings", "view2", "z2")
"""Arrays that are taken as rows from a container without ::KEY."""
Read = Callable[[Opened, RunOptions], Any]
EMBEDDINGS: Literal["embeddings"] = "embeddings"


@dataclass(frozen=True)
class Role:
    """What an array is to the embeddings.

    Attributes:
        name: the field of `Request` that names it.
        called: how messages call it.
        keys: arrays of a container that are taken where no ::KEY is given.
        one_for: it has an entry for each row of this, in the same order, which is dropped together
            with the row; None: it has rows of its own.
        read: turns the array into values; None: it holds rows in the space of the embeddings.
        may_drop: of rows of its own, whether invalid ones may be dropped.
    """

    name: str
    called: str
    keys: tuple[str, ...] = ROW_KEYS
    one_for: Literal["embeddings", "train"] | None = None
    read: Read | None = None
    may_drop: bool = False


def _classes(called: str) -> Read:
    return lambda opened, run: encode(opened, run.unlabelled, called)


ROLES = {
    role.name: role
    for role in (
        Role("pairs", "partners", one_for=EMBEDDINGS),
        Role("labels", "labels", LABEL_KEYS, EMBEDDINGS, _classes("labels")),
        Role(
            "groups",
            "groups",
            ("groups", "group"),
            EMBEDDINGS,
            lambda opened, run: encode(opened, what="groups").codes,
        ),
        Role("ids", "ids", ID_KEYS, EMBEDDINGS, lambda opened, run: identify(opened)),
        Role("queue", "queue"),
        Role("clop_anchors", "class anchors"),
        Role("train", "training rows", may_drop=True),
        Role("train_labels", "training labels", LABEL_KEYS, "train", _classes("training labels")),
    )
}
"""Every role, in the order of the entries of `inputs`."""


@dataclass(frozen=True)
class Companion:
    """One companion, opened and checked.

    Attributes:
        role: what it is to the embeddings.
        opened: the array, and where it comes from.
        values: what `role.read` made of it; None for rows.
        check: of rows of its own, what was found in them.
        kept: which of its entries are kept; None: all.
    """

    role: Role
    opened: Opened
    values: Any = None
    check: RowCheck | None = None
    kept: NDArray[np.int64] | None = None

    @property
    def rows(self) -> Rows:
        """The rows that are kept."""
        array = self.opened.array
        return array if self.kept is None else SelectedRows(array, self.kept)

    @property
    def kept_values(self) -> Any:
        """The values that are kept."""
        if self.kept is None or self.values is None:
            return self.values
        return (
            self.values.take(self.kept)
            if isinstance(self.values, Labels)
            else self.values[self.kept]
        )

    def entry(self) -> dict[str, Any]:
        """Its entry of `inputs`."""
        n = self.opened.array.shape[0]
        dropped = 0 if self.kept is None else n - len(self.kept)
        unlabelled = self.values.n_unlabelled if isinstance(self.values, Labels) else None
        duplicates = None
        if self.check is not None and self.role.may_drop:
            kept = np.arange(n) if self.kept is None else self.kept
            duplicates = len(np.intersect1d(self.check.duplicates, kept))
        return input_entry(self.opened, dropped, duplicates, unlabelled)


@dataclass
class Companions:
    """All companions of one checkpoint.

    Attributes:
        by_role: those that there are.
        unused: why labels in the embeddings' file are not used.
    """

    by_role: dict[str, Companion] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Companion | None:
        """The companion in a role, or None."""
        return self.by_role.get(name)

    def values(self, name: str) -> Any:
        """The kept values of the companion in a role, or None."""
        companion = self.by_role.get(name)
        return None if companion is None else companion.kept_values

    def drop(self, one_for: str, kept: NDArray[np.int64]) -> None:
        """Keep some rows of what companions have one entry for."""
        for name, companion in self.by_role.items():
            if companion.role.one_for == one_for:
                self.by_role[name] = replace(companion, kept=kept)

    @property
    def why_no_labels(self) -> str:
        """An addition to messages that ask for labels."""
        return "".join(f" ({text})" for text in self.unused)


def open_companions(
    request: Request, title: str, embeddings: OpenedEmbeddings, run: RunOptions, recorder: Recorder
) -> Companions:
    """Open, check and read every companion that the request names or the file has.

    Raises:
        DataError: an array that cannot be in its role.
        ConfigError: companions that need others.
    """
    companions = Companions()
    main = embeddings.main
    beside: Mapping[str, Opened | None] = {"labels": embeddings.labels, "ids": embeddings.ids}
    for role in ROLES.values():
        given = getattr(request, role.name)
        if role.name == "labels" and isinstance(given, str) and given == NO_LABELS:
            continue
        try:
            opened = beside.get(role.name) if given is None else _open(role, given, main)
            if role.name == "train_labels":
                opened = _training_labels(request, companions, opened)
            if opened is None:
                continue
            owner = companions["train"] if role.one_for == "train" else None
            if role.one_for is not None:
                check_length(main if owner is None else owner.opened, opened, role.called)
            values = None if role.read is None else role.read(opened, run)
        except DataError as error:
            if role.name != "labels" or given is not None:
                raise
            # labels that were not asked for do not stop what needs none
            companions.unused += (f"{error}: they are not used",)
            continue
        check = None
        if role.read is None and role.one_for is None:
            check = check_rows(opened.array)
            if not role.may_drop:
                require_valid(check, opened.name)
        companions.by_role[role.name] = Companion(role, opened, values, check)
    if companions["labels"] is None and request.labels is None:
        companions.unused = (*embeddings.unused, *companions.unused)
    _tell_of_labels(request, title, embeddings, companions, recorder)
    _check_training_set(request, title, companions, run, recorder)
    return companions


def _open(role: Role, given: Any, main: Opened) -> Opened:
    """What was named for a role; of rows, whether they lie in the space of the embeddings."""
    is_list = isinstance(given, list | tuple) and role.read is None
    if is_list and any(isinstance(one, str | Path) for one in given):
        raise ConfigError(
            f"{role.called}: found a list of {len(given)} paths; give one for all checkpoints, or "
            "one for each: analyze takes a list as long as theirs, compare a dictionary by name"
        )
    opened = open_any(given, role.called if role.name != "pairs" else "pairs", role.keys)
    if role.read is not None:
        return opened
    opened = as_rows(opened)
    shape, dim = opened.array.shape, main.array.shape[1]
    if len(shape) == 2 and role.one_for is None and shape[0] == dim != shape[1]:
        raise DataError(
            f"{opened.name}: {role.called} must have shape (rows, {dim}), found {shape}, which "
            "looks like (dimensions, rows), as MoCo keeps its queue: save its transpose, queue.T"
        )
    if len(shape) != 2 or not is_real(opened.array.dtype) or shape[1] != dim:
        dimensions = f"{shape[1]} dimensions, " if len(shape) == 2 else ""
        raise DataError(
            f"{opened.name}: {role.called} must be a 2-D array of real numbers with the {dim} "
            f"dimensions of {main.name} (they must be in the same space), found {dimensions}shape "
            f"{shape}, {opened.array.dtype_name}"
        )
    return opened


def check_length(main: Opened, other: Opened, called: str) -> None:
    """Whether an array has one entry for each row of another.

    Raises:
        DataError: it has not; the message guesses why.
    """
    n, m = main.array.n_rows, other.array.n_rows if other.array.shape else 0
    if n == m:
        return
    hint = ""
    suffix = "" if other.path is None else Path(other.path).suffix.lower()
    if m == main.array.shape[1]:
        hint = (
            f"; {main.name} is {main.array.shape}: is it (dimensions, rows)? Then save its "
            "transpose, z.T"
        )
    elif suffix in (".csv", ".tsv", ".txt") and m == n + 1:
        hint = "; its first line may be a header: remove it"
        if suffix != ".txt":
            hint += ", or name the column as PATH::COLUMN"
    elif suffix in (".csv", ".tsv") and m == n - 1:
        hint = "; a first line may have been taken for a header"
    raise DataError(
        f"{other.name} has {m} rows, {main.name} has {n}; {called} must have one for each "
        f"embedding, in the same order{hint}"
    )


def _tell_of_labels(
    request: Request,
    title: str,
    embeddings: OpenedEmbeddings,
    companions: Companions,
    recorder: Recorder,
) -> None:
    labels = companions["labels"]
    if labels is not None and labels.opened is embeddings.labels:
        recorder.note(f"{request.embeddings}: labels are its array {quoted(labels.opened.key)}")
    if labels is not None and request.labels is not None and embeddings.labels is not None:
        recorder.note(f"{title}: --labels stands in for the labels in the file")
    if companions["clop_anchors"] is not None and labels is None:
        raise ConfigError(
            f"{title}: --clop-anchors needs labels: pass --labels FILE{companions.why_no_labels}"
        )


def _training_labels(
    request: Request, companions: Companions, opened: Opened | None
) -> Opened | None:
    """Classes of training rows: those that were named, or those in the same file."""
    train = companions["train"]
    if train is None:
        if opened is not None:
            raise ConfigError("--train-labels needs --train FILE, the rows that they belong to")
        return None
    if opened is None and isinstance(request.train, str | Path):
        opened = open_embeddings(Spec.parse(str(request.train)), True, False).labels
    if opened is None:
        raise ConfigError(f"{train.opened.name}: no labels are with it: pass --train-labels FILE")
    return opened


def _check_training_set(
    request: Request, title: str, companions: Companions, run: RunOptions, recorder: Recorder
) -> None:
    """Drop invalid training rows where that is asked for; compare the classes of both sets.

    Raises:
        ConfigError: the tested rows have no labels.
        DataError: invalid rows, or no class in common.
    """
    train, tested = companions["train"], companions["labels"]
    if train is None or train.check is None:
        return
    if tested is None:
        raise ConfigError(f"{title}: --train needs labels of the tested rows: pass --labels")
    n, name = train.opened.array.n_rows, train.opened.name
    kept = kept_rows([(train.opened, train.check)], n, run, recorder)
    if len(kept) < n:
        companions.by_role["train"] = replace(train, kept=kept)
        companions.drop("train", kept)
    classes: Labels = companions.values("train_labels")
    if classes.n_unlabelled:
        recorder.warn(f"{name}: {classes.n_unlabelled} training rows are unlabelled and left out")
    names = tested.values.names
    missing = [each for each in names if each not in set(classes.names)]
    if names and len(missing) == len(names):
        raise DataError(
            f"{name} has none of the classes of {title}: classes {some(classes.names)} there, "
            f"{some(names)} here; are the labels of one kind?"
        )
    if missing:
        recorder.warn(f"{title}: the training set has no row of the classes {some(missing)}")
