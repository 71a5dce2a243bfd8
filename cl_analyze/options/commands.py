"""Names that the declarations of options share: families of metrics, groups of commands."""

FAMILIES = ("uniformity", "tolerance", "similarity", "penalty", "losses", "quality")
"""Metric families; a command of the same name computes each family."""
FORMATS = ("png", "svg", "pdf")
"""File formats of figures."""
QUANTISED = ("int8", "binary")
TRANSFORMED = ("centre", "whiten", "standardise")
"""Variants of embeddings beside those of fewer dimensions."""

MEASURING = (*FAMILIES, "compare", "report")
"""Commands that compute metrics."""
ANALYSING = (*MEASURING, "check")
"""Commands that compute metrics, and the command that checks them against rules."""
EVERY = (*ANALYSING, "inspect")
"""All commands."""
