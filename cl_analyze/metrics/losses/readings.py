"""How to read each loss, one sentence for a name and a definition; and what people call it."""

from __future__ import annotations

# fmt: off
READINGS: dict[tuple[str, str | None], str] = {
    ("contrastive", "one_way"): "InfoNCE: picking the positive out of N rows, in nats; 0 is perfect, log N is chance.",
    ("contrastive", "symmetric"): "InfoNCE averaged over both directions, as CLIP trains it.",
    ("contrastive", "moco"): "InfoNCE against the queue alone, as MoCo trains it.",
    ("contrastive", "one_way_queue"): "InfoNCE against the other rows and the queue together.",
    ("hard_contrastive", None): "InfoNCE against the hardest negatives alone, which count even at a large tau.",
    ("nt_xent", None): "SimCLR's InfoNCE, with the negatives of both views; chance is log(2N - 1).",
    ("dcl", "symmetric"): "NT-Xent without the positive in the sum: it can still fall where InfoNCE has reached 0.",
    ("dcl", "one_way"): "DCL for anchors of the first view alone.",
    ("dclw", None): "DCL that weighs well-aligned pairs less; compare it at equal tau only.",
    ("dhel", "symmetric"): "Alignment plus the energy of each view alone; lower is better aligned or more spread.",
    ("dhel", "one_sided"): "DHEL with the first view's energy.",
    ("dhel", "official"): "DHEL as in its authors' code: both energies added, so alignment weighs half as much.",
    ("supcon", "out"): "Rows of one class are positives; classes collapsed onto a simplex minimise it.",
    ("supcon", "in"): "SupCon with the mean inside the logarithm; never above the form with the mean outside.",
    ("nscl", "decoupled"): "DCL without false negatives; dcl minus nscl is what false negatives add.",
    ("nscl", "official"): "NSCL with the positive in the sum, as in its authors' code.",
    ("simple", None): "The limit of large tau: every negative has the same weight, whatever its distance.",
    ("hard_simple", None): "The simple loss over the hardest negatives, which the simple loss weighs no more than others.",
    ("triplet_limit", None): "The limit of small tau: how far the hardest negative is ahead of the positive.",
    ("kcl_gaussian", None): "Alignment and Gaussian energy; its value does not depend on the batch size.",
    ("kcl_log", "consistent"): "Alignment and logarithmic energy, one kernel for both.",
    ("kcl_log", "official"): "Logarithmic KCL as in its authors' code: alignment weighs twice as much.",
    ("kcl_imq", None): "Alignment and inverse multiquadric energy, which reaches far pairs too.",
    ("kcl_riesz", "consistent"): "Alignment and Riesz energy, decided by the nearest pairs.",
    ("kcl_riesz", "gaussian_riesz"): "Riesz energy with Gaussian alignment, finite where views coincide.",
    ("cacr", None): "Distance to the positive minus distance to negatives; near negatives weigh more.",
    ("siglip", None): "A yes or no for each pair of rows, summed over the other rows: it grows with the number of rows.",
    ("spectral_contrastive", None): "Pushes other rows to right angles, not further; at the best value, -2, views agree and rows are orthogonal.",
    ("vicreg", "as_saved"): "Low where views agree, and dimensions vary without covarying; 0 is perfect.",
    ("vicreg", "normalised"): "VICReg on the unit sphere, where its variance term cannot reach 0.",
    ("barlow_twins", "as_saved"): "Low where a dimension is correlated with itself in the other view and with no other; 0 is perfect.",
    ("barlow_twins", "normalised"): "Barlow Twins on the unit sphere.",
    ("icl_mmd", None): "How far apart the mean rows of the classes are; 0 where all are equal.",
    ("clop", None): "How far rows are from the anchor of their class: 0 at the anchor, 1 at right angles.",
    ("a_infonce", None): "It has the value of symmetric InfoNCE; only the weights in its gradient differ.",
}
# fmt: on

TITLES = {
    "contrastive": "InfoNCE",
    "hard_contrastive": "hard InfoNCE",
    "nt_xent": "NT-Xent",
    "dcl": "DCL",
    "dclw": "DCLW",
    "dhel": "DHEL",
    "supcon": "SupCon",
    "nscl": "NSCL",
    "kcl_gaussian": "KCL Gaussian",
    "kcl_log": "KCL log",
    "kcl_imq": "KCL IMQ",
    "kcl_riesz": "KCL Riesz",
    "cacr": "CACR",
    "siglip": "SigLIP",
    "vicreg": "VICReg",
    "barlow_twins": "Barlow Twins",
    "icl_mmd": "ICL MMD",
    "clop": "CLOP",
    "a_infonce": "A-InfoNCE",
}
"""Losses whose name in print is not their name in code with spaces."""


def title_of(name: str) -> str:
    """A loss as people call it.

    >>> title_of("nt_xent"), title_of("triplet_limit")
    ('NT-Xent', 'triplet limit')
    """
    return TITLES.get(name, name.replace("_", " "))
