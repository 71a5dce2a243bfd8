"""Metrics: their declarations, their computation, and how to add a metric.

A **metric** is declared beside its formula (`metric.py`): name, unit, definitions, parameters, a
sentence in plain words, and the quantities that its value depends on.  `--definition`, the rules of
`check`, the page, `compare` and the documentation read the declaration, so that each metric is
described in one place.

A **family** (`family.py`) is a set of metrics that are computed together.  A family names the
reducers that it needs in each pass over the pairs of rows.  The passes of all families run
together, and a reducer that several families name is computed once.  Then each family reads the
results and returns records and tables.  METRICS lists the families.

A whole new metric, the mean square of all cosines:

>>> from cl_analyze.metrics.family import Family, FamilyResult
>>> from cl_analyze.metrics.means import Number
>>> from cl_analyze.metrics.metric import Metric
>>> from cl_analyze.pairs.reducers import PairMoments
>>> MEAN_SQUARE = Metric("mean_square_cosine", "none", "mean of the squared cosines of all pairs.")
>>> class MeanSquare(Family):
...     name, title, metrics = "mean_square", "Mean square", (MEAN_SQUARE,)
...     def first_pass(self, subject, options):
...         return (PairMoments("all"),)
...     def compute(self, results):
...         subject = results.subject
...         sums = results.first[PairMoments("all")]         # (N, 2): sums of s and of s squared
...         value = float(sums[:, 1].sum()) / (subject.n * (subject.n - 1))
...         number = Number(value, None, subject.n)
...         return FamilyResult((MEAN_SQUARE.record(subject.source, subject.d, number),))
>>> import numpy as np
>>> import cl_analyze as cla
>>> METRICS["mean_square"] = MeanSquare()
>>> cla.analyze(np.eye(8), metrics="mean_square").records.find("mean_square_cosine").value
0.0
>>> del METRICS["mean_square"]

metric.py               the declaration of a metric
family.py               the interface of a family; the passes of several families run together
subject.py, runner.py   the checkpoint, and passes over its pairs
anchors.py, means.py    estimates from a sample of anchors; means and their errors
anchor_values.py        errors of values that each anchor takes from its nearest negatives
nearest_values.py       the same for functions of several nearest rows
positives.py            the positives of each anchor: views, partner, related items
suspects.py             negatives so near that they may be false ones
class_ranks.py          ranks of rows of the class among those of others
uniform_law.py          the uniform law on the sphere, the reference beside the numbers
forecast.py             the expected time of a run
penalty_*.py, hard_curve.py, even_similarities.py, bins.py   parts of the penalty (temperatures to
                        start from in penalty_temperatures.py)
the others              one family a file
"""

from cl_analyze.metrics.family import Family
from cl_analyze.metrics.losses import Losses
from cl_analyze.metrics.metric import Metric
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
"""Families of metrics of two checkpoints; only a comparison computes them."""

DECLARED: dict[str, Metric] = {
    metric.name: metric
    for family in (*METRICS.values(), *BETWEEN.values())
    for metric in family.metrics
}
"""Every declared metric by name."""


def family_named(name: str) -> Family:
    """The family of a name, of one checkpoint or of two."""
    return {**METRICS, **BETWEEN}[name]


__all__ = ["BETWEEN", "DECLARED", "METRICS", "family_named"]
