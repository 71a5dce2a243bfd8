"""Tables, data sets and tensors that other libraries hold in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cl_analyze as cla
from cl_analyze.errors import DataError
from cl_analyze.inputs.columns import with_columns
from cl_analyze.options import Request

anndata = pytest.importorskip("anndata")
datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(11)
LABELS = np.array(["cat", "dog", "owl"])[np.arange(60) % 3]
CODES = np.arange(60) % 3
ROWS = (RANDOM.standard_normal((60, 5)) + 2.0 * np.eye(5)[CODES]).astype(np.float32)
PARTNERS = (ROWS + 0.1 * RANDOM.standard_normal(ROWS.shape)).astype(np.float32)
COLUMNS = {
    "embedding": list(ROWS),
    "view2": list(PARTNERS),
    "species": LABELS,
    "speaker": CODES.astype(np.int64) // 2,
    "key": [f"row {i}" for i in range(60)],
}
LISTS = {
    name: [row.tolist() for row in column] if name in ("embedding", "view2") else list(column)
    for name, column in COLUMNS.items()
}
EXPECTED = cla.analyze(
    ROWS, LABELS, PARTNERS, groups=COLUMNS["speaker"], ids=COLUMNS["key"], metrics="tolerance"
)


def class_labels():
    features = datasets.Features(
        {
            "embedding": datasets.Sequence(datasets.Value("float32")),
            "species": datasets.ClassLabel(names=["cat", "dog", "owl"]),
        }
    )
    data = {"embedding": LISTS["embedding"], "species": CODES.tolist()}
    return datasets.Dataset.from_dict(data, features=features)


class Polars:
    """What polars gives for a frame, as far as it is read: its own package is not installed."""

    columns = tuple(COLUMNS)
    schema = tuple(COLUMNS)

    def get_column(self, name):
        return PolarsSeries(pd.Series(list(COLUMNS[name])))


class PolarsSeries:
    def __init__(self, series):
        self._series = series

    def head(self, n_rows):
        return PolarsSeries(self._series.head(n_rows))

    def to_numpy(self):
        return self._series.to_numpy()


TABLES = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "arrow": lambda: pa.table(LISTS),
    "arrow in chunks": lambda: pa.concat_tables([pa.table(LISTS)[:7], pa.table(LISTS)[7:]]),
    "data set": lambda: datasets.Dataset.from_dict(LISTS),
    "data set in another order": lambda: datasets.Dataset.from_dict(
        {name: column[::-1] for name, column in LISTS.items()}
    ).select(range(59, -1, -1)),
    "polars": Polars,
}


def values(report):
    return [(r.metric, r.definition, r.value, r.std_error) for r in report.records]


@pytest.mark.parametrize("table", TABLES)
def test_columns_of_a_table_by_their_names(table):
    companions = {"pairs": "view2", "groups": "speaker", "ids": "key", "metrics": "tolerance"}
    report = cla.analyze(TABLES[table](), "species", **companions)
    assert values(report) == values(EXPECTED)
    # what was chosen is on record
    keys = [entry["key"] for entry in report.document.inputs]
    assert keys[:2] == ["embedding", "view2"]
    assert {"species", "speaker", "key"} <= set(keys)
    named = cla.analyze((TABLES[table](), "view2"), labels="species", metrics="uniformity")
    expected = cla.uniformity(PARTNERS.astype(np.float64)).value  # Python's floats are float64
    assert named.records[0].value == pytest.approx(expected, rel=1e-6)


def test_classes_of_a_data_set_have_their_names():
    report = cla.analyze(class_labels(), labels="species", metrics="tolerance")
    names = [row["class"] for row in report.document.rows("tolerance_by_class")]
    assert names == ["cat", "dog", "owl"]
    assert values(report) == values(cla.analyze(ROWS, LABELS, metrics="tolerance"))


def test_float64_of_a_data_set_stays_float64():
    rows = ROWS.astype(np.float64) + 1e-10
    data = datasets.Dataset.from_dict({"embedding": rows.tolist()})
    assert cla.uniformity(data).value == cla.uniformity(rows).value


def test_anndata():
    obs = pd.DataFrame({"cell_type": pd.Categorical(LABELS)}, index=list(map(str, range(60))))
    both = {"X_pca": ROWS, "X_umap": ROWS[:, :2]}
    data = anndata.AnnData(X=PARTNERS, obs=obs, obsm=both)
    report = cla.analyze((data, "X_pca"), labels="cell_type", metrics="tolerance")
    assert values(report) == values(cla.analyze(ROWS, LABELS, metrics="tolerance"))
    assert cla.uniformity((data, "X")).value == cla.uniformity(PARTNERS).value
    with pytest.raises(DataError, match=r"'X_pca', 'X_umap'.*\(table, 'X_pca'\)"):
        cla.uniformity(data)
    del data.obsm["X_umap"]
    assert cla.uniformity(data).value == cla.uniformity(ROWS).value
    del data.obsm["X_pca"]
    assert cla.uniformity(data).value == cla.uniformity(PARTNERS).value


def test_columns_of_numbers_beside_named_ones():
    frame = pd.DataFrame(ROWS, columns=[f"dim_{i}" for i in range(5)])
    frame = frame.assign(species=LABELS, text="a text")
    report = cla.analyze(frame, labels="species", metrics="tolerance")
    assert values(report) == values(cla.analyze(ROWS, LABELS, metrics="tolerance"))
    few = cla.uniformity((frame, ["dim_1", "dim_3"]))
    assert few.value == cla.uniformity(ROWS[:, [1, 3]]).value
    with pytest.raises(DataError, match="select_dtypes"):  # nothing is named: nothing is guessed
        cla.uniformity(frame)
    with pytest.raises(DataError, match=r"'id' are no dimensions by their names.*ids="):
        cla.analyze(frame.assign(id=range(60)), labels="species")
    table = pa.Table.from_pandas(frame[["dim_0", "dim_1", "text"]])
    with pytest.raises(DataError, match=r"'text' are no dimensions.*\['x0', 'x1'\]"):
        cla.uniformity(table)


def test_what_is_used_and_what_is_left_out_is_told():
    told = []
    request = Request(pd.DataFrame(COLUMNS).rename(columns={"speaker": "label"}), pairs="view2")
    changed = with_columns(request, "run", told.append)
    assert changed.labels is None  # a column is no label unasked
    assert told == [
        "run: of the DataFrame, embeddings are its column 'embedding', pairs are 'view2'",
        "run: columns left out: 'species', 'label', 'key'",
        "run: if its column 'label' has the classes, pass labels='label'",
    ]


def test_a_file_of_labels_beside_a_table(tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    report = cla.analyze(pd.DataFrame(COLUMNS)[["embedding"]], str(tmp_path / "labels.npy"))
    assert report.records.find("tolerance").value == EXPECTED.records.find("tolerance").value
    with pytest.raises(
        DataError,
        match=r"labels: DataFrame: no column 'specie'; did you mean 'species'.*nor is there a file",
    ):
        cla.analyze(pd.DataFrame(COLUMNS), "specie")


def test_training_rows_and_items_as_tables():
    frame = pd.DataFrame(COLUMNS)
    asked = {"metrics": "quality", "ks": [1]}
    report = cla.analyze(frame, "species", train=(frame, "view2"), train_labels="species", **asked)
    plain = cla.analyze(ROWS, LABELS, train=PARTNERS, train_labels=LABELS, **asked)
    accuracies = [one.records.find("knn_accuracy", k=1).value for one in (report, plain)]
    assert accuracies[0] == accuracies[1]


def test_checkpoints_of_a_comparison_as_tables():
    frame = pd.DataFrame(COLUMNS)
    spaces = {"a": frame, "b": (frame, "view2")}
    report = cla.compare(spaces, labels="species", metrics=["tolerance"])
    plain = cla.compare({"a": ROWS, "b": PARTNERS}, labels=LABELS, metrics=["tolerance"])
    assert values(report) == values(plain)


BAD = {
    "several columns of vectors": (
        lambda: pd.DataFrame({"first": list(ROWS), "second": list(ROWS)}),
        r"several columns of the DataFrame hold vectors, 'first', 'second'.*\(table, 'first'\)",
    ),
    "an unknown column": (lambda: (pd.DataFrame(COLUMNS), "embeding"), "did you mean 'embedding'"),
    "a column of words": (
        lambda: (pd.DataFrame(COLUMNS), "species"),
        "found objects|found strings",
    ),
    "a name of two columns": (
        lambda: (pd.DataFrame(ROWS, columns=["a", "a", "b", "c", "d"]), "a"),
        "2 columns are called 'a'",
    ),
    "a pair without a table": (lambda: (ROWS, "embedding"), "found ndarray, which has no columns"),
    "several splits": (
        lambda: datasets.DatasetDict({"train": class_labels()}),
        r"pass one split, such as dataset\['train'\]",
    ),
    "a stream": (lambda: class_labels().to_iterable_dataset(), "without streaming=True"),
    "vectors of different lengths": (
        lambda: pd.DataFrame({"embedding": [[1.0, 2.0], [3.0]]}),
        "the same length",
    ),
    "lists of different lengths": (
        lambda: pa.table({"embedding": [[1.0, 2.0, 5.0], [3.0]]}),
        "the same length",
    ),
    "a missing vector": (lambda: pa.table({"embedding": [[1.0, 2.0], None, [3.0, 4.0]]}), "embed"),
    "lists of words": (lambda: pa.table({"tags": [["a"], ["b"]]}), "no dimensions"),
    "no columns": (lambda: pa.table({}), "no column of vectors or numbers"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_used_is_an_error(kind):
    make, message = BAD[kind]
    with pytest.raises(DataError, match=message):
        cla.uniformity(make())


def test_views_in_a_column():
    views = np.stack([ROWS, PARTNERS], axis=1)
    for table in (
        pd.DataFrame({"embedding": list(views)}),
        pa.table({"embedding": views.tolist()}),
        datasets.Dataset.from_dict({"embedding": views.tolist()}),
    ):
        report = cla.analyze(table, metrics="losses", taus=[0.5])
        plain = cla.analyze(views.astype(np.float64), metrics="losses", taus=[0.5])
        found, expected = (one.records.find("loss").value for one in (report, plain))
        assert found == pytest.approx(expected, rel=1e-6)


def test_tensors_of_any_kind():
    tensor = torch.tensor(ROWS, requires_grad=True)
    expected = cla.uniformity(ROWS).value
    assert cla.uniformity(tensor).value == expected
    assert cla.uniformity(torch.nn.Parameter(tensor.detach())).value == expected
    half = torch.tensor(ROWS).bfloat16()
    rounded = cla.uniformity(half.float().numpy()).value
    assert cla.uniformity(half).value == pytest.approx(rounded, rel=1e-6)
    assert cla.uniformity(list(half)).value == pytest.approx(rounded, rel=1e-6)
    labels = torch.tensor(CODES)
    report = cla.analyze(tensor, labels, metrics="tolerance")
    assert values(report)[0][2] == values(cla.analyze(ROWS, CODES, metrics="tolerance"))[0][2]


@pytest.mark.parametrize("names", [list("abcdef"), None])
def test_columns_of_a_frame_follow_the_rule_for_files(tmp_path, names):
    """An index or classes among decimals are no dimensions, whichever way the table comes."""
    z = np.random.default_rng(0).standard_normal((90, 6))
    frame = pd.DataFrame(z, columns=names).assign(row=range(90))
    frame.columns = frame.columns.astype(str)
    frame.to_csv(tmp_path / "t.csv", index=False)
    wanted = cla.uniformity(z).value
    for table in (frame, str(tmp_path / "t.csv")):
        assert cla.uniformity(table).value == pytest.approx(wanted, abs=1e-9)
    whole = pd.DataFrame(np.eye(6, dtype=int))  # which are features
    assert cla.uniformity(whole).value == pytest.approx(-4.0, abs=1e-9)


def test_columns_that_pandas_counts_can_be_named():
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((30, 6)))
    value = cla.uniformity((frame, [0, 1, 2])).value
    assert value == pytest.approx(cla.uniformity(frame.to_numpy()[:, :3]).value, abs=1e-12)


@pytest.mark.parametrize("at", [0, 5])
def test_missing_vectors_of_a_table_can_be_dropped(at):
    rows = np.random.default_rng(0).standard_normal((50, 4))
    vectors = list(rows)
    vectors[at] = None
    frame = pd.DataFrame({"embedding": vectors, "y": ["a", "b"] * 25})
    with pytest.raises(DataError, match="NaN"):
        cla.analyze(frame, "y", metrics="uniformity")
    run = cla.RunOptions(on_invalid="drop")
    for table, labels in ((frame, "y"), (frame.embedding, frame.y)):
        report = cla.analyze(table, labels, metrics="uniformity", run=run)
        wanted = cla.uniformity(np.delete(rows, at, axis=0).astype(np.float32))
        assert report.records.find("uniformity").value == pytest.approx(wanted.value, abs=1e-6)


def test_labels_in_another_order_than_the_frame_are_warned_of():
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((40, 4)), columns=list("abcd"))
    labels = pd.Series(np.arange(40) % 2)
    shuffled = cla.analyze(frame, labels.sample(frac=1, random_state=0), metrics="tolerance")
    assert any("index of the embeddings in another order" in text for text in shuffled.warnings)
    same = cla.analyze(frame, labels, metrics="tolerance")
    elsewhere = cla.analyze(frame, labels.set_axis(labels.index + 99), metrics="tolerance")
    assert not any("index" in text for text in (*same.warnings, *elsewhere.warnings))
