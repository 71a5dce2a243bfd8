"""Names, order and colours of checkpoints."""

from __future__ import annotations

import re

from cl_analyze.figures.colours import HUES, OTHER_HUES, ordered
from cl_analyze.results import ordering
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import cut, shortened
from cl_analyze.results.tables import KEPT_DIMENSIONS

_LAST_SUFFIX = re.compile(
    r"\.(?:npz|npy|pt|pth|csv|tsv|parquet|safetensors|h5|hdf5|h5ad)(?=\[[^\[\]]*\]$|$)"
)
"""The suffix at the end of a name, or before the name of a variant."""
_MOST_LETTERS = 28


def short_names(document: Document) -> dict[str, str]:
    """Sources without the words that all share at start and end, for axes and legends.

    Long names are cut in the middle; different names stay different.
    """
    sources = list(document.sources)
    stems = [_LAST_SUFFIX.sub("", source) for source in sources]
    if len(set(stems)) < len(stems):  # they differ in their suffixes alone
        stems = sources
    return dict(zip(sources, shortened(cut(stems), _MOST_LETTERS), strict=True))


def axis_of(document: Document) -> ordering.Axis | None:
    """The temperatures, steps or epochs in the names of the sources; None without an order.

    Where a comparison was asked for another order, None too.
    """
    axis = ordering.axis_of(document.sources)
    rows = document.rows("checkpoints")
    if axis is None or not rows or rows[0]["axis"] is None:
        return axis
    placed = {str(row["source"]): row["x"] for row in rows}
    is_other = rows[0]["axis"] == KEPT_DIMENSIONS or placed != axis.positions
    return None if is_other else axis


def natural_order(document: Document) -> list[str]:
    """Sources along each run: by the temperatures, steps or epochs in their names, see `ordering`.

    A comparison with an order of its own (--x) keeps it.
    """
    rows = document.rows("checkpoints")
    axis = axis_of(document)
    if axis is None and rows and rows[0]["axis"] is not None:
        return list(document.sources)
    return ordering.natural_order(document.sources, axis)


def source_colours(document: Document) -> dict[str, str]:
    """A colour for each source: in order along the longest run where names tell it, else hues."""
    sources, axis = natural_order(document), axis_of(document)
    if axis is not None and len(axis.positions) == len(sources):
        main = [s for s in sources if axis.series[s] == axis.series[sources[0]]]
        others = [s for s in sources if s not in main]
        hues = [OTHER_HUES[i % len(OTHER_HUES)] for i in range(len(others))]
        return dict(zip([*main, *others], [*ordered(len(main)), *hues], strict=True))
    if len(sources) > len(HUES):
        return dict(zip(sources, ordered(len(sources)), strict=True))
    return dict(zip(sources, HUES, strict=False))
