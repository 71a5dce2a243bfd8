"""Losses on saved embeddings: what each would say about two views of the same rows.

catalogue.py    every loss, from pieces to one value for each pair
pieces.py       the pieces, and those of a dense batch
passes.py       the pieces of saved views, and how rows act on each other's losses
batches.py      expectations over batches
energy.py       least energies that theory knows, and those of the uniform law
prototypes.py   losses about class means
gradients.py    where on the scale of similarities a loss pushes
family.py       records and tables
"""

from cl_analyze.metrics.losses.family import Losses

__all__ = ["Losses"]
