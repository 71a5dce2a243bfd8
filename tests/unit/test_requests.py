"""The order in which files of the command line are measured; the first is the reference."""

from __future__ import annotations

import pytest

from cl_analyze.cli.run import requests


def order(*names):
    return [str(request.embeddings) for request in requests({"embeddings": list(names)})]


@pytest.mark.parametrize(
    ("listed", "along"),
    [
        # as a shell lists them: alphabetically
        (("tau-0.07.npz", "tau-0.2.npz", "tau-1.0.npz"), (0, 1, 2)),
        (("tau-0.07.npz", "tau-0.5.npz", "tau-0.15.npz"), None),
        (("step-1000.npy", "step-10000.npy", "step-500.npy"), (2, 0, 1)),
        (("hard-tau-1.0.npz", "tau-0.07.npz", "tau-0.1.npz"), (1, 2, 0)),
        (("b10.npy", "b9.npy", "c.npy"), (0, 1, 2)),
        (("b10.npy", "b11.npy", "b9.npy"), (2, 0, 1)),
        # typed in another order, or only two
        (("step-500.npy", "step-10000.npy", "step-1000.npy"), None),
        (("step-1000.npy", "step-500.npy"), None),
    ],
)
def test_files_that_a_shell_listed_are_in_their_natural_order(listed, along):
    assert order(*listed) == [listed[i] for i in along or range(len(listed))]
