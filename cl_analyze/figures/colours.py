"""Colours that colour-blind readers can tell apart: an ordered scale and a set of hues."""

from __future__ import annotations

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
