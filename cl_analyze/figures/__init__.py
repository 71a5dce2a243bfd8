"""Figures: one function each from a document to a description, and a renderer for descriptions.

description.py   what a figure is: panels of lines, points, steps and cells; no library
colours.py       colour-blind safe colours, ordered and unordered
sources.py       names, order and colours of checkpoints
basics.py        figures of uniformity, tolerance, similarity and penalty
losses.py        figures of the losses
quality.py       figures of representation quality
catalogue.py     all figures, in the order of the report
matplotlib_renderer.py   a description as PNG, SVG or PDF
"""
