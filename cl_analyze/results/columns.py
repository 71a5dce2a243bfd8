"""What a column of a table is, and the columns that many tables have.

declared_tables.py  the tables, column by column
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Column(NamedTuple):
    """A column: its meaning in words, and its unit; no unit for names, places and pure numbers."""

    text: str
    unit: str = ""


@dataclass(frozen=True)
class Columns:
    """The declaration of a table.

    Attributes:
        row: what one row of the table is.
        columns: name -> column, in the order of the table.
        when: condition under which the table is written; empty: always.
    """

    row: str
    columns: dict[str, Column]
    when: str = ""


SOURCE = Column("name of the checkpoint")
AGAINST = Column("name of the checkpoint that it is compared with")
METRIC = Column("name of the metric")
DEFINITION = Column("name of the definition; empty for a metric with one definition")
PARAMS = Column("the parameters of the metric, as JSON")
TAU = Column("temperature")
CLASS = Column("name of the class; empty for a row without a label")
ROW = Column("position of the row, from 0, among the rows that are measured")
ROW_IN_FILE = Column("position of the row in the file, from 0")
ID = Column("id of the row; empty where there are no ids")
SIMILARITY = Column("centre of the bin of similarity", "cosine")
NEGATIVE_FRACTION = Column("share of the negatives in this bin", "share")
STD_ERROR = Column("standard error, with the rows as a sample", "as the value")
LOW = Column("lower end of the 95% interval of the difference", "as the value")
HIGH = Column("upper end of the 95% interval of the difference", "as the value")
PAIRED = Column("`true`: the rows of both checkpoints were matched")
EXACT = Column("`true`: every row was an anchor; `false`: a sample of the rows")
SQUARED_DISTANCE = Column(
    "squared distance of unit rows after the best rotation", "squared distance"
)
OVERLAP = Column("share of the k nearest rows that both checkpoints have in common", "share")
K = Column("number of neighbours")
TRUE_POSITIVE_RATE = Column("share of positive pairs at or above the threshold", "share")
FALSE_POSITIVE_RATE = Column("share of negative pairs at or above the threshold", "share")
PREDICTION_BINS = {
    "bin_left": Column("lower edge of the bin of confidence", "share"),
    "bin_right": Column("upper edge of the bin of confidence", "share"),
}
LOSS = {
    "source": SOURCE,
    "name": Column("name of the loss"),
    "definition": DEFINITION,
    "tau": Column("temperature; empty for a loss without one"),
}
"""The first columns of every table of the losses."""
REFERENCE = {
    "source": SOURCE,
    "quantity": Column("name of the metric that the value stands beside"),
    "group": Column("rank of the negative (`negative_1` is the nearest); empty without ranks"),
    "tau": Column("temperature; empty for a quantity without one"),
    "value": Column("value to expect of the reference", "as the metric"),
    "std_error": Column("standard error of a simulated value; 0 for a closed form", "as the value"),
}

RECORD: dict[str, Column] = {
    "source": SOURCE,
    "metric": METRIC,
    "definition": DEFINITION,
    "value": Column("the number; empty where it is undefined, see `reason`", "see `unit`"),
    "std_error": Column(
        "standard error, with the rows as a sample of a population; empty where unknown",
        "see `unit`",
    ),
    "sampling_error": Column(
        "standard error of an estimate of the exact value on this file; empty where exact",
        "see `unit`",
    ),
    "interval_low": Column("lower end of the 95% interval of a share; else empty", "share"),
    "interval_high": Column("upper end of the 95% interval of a share; else empty", "share"),
    "unit": Column("unit of the value and of its errors"),
    "n": Column("rows (anchors) in the average", "count"),
    "d": Column("dimensions; empty for a number without dimensions", "count"),
    "exact": Column("`true`: all pairs of the definition were counted"),
    "reason": Column("reason why there is no value"),
}
"""Columns of the tables of numbers, which have a column for each parameter before `value`."""
PARAMETERS: dict[str, Column] = {
    "against": AGAINST,
    "alpha": Column("share of negatives that a hard loss keeps", "share"),
    "anchors": Column("anchors of the classes in CLOP: given, or the frame that fits best"),
    "batch_size": Column("pairs in a batch", "count"),
    "beta": Column("concentration of the weights of hard negatives in A-InfoNCE"),
    "bias": Column("bias of SigLIP, added to s / τ"),
    "direction": Column("`forward`: rows search their partners; `backward`: the other way"),
    "first_rank": Column("first rank of the eigenvalues in the fit"),
    "fpr": Column("false-positive rate at which positives are counted", "share"),
    "gamma": Column("weight of the energies in a kernel loss"),
    "group": Column("which pairs: `positive`, `negative_1` (the nearest negative), ..."),
    "k": K,
    "kernel": Column("kernel of the energy"),
    "lambda": Column("weight of the negatives in a simple loss"),
    "last_rank": Column("last rank of the eigenvalues in the fit"),
    "margin": Column("a negative nearer than this multiple of the positive is a suspect"),
    "name": Column("name of the loss"),
    "negatives": Column("`other_class`: only rows of other classes; empty: every other row"),
    "power": Column("exponent of the distances in alignment"),
    "q": Column("quantile", "share"),
    "share": Column("effective negatives at this temperature, of all negatives", "share"),
    "sigma": Column("width of the von Mises-Fisher weights of DCLW"),
    "t": Column("exponent of the Gaussian kernel"),
    "tau": Column("temperature; empty for a number without one"),
    "temperature": Column("temperature of the votes of kNN"),
    "view": Column("number of the view, from 1"),
    "views": Column("1 where every row has one view and negatives alone are measured; else empty"),
}
