"""Writes the files beside it with the libraries whose formats they are.

Each part needs a library, or a version of it, that the tests do not install: README.md has them.

    python tests/data/make.py anndata|datasets|diskannpy|gensim|matlab73|pyarrow|tensorboard
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WORDS = ("cat", "dog", "emu")


def matrix() -> np.ndarray:
    """(12, 4) float32: the rows that every file here holds."""
    values = np.arange(48, dtype=np.float32).reshape(12, 4)
    return (np.sin(values) * 8).round(3)


def write_datasets() -> None:
    """A dataset with lists of any length, and one with lists of a fixed length in two shards."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

    rows = matrix()
    labels = [i % 3 for i in range(len(rows))]
    lists = {"embedding": rows.tolist(), "label": [WORDS[i] for i in labels]}
    features = Features({"embedding": List(Value("float32")), "label": Value("string")})
    dataset = Dataset.from_dict(lists, features=features)
    DatasetDict({"train": dataset, "test": dataset.select(range(4))}).save_to_disk(
        str(HERE / "hf-splits")
    )
    features = Features(
        {"embedding": List(Value("float32"), length=4), "label": ClassLabel(names=list(WORDS))}
    )
    fixed = Dataset.from_dict({"embedding": rows.tolist(), "label": labels}, features=features)
    fixed.save_to_disk(str(HERE / "hf-fixed"), num_shards=2)


def write_diskannpy() -> None:
    """The binary files of the big-ann benchmarks."""
    import diskannpy

    diskannpy.vectors_to_file(str(HERE / "rows.fbin"), matrix())
    diskannpy.vectors_to_file(str(HERE / "rows.u8bin"), (matrix() + 8).round().astype(np.uint8))


def write_tensorboard() -> None:
    """What SummaryWriter.add_embedding leaves for the projector."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(HERE / "tensorboard"))
    writer.add_embedding(matrix(), metadata=[WORDS[i % 3] for i in range(12)])
    writer.close()
    for events in (HERE / "tensorboard").glob("events*"):
        events.unlink()


def write_anndata() -> None:
    """Dense and sparse matrices, and columns of every kind, some values of them missing."""
    import anndata
    import pandas as pd
    from scipy import sparse

    rows = matrix()
    words = [WORDS[i % 3] for i in range(12)]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([None, *words[1:]], categories=WORDS),
            "batch": pd.Categorical([i % 2 for i in range(12)]),
            "count": pd.array([None, *range(1, 12)], dtype="Int64"),
            "share": rows[:, 0],
            "is_doublet": [i > 5 for i in range(12)],
        },
        index=[f"cell{i}" for i in range(12)],
    )
    counts = sparse.csr_matrix(np.abs(rows).round())
    obsm = {"X_pca": rows}
    anndata.AnnData(counts, obs, obsm=obsm).write_h5ad(HERE / "sparse.h5ad")
    obs = obs.rename(columns={"cell_type": "label"})
    varm = {"PCs": rows[:4]}
    anndata.AnnData(rows * 2, obs, obsm=obsm | {"X_umap": rows[:, :2]}, varm=varm).write_h5ad(
        HERE / "dense.h5ad", compression="gzip"
    )


def write_matlab73() -> None:
    """A MAT file of version 7.3, which is HDF5: numbers and a cell array of words."""
    import hdf5storage

    content = {
        "z": matrix(),
        "labels": np.array([[WORDS[i % 3]] for i in range(12)], dtype=object),
        "y": np.array([[float(i % 3) for i in range(12)]]),
        "is_test": np.array([[i > 5 for i in range(12)]]),
        "title": "rows of matrix()",
    }
    hdf5storage.savemat(
        str(HERE / "matlab73.mat"), content, format="7.3", store_python_metadata=False
    )


def write_gensim() -> None:
    """Word vectors as word2vec writes them, as text with and without a header, and as bytes."""
    from gensim.models import KeyedVectors

    folder = HERE / "words"
    folder.mkdir(exist_ok=True)
    for spaces, name in ((True, "rows.vec"), (True, "rows.txt"), (False, "rows.bin")):
        words = ["é", *(f"{WORDS[i % 3]}-{i}" for i in range(1, 12))]
        words[5] = "at home" if spaces else words[5]  # as some words of GloVe are
        vectors = KeyedVectors(vector_size=4)
        vectors.add_vectors(words, matrix())
        vectors.save_word2vec_format(
            str(folder / name), binary=name == "rows.bin", write_header=name != "rows.txt"
        )


def write_pyarrow() -> None:
    """Lists of a fixed size, some of them missing: Arrow before 25 cannot write them."""
    import pyarrow as pa
    import pyarrow.parquet

    rows = matrix().tolist()
    views = [[row[:2], row[2:]] for row in rows]
    rows[3] = rows[7] = views[0] = views[5][1] = None
    of_two = pa.list_(pa.float32(), 2)
    table = pa.table(
        {
            "rows": pa.array(rows, pa.list_(pa.float32(), 4)),
            "views": pa.array(views, pa.list_(of_two, 2)),
            "mixed": pa.array(views, pa.list_(of_two)),
        }
    )
    pyarrow.parquet.write_table(table, HERE / "missing-lists.parquet", row_group_size=5)


WRITERS = {
    "datasets": write_datasets,
    "diskannpy": write_diskannpy,
    "tensorboard": write_tensorboard,
    "anndata": write_anndata,
    "gensim": write_gensim,
    "matlab73": write_matlab73,
    "pyarrow": write_pyarrow,
}
if __name__ == "__main__":
    WRITERS[sys.argv[1]]()
