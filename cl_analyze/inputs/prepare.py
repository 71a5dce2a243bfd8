"""From a request for one checkpoint to a subject: open, check, drop rows, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.data.opening import (
    Opened,
    OpenedEmbeddings,
    Spec,
    embeddings_from_memory,
    open_embeddings,
)
from cl_analyze.data.packed import warnings_on_bytes
from cl_analyze.data.relevance import Relevance
from cl_analyze.data.rows import Rows, SelectedRows
from cl_analyze.data.unit import UnitRows, normalise
from cl_analyze.data.validation import RowCheck, check_rows, repeated_on_one_side
from cl_analyze.data.variants import Variant
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.inputs.checks import kept_rows, warn_about
from cl_analyze.inputs.columns import warnings_on_order, with_columns
from cl_analyze.inputs.companions import EMBEDDINGS, Companion, Companions, open_companions
from cl_analyze.inputs.entries import input_entry, pairs_entry
from cl_analyze.inputs.listener import Recorder, Silent
from cl_analyze.inputs.memory import KEPT_ROWS, Room, chosen_precision, room
from cl_analyze.inputs.variants import (
    fitted,
    in_numbering_of_file,
    mapped,
    require_directions,
    told_of,
)
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.subject import Subject, TrainSet
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.options.declaration import options_of
from cl_analyze.store import fingerprint


@dataclass(frozen=True)
class Prepared:
    """A checkpoint that is ready for metrics.

    Attributes:
        subject: unit rows and companions.
        inputs: entries of `inputs` in the document, one for each array.
        room: tile size and memory.
        is_transposed: whether the embeddings were read as (dimensions, rows).
    """

    subject: Subject
    inputs: tuple[dict[str, Any], ...]
    room: Room
    is_transposed: bool = False

    @property
    def fingerprint(self) -> str:
        """A hash of the contents of the arrays, and of what is done to them before they are read.

        Paths and options do not change it.
        """
        keys = ("sha256", "key", "n", "d", "dtype", "dropped_rows")
        entries = [[entry[key] for key in keys] for entry in self.inputs]
        variant = self.subject.variant
        how = [] if variant is None else [[variant.name]]
        how += [["transposed"]] if self.is_transposed else []
        return fingerprint([*entries, *how])


def prepare(
    request: Request,
    title: str,
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    recorder: Recorder,
    original: str = "",
) -> Prepared:
    """Open and check one checkpoint, drop invalid rows if `run` allows it, and normalise the rows.

    Args:
        request: paths or arrays of the checkpoint.
        title: name of the checkpoint in the output.
        names: names of the metric families to compute.
        options: parameters of the metrics.
        run: how to compute.
        recorder: receives notes and warnings; for a variant only those that its original has not.
        original: name of the checkpoint whose variant this is; empty: it is none.

    Raises:
        DataError: the inputs lack data that a metric needs, or have invalid rows.
        ConfigError: the options do not fit the inputs, or the memory budget is too small.
    """
    # what there is to say of the file was said of the original
    of_file = Recorder(Silent()) if request.variant else recorder
    for text in warnings_on_order(request, original or title):
        of_file.warn(text)
    request = with_columns(request, original or title, of_file.note)
    opened = _open(request, original or title, names)
    for text in opened.notes:
        of_file.note(text)
    for text in opened.warnings:
        of_file.warn(text)
    companions = open_companions(request, title, opened, run, of_file)
    _tell_of_found(opened, companions, of_file)
    _check_needs(title, names, options, opened, companions, of_file)
    recorder.stage("checking rows", title)
    for text in [] if request.packed_bits else warnings_on_bytes(opened.main):
        of_file.warn(text)
    checks = _checked_rows(opened, companions)
    main = opened.main
    kept = kept_rows(checks, main.array.n_rows, run, of_file)
    _check_batches(title, options, len(kept))
    _check_relevance(title, options, companions)
    variant = None
    if request.variant:
        recorder.stage("fitting the variant", title)
        rows, largest = _rows(main, kept), checks[0][1].norm_max
        variant = fitted(request, rows, main.array.dtype, largest, original)
        checks = _checked_variant(checks, kept, variant, run)
        _require_companions(companions, variant)
        kept = np.intersect1d(kept, kept_rows(checks, main.array.n_rows, run, recorder))
        for text in told_of(variant, title, len(kept), main.array.shape[1]):
            recorder.note(text)
    dropped = len(kept) < main.array.n_rows
    if dropped:
        companions.drop(EMBEDDINGS, kept)
    if companions.relevance is not None:
        if dropped:
            companions.relevance = companions.relevance.select(kept, None)
        _tell_of_relevance(title, companions.relevance, of_file)
    labels = None if variant is not None else companions["labels"]
    warn_about(title, checks[0][1], None if labels is None else labels.values, run, recorder)
    n_matrices = 2 if companions["pairs"] is not None else 1 + len(opened.views or ())
    for text in repeated_on_one_side(checks):
        of_file.warn(text)
    _check_values(title, options, companions)
    mapped_main = mapped(main.array, variant)
    dtype = chosen_precision(mapped_main.dtype, len(kept), options, run)
    memory = room(run, len(kept), mapped_main.shape[1], dtype, options, names, title)
    cached = memory.cached // n_matrices
    subject = _subject(title, opened, companions, kept if dropped else None, dtype, cached, variant)
    subject = replace(subject, original=original or title)
    shows_rows = "quality" in names and options.projection != "none"
    if shows_rows or ("similarity" in names and options.suspects):
        subject = _with_names(subject, opened, companions)
    entries = tuple(_entries(checks, kept, companions, variant))
    return Prepared(subject, entries, memory, request.transpose)


def _open(request: Request, title: str, names: Sequence[str]) -> OpenedEmbeddings:
    """Open the embeddings, with the labels, views and ids of their file that the metrics need."""
    is_matched = bool(request.match)
    wants_labels = is_matched or any(METRICS[name].uses_labels for name in names)
    wants_views = request.pairs is None and any(METRICS[name].uses_views for name in names)
    chosen = options_of(Request)["views"].kind.check("views", request.views or ())
    if chosen and request.pairs is not None:
        raise ConfigError(
            f"{title}: --views chooses among views in one file, --pairs names a second file: pass "
            "one of the two"
        )
    if isinstance(request.embeddings, str | Path):
        spec = Spec.parse(str(request.embeddings))
        wants_ids = is_matched or request.relevant is not None
        return open_embeddings(
            spec,
            wants_labels,
            wants_views,
            wants_ids,
            chosen,
            request.packed_bits,
            request.transpose,
        )
    opened = embeddings_from_memory(
        request.embeddings, title, chosen, request.packed_bits, request.transpose
    )
    if chosen and opened.views is None:
        raise DataError(
            f"{title}: views={list(chosen)} needs an array of shape (rows, views, dimensions), "
            f"found {opened.main.array.shape}"
        )
    return opened if wants_views else replace(opened, views=None)


def _tell_of_found(opened: OpenedEmbeddings, companions: Companions, recorder: Recorder) -> None:
    """Tell which arrays beside the embeddings are used, in one line that all files share."""
    found = [(own.role, own.keys) for own in opened.found]
    labels = companions["labels"]
    if labels is not None and labels.opened is opened.labels:
        found.insert(0, ("labels", str(labels.opened.key)))
    if found:
        roles, keys = (", ".join(words) for words in zip(*found, strict=True))
        recorder.note(f"{roles}: from the embeddings' file ({keys})")


def _check_needs(
    title: str,
    names: Sequence[str],
    options: MetricOptions,
    opened: OpenedEmbeddings,
    companions: Companions,
    recorder: Recorder,
) -> None:
    """Check that labels and views exist if a metric needs them.

    Raises:
        DataError: labels or a second view are missing.
    """
    needed = {metric.needs for name in names for metric in METRICS[name].metrics}
    needs_labels = needed == {"labels"}
    if not needs_labels and options.negatives != "class":
        for text in companions.unused:
            recorder.warn(f"{text}; pass --labels none to ignore them")
    has_views = opened.views is not None or companions["pairs"] is not None
    if needed == {"views", "views or labels"} and not has_views:
        if companions["labels"] is None:
            raise DataError(
                f"{title}: {names[0]} need two views of the same rows: pass --pairs FILE with the "
                "partners (or a file that holds view1 and view2); with --labels FILE alone there "
                f"are supcon, icl_mmd and clop{companions.why_no_labels}"
            )
        recorder.note(
            f"{title}: without a second view there are the losses that need only labels: supcon, "
            "icl_mmd, clop"
        )
    if needs_labels and companions["labels"] is None:
        raise DataError(
            f"{title}: {names[0]} needs labels: pass --labels FILE{companions.why_no_labels}"
        )


def _checked_rows(
    opened: OpenedEmbeddings, companions: Companions
) -> list[tuple[Opened, RowCheck]]:
    """The embeddings, then the partners or other views, each with the result of its check."""
    partners = companions["pairs"]
    if companions.relevance is not None:  # the items are rows of their own, already checked
        partners = None
    other_views = (opened.views or ()) if partners is None else (partners.opened,)
    others = [other for other in other_views if other.array is not opened.main.array]
    return [(view, check_rows(view.array)) for view in (opened.main, *others)]


def _rows(opened: Opened, kept: NDArray[np.int64] | None) -> Rows:
    """The rows of an array, all or some."""
    array = opened.array
    return array if kept is None or len(kept) == array.n_rows else SelectedRows(array, kept)


def _checked_variant(
    checks: Sequence[tuple[Opened, RowCheck]],
    kept: NDArray[np.int64],
    variant: Variant,
    run: RunOptions,
) -> list[tuple[Opened, RowCheck]]:
    """Each array, named as the variant of it, with the result of the check of its valid rows.

    Raises:
        DataError: a row has no direction in the variant, and `run` drops none.
    """
    found = []
    for opened, _ in checks:
        named = replace(opened, name=f"{opened.name}[{variant.name}]")
        check = check_rows(mapped(_rows(opened, kept), variant))
        check = in_numbering_of_file(check, kept)
        require_directions(named.name, check, run)
        found.append((named, check))
    return found


def _require_companions(companions: Companions, variant: Variant) -> None:
    """Raise a DataError where further rows in the same space have no direction in the variant."""
    for companion in companions.by_role.values():
        if companion.role.read is None and companion.role.one_for is None:
            check = check_rows(mapped(companion.rows, variant))
            require_directions(f"{companion.opened.name}[{variant.name}]", check, RunOptions())


def _tell_of_relevance(title: str, relevance: Relevance, recorder: Recorder) -> None:
    """Count queries and items that belong to no pair.

    Raises:
        DataError: no pair is left.
    """
    if not len(relevance.items):
        raise DataError(f"{title}: no pair of --relevant is left among the valid rows")
    counts, of_items = relevance.counts, relevance.transposed().counts
    recorder.note(
        f"{title}: {len(relevance.items)} relevant pairs of {relevance.n_queries} queries and "
        f"{relevance.n_items} items; {int((counts == 0).sum())} queries without an item, "
        f"{int((of_items == 0).sum())} items without a query, at most {counts.max()} items a query"
    )


def _check_batches(title: str, options: MetricOptions, n_rows: int) -> None:
    if options.batch_sizes and 2 * options.batch_sizes[-1] > n_rows:
        raise ConfigError(
            f"--batch-size {options.batch_sizes[-1]}: {title} has {n_rows} pairs; batches of more "
            f"than half of them are all alike: give at most {n_rows // 2}"
        )


def _check_relevance(title: str, options: MetricOptions, companions: Companions) -> None:
    """Raise a ConfigError for options that need one partner a row, or classes of the items."""
    if companions.relevance is None:
        return
    for flag, is_used in (
        ("--negatives class", options.negatives == "class"),
        ("--batch-size", bool(options.batch_sizes)),
        ("--queue", companions["queue"] is not None),
    ):
        if is_used:
            raise ConfigError(f"{title}: {flag} is not for queries and items: leave out --relevant")


def _check_values(title: str, options: MetricOptions, companions: Companions) -> None:
    """Check the groups and labels of the kept rows.

    Raises:
        DataError: a row has no group; or negatives are "class" and no row is labelled.
        ConfigError: negatives are "class" and there are no labels.
    """
    groups, labels = companions.values("groups"), companions.values("labels")
    if groups is not None and (groups < 0).any():
        raise DataError(f"{title}: every row needs a group; {int((groups < 0).sum())} have none")
    if options.negatives == "class":
        if labels is None:
            raise ConfigError(
                f"{title}: class negatives need labels: pass --labels FILE"
                f"{companions.why_no_labels}"
            )
        if not labels.names:
            raise DataError(f"{title}: class negatives need labels, and no row is labelled")


def _entries(
    checks: Sequence[tuple[Opened, RowCheck]],
    kept: NDArray[np.int64],
    companions: Companions,
    variant: Variant | None,
) -> list[dict[str, Any]]:
    """Entries of `inputs`: embeddings, views or partners, then the other companions."""
    labels = companions["labels"]
    entries = []
    for position, (opened, check) in enumerate(checks):
        unlabelled = labels.values.n_unlabelled if labels is not None and not position else None
        duplicates = len(np.intersect1d(check.duplicates, kept))
        dropped = opened.array.n_rows - len(kept)
        entries.append(input_entry(opened, dropped, duplicates, unlabelled, variant))
    others = (
        companion
        for name, companion in companions.by_role.items()
        if name != "pairs" or companions.relevance is not None
    )
    entries += [companion.entry() for companion in others]
    if companions.table is not None:
        entries.append(pairs_entry(companions.table))
    return entries


def _subject(
    title: str,
    opened: OpenedEmbeddings,
    companions: Companions,
    kept: NDArray[np.int64] | None,
    dtype: type[np.floating[Any]],
    cached: int,
    variant: Variant | None,
) -> Subject:
    def unit(view: Opened) -> UnitRows:
        return UnitRows(mapped(_rows(view, kept), variant), dtype, cached)

    def companion_rows(companion: Companion, budget: int = KEPT_ROWS // 4) -> UnitRows:
        return UnitRows(mapped(companion.rows, variant), dtype, budget)

    rows = unit(opened.main)
    views: tuple[UnitRows, ...] | None = None
    partners = None
    if (pairs := companions["pairs"]) is not None:
        if companions.relevance is None:
            partners = unit(pairs.opened)
            views = (rows, partners)
        else:
            partners = companion_rows(pairs, cached)
    elif opened.views is not None:
        views = tuple(map(unit, opened.views))
    queue, anchors, train = (companions[name] for name in ("queue", "clop_anchors", "train"))
    labels: Labels | None = companions.values("labels")
    return Subject(
        source=title,
        rows=rows,
        labels=labels,
        views=views,
        partners=partners,
        relevance=companions.relevance,
        groups=companions.values("groups"),
        queue=None if queue is None else companion_rows(queue),
        clop_anchors=None
        if anchors is None
        else normalise(mapped(anchors.rows, variant).read(0, anchors.rows.n_rows)),
        train=None
        if train is None or labels is None
        else _train_set(companion_rows(train), companions.values("train_labels"), labels),
        ids=companions.values("ids"),
        kept=kept,
        variant=variant,
    )


def _with_names(subject: Subject, opened: OpenedEmbeddings, companions: Companions) -> Subject:
    """The subject with the ids of its rows as they are written, for tables of single rows."""
    own, of_items = (companions[name] for name in ("ids", "pair_ids"))
    ids = _written(opened.names if own is None else own.opened, subject.kept)
    if subject.relevance is None:  # a partner is the same item as its row
        return replace(subject, id_values=ids, partner_ids=ids, partner_kept=subject.kept)
    items, partners = None, companions["pairs"]
    if of_items is not None:
        items = _written(of_items.opened, of_items.kept)
    kept = None if partners is None else partners.kept
    return replace(subject, id_values=ids, partner_ids=items, partner_kept=kept)


def _written(ids: Opened | None, kept: NDArray[np.int64] | None) -> NDArray[Any] | None:
    if ids is None:
        return None
    values: NDArray[Any] = ids.array.values()[:].reshape(-1)
    return values if kept is None else values[kept]


def _train_set(rows: UnitRows, train_labels: Labels, test_labels: Labels) -> TrainSet:
    """Training rows, with class codes that agree with the codes of the test rows."""
    code_of = {name: code for code, name in enumerate(test_labels.names)}
    only_in_training = [name for name in train_labels.names if name not in code_of]
    code_of.update({name: len(test_labels.names) + i for i, name in enumerate(only_in_training)})
    recoded = np.array([code_of[name] for name in train_labels.names] + [-1], dtype=np.int64)
    return TrainSet(rows, recoded[train_labels.codes], (*test_labels.names, *only_in_training))
