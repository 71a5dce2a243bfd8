"""Representation quality, one file for each part: formulas, records and tables together.

family.py           the parts in the order of the output
context.py          the checkpoint, and the makers of records and tables
rows.py             rows as saved and on the sphere
jackknife.py        errors from deleted groups of rows
spectrum.py         singular values from triangular factors; effective rank, RankMe and others
collapse.py         the verdict on collapse
projection.py       two coordinates for each row
geometry.py         norms, mean cosine, distances from uniform points
distances.py        distances to the nearest rows: KoLeo, outliers, intrinsic dimension
hubs.py             hubness of the neighbour graph
views.py            alignment and the modality gaps
lidar.py            directions that tell items (rows with views, classes) apart
neighbours.py       weighted kNN votes
logistic.py         the fit of a linear probe
probe.py            folds, accuracy, calibration, NC3 and NC4
classes.py          class means and distances to them
neural_collapse.py  NC1, NC2, CDNV, NCC accuracy, silhouette
class_tables.py     confusions, classes, pairs of classes
"""

from cl_analyze.metrics.quality.family import Quality

__all__ = ["Quality"]
