"""Colours on a dark page: seen against it, apart from each other, and in their order."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import pytest

from cl_analyze.figures.colours import CLASS_HUES, GREY, HUES, OTHER_HUES, lab, on_dark, ordered

DARK_PAGE = "#0d1117"
# Machado, Oliveira & Fernandes, 2009: severity 1, on linear RGB
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)


def linear(colour):
    shares = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]


def as_seen_without_green(colour):
    mixed = [sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in DEUTERANOPIA]
    bounded = (min(max(c, 0.0), 1.0) for c in mixed)
    shares = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in bounded]
    return "#" + "".join(f"{round(255 * c):02x}" for c in shares)


def contrast(one, other):
    weights = (0.2126, 0.7152, 0.0722)
    a, b = (
        sum(w * c for w, c in zip(weights, linear(colour), strict=True)) + 0.05
        for colour in (one, other)
    )
    return max(a, b) / min(a, b)


def closest(colours):
    return min(math.dist(lab(a), lab(b)) for a, b in combinations(colours, 2))


def test_lightness_is_that_of_the_cie():
    assert lab("#ffffff") == pytest.approx((100.0, 0.0, 0.0), abs=0.05)
    assert lab("#777777")[0] == pytest.approx(50.03, abs=0.05)
    assert lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.05)
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("palette", [HUES, OTHER_HUES, CLASS_HUES, ordered(7)])
def test_hues_stay_apart_on_a_dark_page(palette):
    dark = [on_dark(colour) for colour in palette]
    assert min(contrast(colour, DARK_PAGE) for colour in dark) >= 3.0
    least = 7.0 if len(palette) == 7 and palette is not HUES else 12.0
    assert closest(dark) >= least
    assert closest([as_seen_without_green(colour) for colour in dark]) >= least


@pytest.mark.parametrize("n", [1, 2, 5, 8, 20])
def test_the_ordered_scale_keeps_its_order_on_a_dark_page(n):
    light = [lab(colour)[0] for colour in ordered(n)]
    dark = [lab(on_dark(colour))[0] for colour in ordered(n)]
    assert all(
        (b - a) * (d - c) > 0
        for (a, b), (c, d) in zip(pairwise(light), pairwise(dark), strict=True)
    ), "by lightness, as on white"
    assert all(contrast(on_dark(colour), DARK_PAGE) >= 3.0 for colour in ordered(n))


def test_ink_is_turned_over():
    assert contrast(on_dark("#000000"), DARK_PAGE) > 12.0
    assert contrast(on_dark("#444444"), DARK_PAGE) > contrast(on_dark(GREY), DARK_PAGE)
    assert contrast(on_dark(GREY), DARK_PAGE) > contrast(on_dark("#bdbdbd"), DARK_PAGE) > 3.0
