"""Two coordinates for each row, to look at: principal axes (PCA), t-SNE or UMAP."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze import options
from cl_analyze.errors import DependencyError
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.factors import Factors
from cl_analyze.metrics.quality.rows import FormRows, Index
from cl_analyze.metrics.quality.spectrum import spectra
from cl_analyze.results.tables import Table

MOST_ROWS = 2_000
"""Rows that are shown; of more, so many are drawn."""
FEWEST_ROWS = 5
"""Rows below which neighbours say nothing; UMAP fails with fewer."""
ROUNDING = 1e-6
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
    """

    rows: Index
    points: NDArray[np.float64]
    explained: tuple[float | None, float | None] = (None, None)
    method: options.Projection = "pca"
    instead: str | None = None


def require(method: options.Projection) -> None:
    """Check that a method's library is there.

    Raises:
        DependencyError: it is not, and how to install it.
    """
    module, package = _LIBRARIES.get(method, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise DependencyError(
            f"--projection {method} needs {package}, which is not installed: pip install {package} "
            "(or 'cl-analyze[projection]')"
        )


def projection(context: Context) -> Projection | None:
    """Coordinates of up to 2,000 rows on the sphere, by the method of `--projection`.

    pca projects on the principal axes of all rows; tsne and umap lay out the rows that are shown.

    Returns:
        None where principal axes are needed and not known (the spectrum is too wide).  Where
        neighbours cannot lay the rows out (hardly any rows, or all alike) the coordinates are
        principal axes, and `instead` says why.
    """
    method, seed, rows = context.options.projection, context.options.seed, context.forms[1]
    n_rows, factors = context.subject.n, context.once(spectra).factors
    chosen = np.arange(n_rows)
    if n_rows > MOST_ROWS:
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(n_rows, MOST_ROWS, replace=False))
    why = None
    if method != "pca":
        context.runner.announce(f"projection by {method}")
        require(method)
        points = rows.take(chosen)
        why = _why_not(points)
        if why is None:  # otherwise both libraries fail, or end the process
            placed = _laid_out(method, points, seed)
            if np.isfinite(placed).all():
                return Projection(chosen, placed, method=method)
            why = f"{method} found no place for some rows"
    if factors is None:
        return None
    return replace(_principal(rows, factors, chosen), instead=why)


def _laid_out(
    method: options.Projection, points: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """(m, 2) coordinates by t-SNE or UMAP."""
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max((len(points) - 1) / 3.0, 1.0))
        maker = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    else:
        from umap import UMAP

        maker = UMAP(
            n_neighbors=min(15, len(points) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that we chose
        return np.asarray(maker.fit_transform(points), dtype=np.float64)


def _why_not(points: NDArray[np.float64]) -> str | None:
    """Why neighbours cannot lay rows out; None where they can."""
    n_rows, dim = points.shape
    if n_rows < FEWEST_ROWS:
        return f"it needs at least {FEWEST_ROWS} rows, found {n_rows}"
    if dim < 2:
        return "it needs two dimensions"
    apart = np.abs(points - points[0]).max(axis=1)
    n_others = len(np.unique(np.round(points[apart > ROUNDING], 6), axis=0))
    if n_others < 2:
        return "it needs rows that differ in direction, and all but one or two are alike"
    return None


def _principal(rows: FormRows, factors: Factors, chosen: Index) -> Projection:
    axes, values = factors.directions(2)
    everything = float(np.square(factors.singular_values(True)).sum())
    shares = np.square(values) / everything if everything > 0 else np.zeros(2)
    points = axes[chosen] if factors.wide else (rows.take(chosen) - factors.mean) @ axes
    return Projection(chosen, points, (float(shares[0]), float(shares[1])))


def projection_table(context: Context) -> Table:
    """Coordinates of the rows that are shown."""
    shown = context.once(projection)
    if shown is None:
        return context.table("projection")
    return context.table(
        "projection",
        {
            "method": shown.method,
            "row": shown.rows,
            "class": context.class_names(shown.rows),
            "x": shown.points[:, 0],
            "y": shown.points[:, 1],
            "explained_x": shown.explained[0],
            "explained_y": shown.explained[1],
        },
    )


def projection_notes(context: Context) -> Iterator[str]:
    """A note where rows are not laid out by the method that was asked for."""
    shown, source, method = (
        context.once(projection),
        context.subject.source,
        context.options.projection,
    )
    if shown is not None and shown.instead is not None:
        yield f"{source}: rows are laid out by PCA, not {method}: {shown.instead}"
