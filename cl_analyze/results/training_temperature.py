"""The training temperature that the name of a checkpoint tells."""

from __future__ import annotations

import re

TAU_IN_NAME = re.compile(
    r"(?<![a-z])(?:tau|temp|temperature)[-_=]?(\d+(?:\.\d+)?)(?!\d)", re.IGNORECASE
)


def training_temperature(source: str) -> float | None:
    """The temperature in a checkpoint's name, as in tau-0.07 or tau=0.5; None for other names.

    >>> training_temperature("fashion-mnist-tau-0.07.npz"), training_temperature("epoch3.npy")
    (0.07, None)
    """
    match = TAU_IN_NAME.search(source.replace(".npz", "").replace(".npy", ""))
    return float(match[1]) if match else None
