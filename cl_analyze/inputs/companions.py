"""Companions: the files and arrays that accompany the embeddings, each in a role.

ROLES declares for every role where the array is found, how the array is read, and the rows for
which the array needs one entry each.  One loop opens and checks all companions.  The same table
determines which entries are dropped together with a row, and the entries of `inputs`.
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
    CLASS_NAMES_KEYS,
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
from cl_analyze.data.packed import unpacked
from cl_analyze.data.relevance import PairTable, Relevance, read_pairs, relation
from cl_analyze.data.rows import Rows, SelectedRows, is_real
from cl_analyze.data.validation import RowCheck, check_rows, require_valid
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.inputs.checks import kept_rows
from cl_analyze.inputs.class_names import named, open_class_names, read_class_names
from cl_analyze.inputs.entries import input_entry
from cl_analyze.inputs.listener import Recorder
from cl_analyze.options import Request, RunOptions
from cl_analyze.quoting import quoted, some

ROW_KEYS = ("embeddings", "view2", "z2")
"""Keys of a container that are tried, in order, for rows when the path has no ::KEY."""
Read = Callable[[Opened, RunOptions], Any]
EMBEDDINGS: Literal["embeddings"] = "embeddings"


@dataclass(frozen=True)
class Role:
    """The purpose of a companion array.

    Attributes:
        name: the field of `Request` that holds the path or array.
        called: the name in messages.
        keys: keys of a container that are tried, in order, when the path has no ::KEY.
        one_for: "embeddings", "train" or "pairs": the companion has one entry for each of these
            rows, in the same order, and an entry is dropped together with its row.  None: the
            companion has independent rows.
        read: function that converts the array to values; None: the array holds rows in the space
            of the embeddings.
        may_drop: whether invalid rows may be dropped, if the array has independent rows.
    """

    name: str
    called: str
    keys: tuple[str, ...] = ROW_KEYS
    one_for: Literal["embeddings", "train", "pairs"] | None = None
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
        Role(
            "pair_ids", "ids of the pairs", ID_KEYS, "pairs", lambda opened, run: identify(opened)
        ),
        Role("queue", "queue"),
        Role("clop_anchors", "class anchors"),
        Role("train", "training rows", may_drop=True),
        Role("train_labels", "training labels", LABEL_KEYS, "train", _classes("training labels")),
        Role(
            "class_names",
            "class names",
            CLASS_NAMES_KEYS,
            read=lambda opened, run: read_class_names(opened),
        ),
    )
}
"""All roles, in the order of the entries of `inputs`."""
ITEMS = Role("pairs", "items", may_drop=True)
"""The role of the second file where `--relevant` says which rows belong together."""


@dataclass(frozen=True)
class Companion:
    """One companion, opened and checked.

    Attributes:
        role: the purpose of the array.
        opened: the array, and the path it comes from.
        values: the values from `role.read`; None for rows.
        check: result of the check of independent rows; None for other arrays.
        kept: indices of the kept entries; None: all.
    """

    role: Role
    opened: Opened
    values: Any = None
    check: RowCheck | None = None
    kept: NDArray[np.int64] | None = None

    @property
    def rows(self) -> Rows:
        """The kept rows."""
        array = self.opened.array
        return array if self.kept is None else SelectedRows(array, self.kept)

    @property
    def kept_values(self) -> Any:
        """The kept values."""
        if self.kept is None or self.values is None:
            return self.values
        return (
            self.values.take(self.kept)
            if isinstance(self.values, Labels)
            else self.values[self.kept]
        )

    def entry(self) -> dict[str, Any]:
        """The entry of `inputs` for this companion."""
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
        by_role: name of the role -> companion, for the companions that exist.
        unused: reasons why labels in the embeddings' file are not used.
        relevance: the relevant items of each row; None: row i belongs to row i.
        table: the table of pairs behind `relevance`.
    """

    by_role: dict[str, Companion] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    relevance: Relevance | None = None
    table: PairTable | None = None

    def __getitem__(self, name: str) -> Companion | None:
        """The companion in a role, or None."""
        return self.by_role.get(name)

    def values(self, name: str) -> Any:
        """The kept values of the companion in a role, or None."""
        companion = self.by_role.get(name)
        return None if companion is None else companion.kept_values

    def drop(self, one_for: str, kept: NDArray[np.int64]) -> None:
        """Keep only some entries of the companions with one entry for each row of `one_for`."""
        for name, companion in self.by_role.items():
            if companion.role.one_for == one_for:
                self.by_role[name] = replace(companion, kept=kept)

    @property
    def why_no_labels(self) -> str:
        """The reasons in `unused`, as an addition to messages that ask for labels."""
        return "".join(f" ({text})" for text in self.unused)


def open_companions(
    request: Request, title: str, embeddings: OpenedEmbeddings, run: RunOptions, recorder: Recorder
) -> Companions:
    """Open, check and read every companion in the request or in the embeddings' file.

    Raises:
        DataError: an array has the wrong shape, type or values for its role.
        ConfigError: a companion needs another companion that is missing.
    """
    companions = Companions()
    main = embeddings.main
    in_embeddings_file: Mapping[str, Opened | None] = {
        "labels": embeddings.labels,
        "ids": embeddings.ids,
        "class_names": embeddings.class_names,
    }
    for role in ROLES.values():
        requested = getattr(request, role.name)
        if role.name == "pairs" and request.relevant is not None:
            role = ITEMS
        if role.name == "labels" and isinstance(requested, str) and requested == NO_LABELS:
            continue
        try:
            opened = (
                in_embeddings_file.get(role.name)
                if requested is None
                else _open(role, requested, main, request.packed_bits)
            )
            if role.name == "train_labels":
                opened = _training_labels(request, companions, opened)
            if role.name == "pair_ids":
                opened = _ids_of_items(request, companions, opened, recorder)
            if opened is None:
                continue
            owner = None if role.one_for in (None, EMBEDDINGS) else companions[role.one_for]
            if role.one_for is not None:
                check_length(main if owner is None else owner.opened, opened, role.called)
            values = None if role.read is None else role.read(opened, run)
        except DataError as error:
            if role.name == "ids" and requested is None and request.match == "where possible":
                recorder.note(f"{error}: ids are not used to match rows with other checkpoints")
                continue
            if role.name not in ("labels", "class_names") or requested is not None:
                raise
            if role.name == "class_names":
                recorder.warn(f"{error}; classes keep their labels")
                continue
            # bad labels that the user did not pass do not stop metrics without labels
            companions.unused += (f"{error}: they are not used",)
            continue
        check = None
        if role.read is None and role.one_for is None:
            check = check_rows(opened.array)
            if not role.may_drop:
                require_valid(check, opened.name, may_drop=False)
        companions.by_role[role.name] = Companion(role, opened, values, check)
    if companions["labels"] is None and request.labels is None:
        companions.unused = (*embeddings.unused, *companions.unused)
    _tell_of_labels(request, title, embeddings, companions, recorder)
    _name_classes(request, title, companions, recorder)
    _check_training_set(request, title, companions, run, recorder)
    if request.relevant is not None:
        _read_relevance(request, title, main, companions, run, recorder)
    return companions


def _open(role: Role, requested: Any, main: Opened, packed_bits: bool) -> Opened:
    """Open the array for a role; check that rows have the dimensions of the embeddings."""
    if role.name == "class_names":
        return open_class_names(requested)
    is_list = isinstance(requested, list | tuple) and role.read is None
    if is_list and any(isinstance(item, str | Path) for item in requested):
        raise ConfigError(
            f"{role.called}: found a list of {len(requested)} paths; give one for all checkpoints, "
            "or one for each: analyze takes a list with one path for each checkpoint, compare "
            "takes a dictionary by name"
        )
    opened = open_any(requested, role.called if role.name != "pairs" else "pairs", role.keys)
    if role.read is not None:
        return opened
    opened = as_rows(unpacked(opened) if packed_bits else opened)
    shape, dim = opened.array.shape, main.array.shape[1]
    if len(shape) == 2 and role.one_for is None and shape[0] == dim != shape[1]:
        raise DataError(
            f"{opened.name}: {role.called} must have shape (rows, {dim}), found {shape}, which "
            "looks like (dimensions, rows), as MoCo keeps its queue: save its transpose, queue.T"
        )
    if len(shape) != 2 or not is_real(opened.array.dtype):
        raise DataError(
            f"{opened.name}: {role.called} must be a 2-D array of real numbers with the {dim} "
            f"dimensions of {main.name}, found shape {shape}, {opened.array.dtype_name}"
        )
    if shape[1] != dim:
        raise DataError(
            f"{opened.name} has {shape[1]} dimensions; {role.called} must be in the same space, "
            f"with the {dim} dimensions of {main.name}"
        )
    return opened


def check_length(main: Opened, other: Opened, called: str) -> None:
    """Check that `other` has one entry for each row of `main`.

    Raises:
        DataError: the lengths differ; the message suggests a reason.
    """
    n_main, n_other = main.array.n_rows, other.array.n_rows if other.array.shape else 0
    if n_main == n_other:
        return
    hint = ""
    suffix = "" if other.path is None else Path(other.path).suffix.lower()
    if n_other == main.array.shape[1]:
        hint = (
            f"; {main.name} is {main.array.shape}: is it (dimensions, rows)? Then pass "
            "--transpose, or save its transpose, z.T (if it was passed, leave it out)"
        )
    elif suffix in (".csv", ".tsv", ".txt") and n_other == n_main + 1:
        hint = "; its first line may be a header: remove it"
        if suffix != ".txt":
            hint += ", or name the column as PATH::COLUMN"
    elif suffix in (".csv", ".tsv") and n_other == n_main - 1:
        hint = "; a first line may have been taken for a header"
    elif called == ROLES["pairs"].called:
        hint = (
            "; if a row has several partners or none, say which rows belong together: "
            "--relevant FILE with the columns query and item"
        )
    raise DataError(
        f"{other.name} has {n_other} rows, {main.name} has {n_main}; {called} must have "
        f"one for each embedding, in the same order{hint}"
    )


def _tell_of_labels(
    request: Request,
    title: str,
    embeddings: OpenedEmbeddings,
    companions: Companions,
    recorder: Recorder,
) -> None:
    labels = companions["labels"]
    if labels is not None and request.labels is not None and embeddings.labels is not None:
        recorder.note(f"{title}: --labels replaces the labels in the file")
    if companions["clop_anchors"] is not None and labels is None:
        raise ConfigError(
            f"{title}: --clop-anchors needs labels: pass --labels FILE{companions.why_no_labels}"
        )


def _name_classes(request: Request, title: str, companions: Companions, recorder: Recorder) -> None:
    """Put names in place of the classes of all labels.

    Raises:
        ConfigError: there are no labels.
        DataError: a class has no name in what the user passed; names in the embeddings' file that
            do not fit are left out.
    """
    names = companions["class_names"]
    if names is None:
        return
    if companions["labels"] is None:
        if request.class_names is not None:
            raise ConfigError(
                f"{title}: --class-names needs labels: pass --labels FILE{companions.why_no_labels}"
            )
        del companions.by_role["class_names"]
        return
    renamed = {}
    try:
        for role in ("labels", "train_labels"):
            own = companions[role]
            if own is not None:
                values = named(own.values, names.values, names.opened.name, own.role.called)
                renamed[role] = replace(own, values=values)
    except DataError as error:
        if request.class_names is not None:
            raise
        del companions.by_role["class_names"]
        recorder.warn(f"{error}; classes keep their labels")
        return
    companions.by_role |= renamed
    known = {written for own in renamed.values() for written in own.values.written}
    n_more = sum(number not in known for number in names.values)
    if n_more:
        first = next(number for number in names.values if number in known)
        recorder.note(
            f"{names.opened.name}: {n_more} of {len(names.values)} names are of classes that no "
            f"row has; class {quoted(first)} is {quoted(names.values[first])}"
        )


def _training_labels(
    request: Request, companions: Companions, opened: Opened | None
) -> Opened | None:
    """Classes of the training rows: from --train-labels, or from the file of --train."""
    train = companions["train"]
    if train is None:
        if opened is not None:
            raise ConfigError("--train-labels needs --train FILE, the rows with these labels")
        return None
    if opened is None and isinstance(request.train, str | Path):
        opened = open_embeddings(Spec.parse(str(request.train)), True, False).labels
    if opened is None:
        raise ConfigError(f"{train.opened.name}: no labels are with it: pass --train-labels FILE")
    return opened


def _ids_of_items(
    request: Request, companions: Companions, opened: Opened | None, recorder: Recorder
) -> Opened | None:
    """Ids of the rows of `--pairs`: from --pair-ids, or from the file of --pairs."""
    if request.relevant is None:
        if opened is not None:
            raise ConfigError("--pair-ids needs --relevant FILE, the pairs of ids")
        return None
    if opened is not None and companions["pairs"] is None:
        raise ConfigError("--pair-ids are ids of the rows of --pairs: pass --pairs FILE too")
    if opened is None and isinstance(request.pairs, str | Path):
        found = open_embeddings(Spec.parse(str(request.pairs)), False, False, True)
        for text in (*found.notes, *(own.text for own in found.found)):
            recorder.note(text)
        return found.ids
    return opened


def _read_relevance(
    request: Request,
    title: str,
    main: Opened,
    companions: Companions,
    run: RunOptions,
    recorder: Recorder,
) -> None:
    """Read the table of pairs; drop or refuse invalid items.

    Raises:
        ConfigError: there is no second file.
        DataError: the table cannot be read, has unknown ids, or items are invalid.
    """
    items = companions["pairs"]
    if items is None or items.check is None:
        raise ConfigError(
            f"{title}: --relevant says which rows of --pairs belong to a row: pass --pairs FILE too"
        )
    table = read_pairs(request.relevant)
    n_items = items.opened.array.n_rows
    relevance, n_repeated = relation(
        table,
        (main.name, main.array.n_rows, companions.values("ids")),
        (items.opened.name, n_items, companions.values("pair_ids")),
    )
    kept = kept_rows([(items.opened, items.check)], n_items, run, recorder)
    if len(kept) < n_items:
        companions.by_role["pairs"] = replace(items, kept=kept)
        companions.drop("pairs", kept)
        relevance = relevance.select(None, kept)
    for count, text in (
        (n_repeated, "pairs stand in it again and count once"),
        (table.n_skipped, "pairs have grade 0 or less: these items are not relevant"),
    ):
        if count:
            recorder.note(f"{table.name}: {count} {text}")
    companions.relevance, companions.table = relevance, table


def _check_training_set(
    request: Request, title: str, companions: Companions, run: RunOptions, recorder: Recorder
) -> None:
    """Drop or refuse invalid training rows; compare the classes of training and test rows.

    Raises:
        ConfigError: the test rows have no labels.
        DataError: training rows are invalid, or the two sets have no class in common.
    """
    train, test_labels = companions["train"], companions["labels"]
    if train is None or train.check is None:
        return
    if test_labels is None:
        raise ConfigError(f"{title}: --train needs labels of the tested rows: pass --labels")
    n_rows, name = train.opened.array.n_rows, train.opened.name
    kept = kept_rows([(train.opened, train.check)], n_rows, run, recorder)
    if len(kept) < n_rows:
        companions.by_role["train"] = replace(train, kept=kept)
        companions.drop("train", kept)
    classes: Labels = companions.values("train_labels")
    if classes.n_unlabelled:
        recorder.warn(f"{name}: {classes.n_unlabelled} training rows are unlabelled and left out")
    test_classes = test_labels.values.names
    missing = [test_class for test_class in test_classes if test_class not in set(classes.names)]
    if test_classes and len(missing) == len(test_classes):
        raise DataError(
            f"{name} has none of the classes of {title}: classes {some(classes.names)} there, "
            f"{some(test_classes)} here; do both use the same kind of labels?"
        )
    if missing:
        recorder.warn(f"{title}: the training set has no row of the classes {some(missing)}")
