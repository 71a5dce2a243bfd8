"""The training temperature that the name of a checkpoint tells."""

from __future__ import annotations

from cl_analyze.results import ordering


def training_temperature(source: str) -> float | None:
    """The temperature in a checkpoint's name, as in tau-0.07 or tau=0.5; None for other names.

    >>> training_temperature("fashion-mnist-tau-0.07.npz"), training_temperature("epoch3.npy")
    (0.07, None)
    """
    return ordering.position(source, ordering.TEMPERATURE)
