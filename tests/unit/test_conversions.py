"""The lines of docs/inputs.md that convert a file to .npy do so."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.io

from tests.conftest import ROOT

SECTION = (ROOT / "docs" / "inputs.md").read_text().partition("## Converting to `.npy`")[2]
LINES = dict(re.findall(r"^\| ([^|`]+) \| `(.+)` \|$", SECTION, re.M))


@pytest.fixture
def rows(random):
    return random.standard_normal((6, 3)).astype(np.float32)


def test_every_kind_is_tried():
    assert list(LINES) == [
        "a pickle", "MATLAB", "MATLAB 7.3", "faiss", "JSON lines", "a tensor of torch",
        "a data frame with a column of lists",
    ]  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("kind", LINES)
def test_the_line_writes_the_same_rows(kind, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "json": json, "pickle": pickle, "scipy": scipy}
    if kind == "a pickle":
        (tmp_path / "emb.pkl").write_bytes(pickle.dumps(rows.tolist()))
    elif kind == "MATLAB":
        scipy.io.savemat("emb.mat", {"X": rows})
    elif kind == "MATLAB 7.3":
        names["h5py"] = pytest.importorskip("h5py")
        with names["h5py"].File("emb73.mat", "w") as file:
            file["X"] = rows.T  # MATLAB stores columns first
    elif kind == "faiss":
        names["faiss"] = pytest.importorskip("faiss")
        index = names["faiss"].IndexFlatIP(3)
        index.add(rows)
        names["faiss"].write_index(index, "emb.faiss")
    elif kind == "JSON lines":
        lines = (json.dumps({"id": i, "embedding": row}) for i, row in enumerate(rows.tolist()))
        (tmp_path / "emb.jsonl").write_text("\n".join(lines))
    elif kind == "a tensor of torch":
        names["tensor"] = pytest.importorskip("torch").tensor(rows).bfloat16().requires_grad_()
        rows = names["tensor"].detach().float().numpy()
    else:
        names["frame"] = pd.DataFrame({"embedding": rows.tolist()})
    exec(LINES[kind], names)
    np.testing.assert_array_equal(np.load("emb.npy"), rows.astype(np.load("emb.npy").dtype))
