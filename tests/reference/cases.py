"""Inputs that break careless code: each a name, rows and labels (None: unlabelled)."""

from __future__ import annotations

import numpy as np


def cases():
    random = np.random.default_rng(7)
    plain = random.standard_normal((40, 6))
    labels = [i % 4 for i in range(40)]
    clustered = plain * 0.3 + 3 * np.eye(4, 6)[labels]
    duplicated = plain.copy()
    duplicated[[5, 9, 23]] = duplicated[2]
    near = plain.copy()
    near[11] = near[4] * 2.5 + 1e-5
    scaled = plain * np.logspace(-30, 30, 40)[:, None]
    some = [None if i % 7 == 0 else f"class {i % 3}" for i in range(40)]
    singletons = [i if i < 5 else 100 + i % 2 for i in range(40)]
    antipodal = np.vstack([plain[:20], -plain[:20]])
    collapsed = np.ones((12, 5)) + 1e-7 * random.standard_normal((12, 5))
    line = random.choice([-2.0, 3.0], size=(15, 1))
    return {
        "plain": (plain, labels),
        "clustered": (clustered, labels),
        "duplicates": (duplicated, labels),
        "near-duplicates": (near, labels),
        "norms from 1e-30 to 1e30": (scaled, labels),
        "some unlabelled": (plain, some),
        "singletons": (clustered, singletons),
        "one class": (plain, [1] * 40),
        "antipodal": (antipodal, labels),
        "collapsed": (collapsed, [i % 2 for i in range(12)]),
        "one dimension": (line, [i % 2 for i in range(15)]),
        "two rows": (plain[:2], [0, 0]),
        "three rows": (plain[:3], [0, 0, 1]),
        "four rows": (plain[:4], [0, 0, 1, 1]),
    }


def as_array(labels):
    """Labels as the package takes them: unlabelled rows empty."""
    return np.array(["" if label is None else str(label) for label in labels])
