"""Two coordinates for some rows, to look at: t-SNE, principal axes (PCA) or UMAP."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze import options
from cl_analyze.errors import DependencyError
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.factors import Factors
from cl_analyze.metrics.quality.rows import FormRows, Index
from cl_analyze.metrics.quality.spectrum import spectra
from cl_analyze.processes import apart
from cl_analyze.quoting import printable
from cl_analyze.results.tables import Cell, Table

MOST_ROWS = 1_000
"""Rows that are shown; of more, so many are drawn.  Of two towers half as many pairs."""
FEWEST_ROWS = 5
"""Rows below which neighbours say nothing; UMAP fails with fewer."""
COLLAPSED = 1e-4
"""Mean squared distance of unit rows from their mean below which t-SNE is not the default: it would
draw what is nearly one point as large as any other cloud."""
AUTO_ROWS = (200, 100_000)
"""Rows from which on, and up to which, t-SNE is the default.

Of fewer rows a neighbourhood of t-SNE would be a sixth of all rows; of more the shown rows would be
less than a hundredth, so that neighbours of a row are hardly among them.
"""
NEAREST = 5
"""Neighbours that are listed for each row."""
ROUNDING = 1e-6
PERPLEXITY = 30.0
_ITERATIONS, _ANGLE = 400, 0.8
"""Of t-SNE: a second of work for 1,000 rows."""
_LIBRARIES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}


@dataclass(frozen=True)
class Projection:
    """Coordinates of some rows.

    Attributes:
        rows: (m,) which rows.
        points: (m, 2).
        explained: share of the variance along each axis; None where the method has none.
        method: the method that was used.
        instead: why the method is not the one that was asked for; None: it is.
        partners: (m, 2) coordinates of the partners of the rows in the second file, laid out
            together with the rows; None where there are none.
    """

    rows: Index
    points: NDArray[np.float64]
    explained: tuple[float | None, float | None] = (None, None)
    method: options.Projection = "pca"
    instead: str | None = None
    partners: NDArray[np.float64] | None = None


def require(method: options.Projection) -> None:
    """Check that a method's library is there.

    Raises:
        DependencyError: it is not, and how to install it.
    """
    module, package = _LIBRARIES.get(method, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise DependencyError(
            f"--projection {method} needs {package}, which is not installed: pip install {package}"
        )


def method_of(context: Context) -> options.Projection:
    """The method that is asked for; for auto t-SNE where it can serve, else PCA.

    Never UMAP, so that the default is one method wherever t-SNE is installed.
    """
    method = context.options.projection
    if method != "auto":
        return method
    fewest, most = AUTO_ROWS
    n, factors = context.subject.n, context.once(spectra).factors
    is_there = importlib.util.find_spec(_LIBRARIES["tsne"][0]) is not None
    if not is_there or not fewest <= n <= most:
        return "pca"
    if factors is None:
        return "tsne"
    variance = float(np.square(factors.singular_values(True)).sum()) / n
    return "tsne" if variance > COLLAPSED else "pca"


def projection(context: Context) -> Projection | None:
    """Coordinates of up to 1,000 rows on the sphere, by the method of `--projection`.

    pca projects on the principal axes of all rows; tsne and umap lay out the rows that are shown.
    Partners in a second file, one a row, are laid out together with their rows.

    Returns:
        None where none is asked for, or principal axes are needed and not known (the spectrum is
        too wide).  Where neighbours cannot lay the rows out (hardly any rows, or all alike) the
        coordinates are principal axes, and `instead` says why.
    """
    method, seed, rows = method_of(context), context.options.seed, context.forms[1]
    if method == "none":
        return None
    subject = context.subject
    second = subject.partners if subject.relevance is None else None
    most = MOST_ROWS if second is None else MOST_ROWS // 2
    n_rows, factors = subject.n, context.once(spectra).factors
    chosen = np.arange(n_rows)
    if n_rows > most:
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(n_rows, most, replace=False))
    partners = None if second is None else FormRows("normalised", second).take(chosen)
    why = None
    if method != "pca":
        context.runner.announce(f"projection by {method}")
        require(method)
        points = rows.take(chosen)
        if partners is not None:
            points = np.concatenate([points, partners])
        why = _why_not(points)
        if why is None:  # otherwise both libraries fail, or end the process
            placed = apart(_laid_out, (method, points, seed))
            if np.isfinite(placed).all():
                own, theirs = placed[: len(chosen)], placed[len(chosen) :]
                return Projection(
                    chosen, own, method=method, partners=None if partners is None else theirs
                )
            why = f"{method} found no place for some rows"
    if partners is not None:
        return replace(_principal_of_both(rows.take(chosen), partners, chosen), instead=why)
    if factors is None:
        return None
    return replace(_principal(rows, factors, chosen), instead=why)


def _laid_out(
    given: tuple[options.Projection, NDArray[np.float64], int],
) -> NDArray[np.float64]:
    """(m, 2) coordinates of rows by t-SNE or UMAP, from a method, rows and a seed.

    In one thread: sums of several threads differ in their last digits, which a layout amplifies.
    """
    from threadpoolctl import threadpool_limits

    method, points, seed = given
    maker: Any
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, max((len(points) - 1) / 3.0, 1.0))
        maker = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, angle=_ANGLE)
        known = maker.get_params()  # scikit-learn 1.4 calls them n_iter
        maker.set_params(**{"max_iter" if "max_iter" in known else "n_iter": _ITERATIONS})
    else:
        from umap import UMAP

        maker = UMAP(
            n_neighbors=min(15, len(points) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of settings that we chose
        return np.asarray(maker.fit_transform(points), dtype=np.float64)


def _why_not(points: NDArray[np.float64]) -> str | None:
    """Why neighbours cannot lay rows out; None where they can."""
    n_rows, dim = points.shape
    if n_rows < FEWEST_ROWS:
        return f"it needs at least {FEWEST_ROWS} rows, found {n_rows}"
    if dim < 2:
        return "it needs two dimensions"
    apart_by = np.abs(points - points[0]).max(axis=1)
    n_others = len(np.unique(np.round(points[apart_by > ROUNDING], 6), axis=0))
    if n_others < 2:
        return "it needs rows that differ in direction, and all but one or two are alike"
    return None


def _principal(rows: FormRows, factors: Factors, chosen: Index) -> Projection:
    axes, values = factors.directions(2)
    everything = float(np.square(factors.singular_values(True)).sum())
    shares = np.square(values) / everything if everything > 0 else np.zeros(2)
    points = axes[chosen] if factors.wide else (rows.take(chosen) - factors.mean) @ axes
    return Projection(chosen, points, (float(shares[0]), float(shares[1])))


def _principal_of_both(
    own: NDArray[np.float64], partners: NDArray[np.float64], chosen: Index
) -> Projection:
    """The rows and their partners on the principal axes of both."""
    both = np.concatenate([own, partners])
    left, values, _ = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    points = np.zeros((len(both), 2))
    points[:, : min(2, len(values))] = (left * values)[:, :2]
    variances = np.square(values)
    shares = [*(variances / max(float(variances.sum()), 1e-300)), 0.0, 0.0]
    explained = float(shares[0]), float(shares[1])
    m = len(own)
    return Projection(chosen, points[:m], explained, partners=points[m:])


def projection_table(context: Context) -> Table:
    """Coordinates of the rows that are shown, and the nearest other rows of each.

    `row` and `neighbours` are positions in the file, from 0.  `tower` is 2 for partners in the
    second file, which have no neighbours here.
    """
    shown = context.once(projection)
    if shown is None:
        return context.table("projection")
    subject = context.subject
    rows = shown.rows
    in_file = rows if subject.kept is None else subject.kept[rows]

    def block(tower: int, points: NDArray[np.float64], ids: Any, near: list[Any]) -> dict[str, Any]:
        named = [None] * len(rows) if ids is None else [_id(ids[row]) for row in rows]
        return {
            "method": shown.method,
            "tower": tower,
            "row": in_file,
            "id": named,
            "class": context.class_names(rows),
            "x": points[:, 0],
            "y": points[:, 1],
            "explained_x": shown.explained[0],
            "explained_y": shown.explained[1],
            "neighbours": near,
        }

    blocks = [block(1, shown.points, subject.id_values, _nearest(context, rows))]
    if shown.partners is not None:
        blocks.append(block(2, shown.partners, subject.partner_ids, [None] * len(rows)))
    return context.table("projection", *blocks)


def _id(value: Any) -> Cell:
    """An id as a cell of a table."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return printable(text)


def _nearest(context: Context, rows: Index) -> list[str | None]:
    """The nearest other rows of each row, as positions in the file with spaces between.

    None for rows that the pass has not looked at.
    """
    kept, near = context.subject.kept, context.near.indices[:, :NEAREST]
    place = np.full(context.subject.n, -1)
    place[context.looked_at] = np.arange(len(context.looked_at))
    return [
        None
        if place[row] < 0
        else " ".join(map(str, (near if kept is None else kept[near])[place[row]].tolist()))
        for row in rows
    ]


def projection_notes(context: Context) -> Iterator[str]:
    """A note where rows are not laid out by the method that was asked for."""
    shown = context.once(projection)
    if shown is not None and shown.instead is not None:
        source, method = context.subject.source, method_of(context)
        yield f"{source}: rows are laid out by PCA, not {method}: {shown.instead}"
