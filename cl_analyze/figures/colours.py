"""Colours that colour-blind readers can tell apart: an ordered scale and a set of hues."""

from __future__ import annotations

# Okabe & Ito, "Color Universal Design", 2008
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#8C8C8C"
HUES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# Tol, "Colour schemes", 2021: muted, and black
CLASS_HUES = (
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE",
    "#AA4499", "#999933", "#882255", "#44AA99", "#000000",
)  # fmt: skip
# beside the ordered scale, which is blue to green
OTHER_HUES = (VERMILION, PURPLE, ORANGE, BLACK)

# control points of viridis (van der Walt & Smith, 2015), without the palest end
_SCALE = ("#440154", "#46327E", "#365C8D", "#277F8E", "#1FA187", "#4AC16D", "#A0DA39")


# for values of both signs, with white at 0; control points in the manner of Crameri's vik (2018)
DIVERGING = (
    (0.0, "#053061"), (0.25, "#4393C3"), (0.5, "#F7F7F7"), (0.75, "#D6604D"), (1.0, "#67001F"),
)  # fmt: skip


def ordered(n: int) -> list[str]:
    """n colours from dark to light, for values with an order such as temperatures.

    >>> ordered(2)
    ['#440154', '#a0da39']
    """
    if n == 1:
        return [_SCALE[2]]
    return [_blend(i / (n - 1)) for i in range(n)]


def _blend(share: float) -> str:
    position = share * (len(_SCALE) - 1)
    left = min(int(position), len(_SCALE) - 2)
    weight = position - left
    low, high = ([int(_SCALE[left + side][c : c + 2], 16) for c in (1, 3, 5)] for side in (0, 1))
    mixed = [round(a + weight * (b - a)) for a, b in zip(low, high, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
