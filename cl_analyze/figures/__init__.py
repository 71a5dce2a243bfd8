"""Figures: one function each from a document to a description, and a renderer for descriptions.

description.py   what a figure is: panels of lines, points, bars and steps; no library
colours.py       colour-blind safe colours, ordered and unordered
catalogue.py     the figures, and which command draws which
matplotlib_renderer.py   a description as PNG, SVG or PDF
"""
