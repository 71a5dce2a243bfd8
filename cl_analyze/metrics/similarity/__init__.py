"""Similarities of positives and nearest negatives.

family.py       the family: passes, records by group, histograms
groups.py       records of one group: mean, deviation, quantiles, and their errors
of_classes.py   positives that are all pairs of rows of one class
"""

from cl_analyze.metrics.similarity.family import Similarity

__all__ = ["Similarity"]
