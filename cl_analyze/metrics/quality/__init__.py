"""Representation quality, one file for each part: the numbers, and the records made of them.

family.py      what `quality` computes, in which order
context.py     what every part works with
rows.py        rows as saved and on the sphere
jackknife.py   errors from deleted groups of rows
spectrum.py    singular values from triangular factors; what they tell
collapse.py    the verdict
geometry.py    norms, mean cosine, distance of the cosines from the uniform law
neighbours.py  weighted kNN votes, hubs, which classes mix
probe.py       the linear probe
views.py       retrieval and the modality gap
classes.py     neural collapse, CDNV, nearest class centre, silhouette
projection.py  two coordinates for each row
*_part.py      the records and tables of each
"""

from cl_analyze.metrics.quality.family import Quality

__all__ = ["Quality"]
