"""Figures: one function each from a document to a description, and a renderer for descriptions.

description.py   what a figure is: panels of lines, points, steps and cells; no library
colours.py       colour-blind safe colours, ordered and unordered
sources.py       names, order and colours of checkpoints
marks.py         marks, panels and layouts that several figures share
basics.py        figures of uniformity, tolerance and similarity
penalty.py       figures of the relative penalty
losses.py        figures of the losses
quality.py       figures of representation quality
measures.py      numbers of each checkpoint that figures of several checkpoints show
trade_off.py     the plane of uniformity and tolerance, and differences from the reference
runs.py          checkpoints along a run, and how the space moved
catalogue.py     all figures, in the order of the report
fonts.py         fonts for names in any script
matplotlib_renderer.py    a description as PNG, SVG or PDF, or drawn for a Python program
notebook.py      a figure of Matplotlib that a notebook shows
interactive_renderer.py   a description as data for plotly.js
"""
