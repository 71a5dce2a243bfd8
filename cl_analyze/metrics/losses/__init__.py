"""Losses on saved embeddings: the value of each on views of the same rows.

catalogue.py        every loss: name, formula from pieces, torch face
terms.py            the values of a loss, its parts, and its softmaxes
readings.py         how to read each loss
pieces.py           the pieces, and those of a dense batch
passes.py           the pieces of saved views
influence.py        how rows act on each other's losses, for the error bars
records.py          numbers and records of the catalogue's losses
mean_over_views.py  the mean over pairs of three views or more
one_view.py         losses of classes, without a second view
item_losses.py      losses of queries over items
effects.py          how rows act beside the softmaxes
class_means.py      losses that are not made of pieces: ICL, CLOP
false_negatives.py  the gap of DCL to NSCL, A-InfoNCE's weights
energy.py           energies, the least that theory knows, those of the uniform law
gradients.py        tables: where a loss pushes, how strongly, and its limits
batches.py          expectations over batches
family.py           all of them, in the order of the output
"""

from cl_analyze.metrics.losses.family import Losses

__all__ = ["Losses"]
