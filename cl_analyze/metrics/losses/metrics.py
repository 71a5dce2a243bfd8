"""Metrics of the losses, declared."""

from __future__ import annotations

from cl_analyze.metrics.losses.catalogue import LOSSES
from cl_analyze.metrics.metric import TAU, Metric, Parameter

DEFINITIONS = tuple(dict.fromkeys(x.definition for x in LOSSES if x.definition is not None))
"""Definitions of all losses; `Losses.definitions_of` tells those of one."""

_KERNEL_T = Parameter("t", "kcl_t")
_BETA, _KERNEL = Parameter("beta"), Parameter("kernel")
_VIEW = Parameter("view", is_whole=True)
_OF_LOSSES = (
    Parameter("name"),
    TAU,
    Parameter("alpha", "hard_alpha"),
    Parameter("lambda", "simple_lambda"),
    _KERNEL_T,
    Parameter("gamma", "kcl_gamma"),
    Parameter("sigma"),
    Parameter("bias", "siglip_bias"),
    Parameter("anchors"),
    Parameter("views", is_whole=True),
)
_BATCH_SIZE = Parameter("batch_size", "batch_sizes", is_whole=True)
GAP = Metric(
    "dcl_nscl_gap",
    "nats",
    "dcl minus nscl, its supervised counterpart: how much false negatives add to the loss.",
    formulas=("`dcl` − `nscl` among the labelled rows: how much false negatives add",),
    parameters=(TAU,),
    needs="views",
    title="gap of DCL to NSCL",
)
GAP_BOUND = Metric(
    "dcl_nscl_gap_bound",
    "nats",
    "upper bound of dcl_nscl_gap, from the class sizes.",
    formulas=("log(1 + n_max e^{2/τ} / (N − n_max))",),
    parameters=(TAU,),
    is_law=True,
    needs="views",
    source="Luthra et al. 2025.",
    title="bound of DCL to NSCL",
)
EFFECTIVE_NEGATIVES = Metric(
    "a_infonce_effective_negatives",
    "count",
    "effective number of negatives under A-InfoNCE's weights.",
    formulas=(
        "mean exp(entropy) of A-InfoNCE's push with hard-negative weights, softmax at τ/(1 + "
        "β), β = 1",
    ),
    parameters=(
        TAU,
        _BETA,
    ),
    depends_on=("dimensions", "rows"),
    needs="views",
    title="effective negatives, A-InfoNCE",
)
FALSE_NEGATIVE_SHARE = Metric(
    "a_infonce_false_negative_share",
    "share",
    "sum of A-InfoNCE's weights on the anchor's own class.",
    formulas=("share of A-InfoNCE's push on rows of the anchor's class",),
    parameters=(
        TAU,
        _BETA,
    ),
    better="lower",
    needs="views",
    title="false-negative share, A-InfoNCE",
)
ENERGY = Metric(
    "hyperspherical_energy",
    "none",
    "mean of a kernel over pairs of one view.",
    formulas=("mean of a kernel over the pairs of one view",),
    parameters=(
        _KERNEL,
        _KERNEL_T,
        _VIEW,
    ),
    better="lower",
    depends_on=("dimensions",),
    needs="views",
    source="Koromilas et al. 2024.",
)
ENERGY_REFERENCE = Metric(
    "hyperspherical_energy_reference",
    "none",
    "least possible hyperspherical_energy where it is known, else the energy of uniform points.",
    definitions=("simplex", "cross_polytope", "uniform_law"),
    formulas=(
        "least possible energy where theory knows it: `simplex` (N ≤ D + 1), `cross_polytope` (N "
        "= 2D); else the mean energy of uniform points (`uniform_law`); a finite set can lie "
        "below this mean",
    ),
    parameters=(_KERNEL, _KERNEL_T),
    is_law=True,
    needs="views",
)
LOSS = Metric(
    "loss",
    "nats",
    "a contrastive loss by its name, as a mean over anchors.",
    definitions=DEFINITIONS,
    parameters=(*_OF_LOSSES, _BATCH_SIZE),
    better="lower",
    depends_on=("dimensions", "rows"),
    needs="views or labels",
)
ALIGNMENT = Metric(
    "loss_alignment",
    "nats",
    "the part of the loss that depends on positives alone.",
    definitions=DEFINITIONS,
    parameters=_OF_LOSSES,
    better="lower",
    needs="views or labels",
)
UNIFORMITY = Metric(
    "loss_uniformity",
    "nats",
    "loss minus loss_alignment: the part that spreads rows.",
    definitions=DEFINITIONS,
    parameters=_OF_LOSSES,
    better="lower",
    depends_on=("dimensions", "rows"),
    needs="views or labels",
)
PARTS = (LOSS, ALIGNMENT, UNIFORMITY)
"""A loss and its two parts, whose unit is the loss's."""
METRICS = (
    *PARTS,
    ENERGY,
    ENERGY_REFERENCE,
    GAP,
    GAP_BOUND,
    EFFECTIVE_NEGATIVES,
    FALSE_NEGATIVE_SHARE,
)
