"""The inputs of one checkpoint: embeddings and their companions, as the user names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cl_analyze.options.commands import ANALYSING, EVERY, QUANTISED, TRANSFORMED
from cl_analyze.options.declaration import INPUTS, option, options_of
from cl_analyze.options.kinds import Companions, Flag, Numbers, Place, Words


@dataclass(frozen=True)
class Request:
    """The inputs of one checkpoint: paths (PATH or PATH::KEY) or arrays.

    Attributes:
        embeddings: (N, D) rows, or (N, V, D) views, of which every two are a positive pair.
        labels: (N,) classes; None: the labels in the embeddings' file, if any; "none": no labels.
        pairs: (N, D) partners of the rows, or None.
        source: name of the checkpoint in the output; None: derived from the path.
        match: whether rows are matched with the rows of other checkpoints; "where possible": ids in
            the file of the embeddings that identify no rows are not used.
        variant: name of the variant that is measured in place of the embeddings: dims=K, or a
            word of `quantise` or `transform`; empty: the embeddings as they are.

    The declarations describe the other attributes.

    >>> Request("run1/embeddings.npz::z", labels="labels.csv").pairs is None
    True
    """

    embeddings: Any
    labels: Any = option(
        None,
        Companions(),
        INPUTS,
        "-l --labels",
        "Labels: one file, or repeat -l, one for each EMB",
        tuple(name for name in EVERY if name != "uniformity"),
    )
    class_names: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--class-names",
        "Names of the classes: a line each, or class -> name",
        ("similarity", "tolerance", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="the array class_names in EMB, else the labels",
        about="names of the classes 0, 1, ... in order, or a mapping class -> name, or a file of "
        "these (a .txt file with a name a line, .json, .csv); None: the array `class_names` in "
        "the embeddings' file, else the labels as they are.",
    )
    pairs: Any = option(
        None,
        Companions(shared=False),
        INPUTS,
        "-p --pairs",
        "Partners: repeat -p, one file for each EMB",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
    )
    relevant: Any = option(
        None,
        Companions(),
        INPUTS,
        "--relevant",
        "Pairs of a row of EMB and a row of --pairs: query, item, grade",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="row i with row i",
        about="pairs of a query (a row of the embeddings) and an item (a row of `pairs`) that "
        "are positives: a path, a DataFrame, or an array of shape (P, 2) or (P, 3) with query, "
        "item, grade; None: row i with row i.",
    )
    pair_ids: Any = option(
        None,
        Companions(),
        INPUTS,
        "--pair-ids",
        "Ids of the rows of --pairs, for --relevant",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="ids in the file of --pairs, else row numbers",
        about="ids of the rows of `pairs`, for `relevant`; None: those in their file, else row "
        "numbers from 0.",
    )
    views: Any = option(
        (),
        Numbers("V...", whole=True, least=0, example="0 1"),
        INPUTS,
        "--views",
        "Views to take, numbered from 0",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="all",
        about="numbers of the views to take, from 0; (): all views.",
    )
    groups: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--groups",
        "Groups of dependent rows, for error bars",
        ANALYSING,
        about="(N,) codes of rows that belong together, for clustered error bars.",
    )
    source: str | None = None
    queue: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--queue",
        "Additional negatives for the contrastive loss (MoCo)",
        ("losses", "check"),
        about="(K, D) further negatives of the contrastive loss (MoCo), as an array or a path.",
    )
    clop_anchors: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--clop-anchors",
        "Anchors for CLOP: one row for each class, in order",
        ("losses",),
        unset="the best fit",
        about="(C, D) anchors of the classes in sorted order, for CLOP; None: the orthonormal "
        "frame that fits best.",
    )
    train: Any = option(
        None,
        Companions(),
        INPUTS,
        "--train",
        "Training rows: one file, or repeat, one for each EMB",
        ("quality", "compare", "report", "check"),
        unset="leave-one-out for kNN, a part of EMB for the probe",
        about="(M, D) rows that the kNN vote and the linear probe learn from; None: leave-one-out, "
        "and a part of the rows.",
    )
    train_labels: Any = option(
        None,
        Companions(),
        INPUTS,
        "--train-labels",
        "Their labels: one file, or repeat, one for each",
        ("quality", "compare", "report", "check"),
        unset="labels in the file of --train",
        about="(M,) classes of the rows of `train`; None: those in their file.",
    )
    ids: Any = option(
        None,
        Companions(),
        INPUTS,
        "--ids",
        "Ids of the rows: one file, or repeat, one for each",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        about="(N,) identifiers of the rows, integers or strings, to match the rows of "
        "checkpoints in any order, and for `relevant`.",
    )
    dims: Any = option(
        (),
        Numbers("K...", whole=True, example="64 128"),
        INPUTS,
        "--dims",
        "Variants: the first K coordinates",
        ANALYSING,
        unset="none",
        about="numbers of dimensions; for each the embeddings cut to their first coordinates are "
        "measured too, as a variant.",
    )
    quantise: Any = option(
        (),
        Words("HOW...", words=QUANTISED),
        INPUTS,
        "--quantise",
        f"Variants: {', '.join(QUANTISED)} coordinates",
        ANALYSING,
        unset="none",
        about="int8 (256 levels between each coordinate's least and greatest value), binary "
        "(signs); for each, a variant.",
    )
    transform: Any = option(
        (),
        Words("HOW...", words=TRANSFORMED),
        INPUTS,
        "--transform",
        f"Variants: {', '.join(TRANSFORMED)}",
        ANALYSING,
        unset="none",
        about="centre (less the mean row), standardise (then divided by each coordinate's "
        "deviation), whiten (PCA whitening); for each, a variant.",
    )
    packed_bits: bool = option(
        False,
        Flag(),
        INPUTS,
        "--packed-bits",
        "Each byte of a uint8 array is eight signs",
        ANALYSING,
        about="whether each byte of a uint8 array is eight signs, highest bit first.",
    )
    transpose: bool = option(
        False,
        Flag(),
        INPUTS,
        "--transpose",
        "EMB is (dimensions, rows), and so are its views",
        ANALYSING,
        about="whether the embeddings, and views beside them, are stored as (dimensions, rows); "
        "other inputs are read as they are.",
    )
    match: bool | Literal["where possible"] = False
    variant: str = ""


FILES, SETTINGS = (
    tuple(
        name
        for name, each in options_of(Request).items()
        if isinstance(each.kind, Companions | Place) == is_file
    )
    for is_file in (True, False)
)
"""Names of the options that are files or arrays, and of those that say how rows are read."""
