"""Two coordinates for each row, to look at."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import DependencyError
from cl_analyze.metrics.quality.rows import FormRows
from cl_analyze.metrics.quality.spectrum import Factors

Method = Literal["pca", "tsne", "umap"]
METHODS: tuple[Method, ...] = ("pca", "tsne", "umap")
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
        rows: which.
        points: (m, 2).
        explained: share of the variance along each axis; None where the method has none.
        method: what laid them out.
        instead: why another method than the one asked for; None: it is that one.
    """

    rows: NDArray[np.int64]
    points: NDArray[np.float64]
    explained: tuple[float, float] | None
    method: Method = "pca"
    instead: str | None = None


def require(method: Method) -> None:
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


def project(
    method: Method, rows: FormRows, factors: Factors | None, seed: int
) -> Projection | None:
    """Project up to 2,000 rows on the sphere.

    Args:
        method: pca (principal axes of all rows), tsne or umap (of the rows that are shown).
        rows: normalised.
        factors: of these rows; None where they are too wide for principal axes.
        seed: of the draw, and of the method.

    Returns:
        None where principal axes are not known.  Where the method has nothing to go by (hardly any
        rows, or all alike) principal axes, and why.
    """
    n_rows = rows.shape[0]
    chosen = np.arange(n_rows)
    if n_rows > MOST_ROWS:
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(n_rows, MOST_ROWS, replace=False))
    if method == "pca":
        return None if factors is None else _principal(rows, factors, chosen)
    require(method)
    points = rows.take(chosen)
    why = _why_not(points)
    if why is not None:  # both libraries fail on such rows, or end the process
        principal = None if factors is None else _principal(rows, factors, chosen)
        return None if principal is None else replace(principal, method="pca", instead=why)
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max((len(chosen) - 1) / 3.0, 1.0))
        maker = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    else:
        from umap import UMAP

        maker = UMAP(
            n_neighbors=min(15, len(chosen) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that we chose
        placed = np.asarray(maker.fit_transform(points), dtype=np.float64)
    if not np.isfinite(placed).all():
        principal = None if factors is None else _principal(rows, factors, chosen)
        why = f"{method} found no place for some rows"
        return None if principal is None else replace(principal, method="pca", instead=why)
    return Projection(chosen, placed, None, method)


def _why_not(points: NDArray[np.float64]) -> str | None:
    """Why rows cannot be laid out by neighbours, None where they can."""
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


def _principal(rows: FormRows, factors: Factors, chosen: NDArray[np.int64]) -> Projection:
    axes, values = factors.directions(2)
    everything = float(np.square(factors.singular_values(True)).sum())
    shares = np.square(values) / everything if everything > 0 else np.zeros(2)
    points = axes[chosen] if factors.wide else (rows.take(chosen) - factors.mean) @ axes
    return Projection(chosen, points, (float(shares[0]), float(shares[1])))
