"""Metric families, one file each, listed in METRICS.

family.py             what a family is, and how the passes of several families run together
even_similarities.py  the penalty without embeddings
uniform_law.py        closed forms of the uniform sphere, the reference beside every number
"""

from cl_analyze.metrics.family import Family
from cl_analyze.metrics.losses import Losses
from cl_analyze.metrics.movement import Movements
from cl_analyze.metrics.penalty import Penalty
from cl_analyze.metrics.quality import Quality
from cl_analyze.metrics.similarity import Similarity
from cl_analyze.metrics.tolerance import Tolerance
from cl_analyze.metrics.uniformity import Uniformity

METRICS: dict[str, Family] = {
    family.name: family
    for family in (Uniformity(), Tolerance(), Similarity(), Penalty(), Losses(), Quality())
}

BETWEEN: dict[str, Family] = {family.name: family for family in (Movements(),)}
"""Families of two checkpoints, which only a comparison has numbers of."""

__all__ = ["BETWEEN", "METRICS"]
