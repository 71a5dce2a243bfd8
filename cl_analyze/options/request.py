"""The inputs of one checkpoint: embeddings and their companions, as the user names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cl_analyze.options.commands import ANALYSING, EVERY, QUANTISED, TRANSFORMED
from cl_analyze.options.declaration import ESTIMATES, INPUTS, option, options_of
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
        "Class of each row: one file, or -l once for each EMB",
        tuple(name for name in EVERY if name != "uniformity"),
        common_in=EVERY,
    )
    class_names: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--class-names",
        "Names of the classes: one a line, or a table of class and name",
        ("similarity", "tolerance", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="class_names in EMB, else the labels",
        about="names of the classes 0, 1, ... in order, or a mapping class -> name, or a file of "
        "these (a .txt file with a name a line, .json, .csv); None: the array `class_names` in "
        "the embeddings' file, else the labels as they are.",
    )
    pairs: Any = option(
        None,
        Companions(shared=False),
        INPUTS,
        "-p --pairs",
        "Second view (positive) of each row: -p once for each EMB",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        about="(N, D) second views, the positives of the rows; with `relevant`, (M, D) items.",
        common_in=("similarity", "losses", "quality", "compare", "report"),
    )
    relevant: Any = option(
        None,
        Companions(),
        INPUTS,
        "--relevant",
        "Which rows of EMB and --pairs belong together: query, item and, if wanted, grade",
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
        "Ids of the rows of --pairs, by which --relevant names them",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="ids in that file, else row numbers",
        about="ids of the rows of `pairs`, for `relevant`; None: those in their file, else row "
        "numbers from 0.",
    )
    views: Any = option(
        (),
        Numbers("V...", whole=True, least=0, example="0 1"),
        INPUTS,
        "--views",
        "Which views of a file with several to use, counted from 0",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        unset="all",
        about="numbers of the views to take, from 0; (): all views.",
    )
    groups: Any = option(
        None,
        Place("PATH"),
        ESTIMATES,
        "--groups",
        "Group of each row: error bars allow for dependence within groups",
        ANALYSING,
        about="(N,) codes of rows that belong together, for clustered error bars.",
    )
    source: str | None = None
    queue: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--queue",
        "More negatives for the contrastive loss, as in MoCo's queue",
        ("losses", "check"),
        about="(K, D) further negatives of the contrastive loss (MoCo), as an array or a path.",
    )
    clop_anchors: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--clop-anchors",
        "Anchors of the CLOP loss: one row for each class, in the classes' order",
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
        "Training rows for kNN and probe: one file, or one for each EMB",
        ("quality", "compare", "report", "check"),
        unset="leave-one-out, or a part of EMB",
        about="(M, D) rows that the kNN vote and the linear probe learn from; None: leave-one-out, "
        "and a part of the rows.",
        common_in=("quality",),
    )
    train_labels: Any = option(
        None,
        Companions(),
        INPUTS,
        "--train-labels",
        "Class of each training row: one file, or one for each EMB",
        ("quality", "compare", "report", "check"),
        unset="labels in the file of --train",
        about="(M,) classes of the rows of `train`; None: those in their file.",
    )
    ids: Any = option(
        None,
        Companions(),
        INPUTS,
        "--ids",
        "Id of each row, to match rows of files: one file, or one for each EMB",
        ("similarity", "penalty", "losses", "quality", "compare", "report", "check"),
        about="(N,) identifiers of the rows, integers or strings, to match the rows of "
        "checkpoints in any order, and for `relevant`.",
    )
    dims: Any = option(
        (),
        Numbers("K...", whole=True, example="64 128"),
        INPUTS,
        "--dims",
        "Measure also the first K coordinates alone",
        ANALYSING,
        about="numbers of dimensions; for each the embeddings cut to their first coordinates are "
        "measured too, as a variant.",
    )
    quantise: Any = option(
        (),
        Words("HOW...", words=QUANTISED),
        INPUTS,
        "--quantise",
        f"Measure also quantised embeddings: {', '.join(QUANTISED)}",
        ANALYSING,
        about="int8 (256 levels between each coordinate's least and greatest value), binary "
        "(signs); for each, a variant.",
    )
    transform: Any = option(
        (),
        Words("HOW...", words=TRANSFORMED),
        INPUTS,
        "--transform",
        f"Measure also transformed embeddings: {', '.join(TRANSFORMED)}",
        ANALYSING,
        about="centre (less the mean row), standardise (then divided by each coordinate's "
        "deviation), whiten (PCA whitening); for each, a variant.",
    )
    packed_bits: bool = option(
        False,
        Flag(),
        INPUTS,
        "--packed-bits",
        "Read each byte of a uint8 array as eight signs",
        ANALYSING,
        about="whether each byte of a uint8 array is eight signs, highest bit first.",
    )
    transpose: bool = option(
        False,
        Flag(),
        INPUTS,
        "--transpose",
        "Read EMB and its views as (dimensions, rows)",
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
