"""Similarities of positives and nearest negatives.

family.py         the family: passes, records by group, histograms
groups.py         records of one group: mean, deviation, quantiles, and their errors
of_classes.py     positives that are all pairs of rows of one class
near_classes.py   the class of the l-th nearest negative
separation.py     which cosine separates positives from negatives: all of the next three
own_pairs.py      each anchor's positives against its own negatives
pooled.py         positives and negatives of all anchors together
pooled_errors.py  passes and errors of the pooled ones
suspects.py       negatives nearly as near as the positive
shares.py         shares of anchors, with intervals near 0 and 1
"""

from cl_analyze.metrics.similarity.family import Similarity

__all__ = ["Similarity"]
