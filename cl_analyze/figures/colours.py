"""Colours that colour-blind readers can tell apart: an ordered scale and a set of hues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

# hues in the manner of Okabe & Ito, "Color Universal Design" (2008), made darker: each has a
# contrast of 3:1 with white at least, and every two are 20 apart (CIEDE2000), also without green
# cones
BLUE, ORANGE, GREEN, VERMILION = "#01297A", "#D07F00", "#659D85", "#882000"
PURPLE, SKY, BLACK, GREY = "#74435B", "#1597C3", "#000000", "#8C8C8C"
HUES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# of classes: every two are 15 apart
CLASS_HUES = (
    "#C268FF", "#4A1300", "#0BA370", "#DA7902", "#034051",
    "#5239E3", "#656A00", "#7B3F51", "#06898D", "#000000",
)  # fmt: skip
# beside the ordered scale, which is purple to green: 10 from all of it
OTHER_HUES = ("#E47202", "#C27CA7", "#89544D", BLACK)

# control points of the ordered scale: each is lighter than the one before, the lightest has a
# contrast of 3:1 with white, and eight of its colours are 8 apart
ORDERED = (
    "#430031", "#55135F", "#024997", "#0A6889", "#098085", "#098D7C", "#259A61", "#6D9F4B",
)  # fmt: skip


# for values of both signs, with white at 0; control points in the manner of Crameri's vik (2018)
DIVERGING = (
    (0.0, "#053061"), (0.25, "#4393C3"), (0.5, "#F7F7F7"), (0.75, "#D6604D"), (1.0, "#67001F"),
)  # fmt: skip


def ordered(n: int) -> list[str]:
    """n colours from dark to light, for values with an order such as temperatures.

    >>> ordered(2)
    ['#430031', '#6d9f4b']
    """
    if n == 1:
        return [ORDERED[3]]
    return [_blend(i / (n - 1)) for i in range(n)]


def _blend(share: float) -> str:
    position = share * (len(ORDERED) - 1)
    left = min(int(position), len(ORDERED) - 2)
    weight = position - left
    low, high = ([int(ORDERED[left + side][c : c + 2], 16) for c in (1, 3, 5)] for side in (0, 1))
    mixed = [round(a + weight * (b - a)) for a, b in zip(low, high, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


# ---- colours on a dark page

_DARKEST, _LIGHTEST = 48.0, 94.0
"""Lightness (CIE L*) of the darkest and the lightest colour on a dark page."""
_GREY_CHROMA = 12.0
"""Chroma below which a colour is taken for a grey."""


def on_dark(colour: str) -> str:
    """The partner of a colour on a dark page, of the same hue.

    Colours of the ordered scale keep their order by lightness. Hues are spread evenly in lightness,
    so that they differ for readers who see no hue; black, which is ink, becomes white. Greys
    are turned over: a line that is strong on white is strong on black.

    Args:
        colour: hexadecimal.

    Returns:
        Lower-case hexadecimal.

    >>> on_dark("#000000"), on_dark("#ffffff")
    ('#eeeeee', '#727272')
    """
    colour = colour.lower()
    for palette in (HUES, CLASS_HUES, OTHER_HUES):
        if colour in (partners := _spread(palette)):
            return partners[colour]
    light, hue, chroma = _polar(colour)
    if chroma < _GREY_CHROMA and not _is_ordered(colour):
        return _in_gamut(_LIGHTEST - (_LIGHTEST - _DARKEST) * light / 100.0, hue, chroma)
    ends = sorted(_polar(end)[0] for end in (ORDERED[0], ORDERED[-1]))
    share = (light - ends[0]) / (ends[1] - ends[0])
    raised = _DARKEST + (_LIGHTEST - _DARKEST) * min(max(share, 0.0), 1.0)
    return _in_gamut(raised, hue, chroma)


def _is_ordered(colour: str) -> bool:
    """Whether a colour is a control point of the ordered scale."""
    return colour in (point.lower() for point in ORDERED)


@lru_cache(maxsize=8)
def _spread(palette: Sequence[str]) -> dict[str, str]:
    """Partners of hues: evenly apart in lightness, in their own order, black last of all."""
    polar = {colour.lower(): _polar(colour) for colour in palette}
    order = sorted(polar, key=lambda colour: (polar[colour][0] < 1.0, polar[colour][0]))
    step = (_LIGHTEST - _DARKEST) / max(len(order) - 1, 1)
    return {
        colour: _in_gamut(_DARKEST + step * rank, *polar[colour][1:])
        for rank, colour in enumerate(order)
    }


# CIE L*a*b* under D65, IEC 61966-2-1 (sRGB)
_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_FROM_XYZ = ((3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570))
_WHITE = (0.9505, 1.0, 1.0890)


def _polar(colour: str) -> tuple[float, float, float]:
    """Lightness, hue angle and chroma of a colour."""
    light, a, b = lab(colour)
    return light, math.atan2(b, a), math.hypot(a, b)


def lab(colour: str) -> tuple[float, float, float]:
    """CIE L*, a* and b* of a hexadecimal colour."""
    linear = []
    for at in (1, 3, 5):
        share = int(colour[at : at + 2], 16) / 255.0
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = (
        _root(sum(m * c for m, c in zip(row, linear, strict=True)) / white)
        for row, white in zip(_TO_XYZ, _WHITE, strict=True)
    )
    return 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)


def _root(share: float) -> float:
    """The function of lightness: a cube root, linear beside 0."""
    return share ** (1.0 / 3.0) if share > 0.008856 else 7.787 * share + 16.0 / 116.0


def _in_gamut(light: float, hue: float, chroma: float) -> str:
    """The colour of this lightness and hue, with as much of the chroma as a screen has there."""
    while True:
        y = (light + 16.0) / 116.0
        roots = (y + chroma * math.cos(hue) / 500.0, y, y - chroma * math.sin(hue) / 200.0)
        xyz = [
            white * (root**3 if root > 0.206893 else (root - 16.0 / 116.0) / 7.787)
            for root, white in zip(roots, _WHITE, strict=True)
        ]
        linear = [sum(m * c for m, c in zip(row, xyz, strict=True)) for row in _FROM_XYZ]
        if all(-0.001 <= share <= 1.001 for share in linear) or chroma < 0.5:
            break
        chroma *= 0.95
    bounded = [min(max(share, 0.0), 1.0) for share in linear]
    shares = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in bounded]
    return "#" + "".join(f"{round(255.0 * share):02x}" for share in shares)
