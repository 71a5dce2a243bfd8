"""How colours look: contrast, distance, and what a reader without green cones sees."""

from __future__ import annotations

import numpy as np

# Machado, Oliveira & Fernandes, 2009: deuteranopia, for linear RGB
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
# linear sRGB to XYZ under D65
_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]],
)


def linear(colours):
    """Linear RGB, (n, 3), of colours such as #0072B2."""
    codes = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours]
    rgb = np.array(codes, dtype=np.float64) / 255.0
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast_with_white(colours):
    """Contrast of each colour with white, 1 to 21, as WCAG 2 has it."""
    return 1.05 / (linear(colours) @ _TO_XYZ[1] + 0.05)


def lab(rgb):
    """CIE L*a*b*, (n, 3), of linear RGB."""
    white = _TO_XYZ.sum(axis=1)
    xyz = np.clip(rgb, 0.0, 1.0) @ _TO_XYZ.T / white
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def distances(one, other):
    """CIEDE2000 of each row of one, (n, 3) in L*a*b*, with the same row of the other."""
    (l1, a1, b1), (l2, a2, b2) = one.T, other.T
    mean_c = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    middle, c = (l1 + l2) / 2, (c1 + c2) / 2
    h = np.where(grey, h1 + h2, (h1 + turn / 2) % 360)
    t = (
        1 - 0.17 * np.cos(np.radians(h - 30)) + 0.24 * np.cos(np.radians(2 * h))
        + 0.32 * np.cos(np.radians(3 * h + 6)) - 0.20 * np.cos(np.radians(4 * h - 63))
    )  # fmt: skip
    s_l = 1 + 0.015 * (middle - 50) ** 2 / np.sqrt(20 + (middle - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c, 1 + 0.015 * c * t
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    rotation = rotation * np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2))))
    dl, dc, dh = dl / s_l, dc / s_c, dh / s_h
    return np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh)


def apart(colours, others=None, deuteranope=False):
    """The smallest CIEDE2000 between two of the colours, or one of them and one of the others."""
    rgb = linear([*colours, *(others or ())])
    seen = lab(rgb @ DEUTERANOPIA.T if deuteranope else rgb)
    n = len(colours)
    if others is None:
        a, b = np.triu_indices(n, 1)
    else:
        a, b = (index.ravel() for index in np.indices((n, len(others))))
        b = b + n
    return float(distances(seen[a], seen[b]).min())
