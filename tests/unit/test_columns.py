"""Which columns of a table are dimensions: the right uniformity, or nothing that looks like one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import cl_analyze as cla
from cl_analyze.data.formats.columns import MOST_COLUMNS
from cl_analyze.data.formats.delimited import has_header
from cl_analyze.data.inspection import inspect_file
from cl_analyze.data.opening import LABEL_KEYS, Spec, open_array, open_embeddings
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

N, D = 40, 6
LABELS = np.arange(N) % 4
_random = np.random.default_rng(7)
ROWS = (_random.standard_normal((N, D)) + 2 * np.eye(4, D)[LABELS]).round(4)
WORDS = np.array(["cat", "dog", "eel", "fox"])[LABELS]


def naive(rows, t=2.0):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    squares = ((unit[:, None] - unit[None]) ** 2).sum(-1)
    return np.log(np.exp(-t * squares[~np.eye(len(rows), dtype=bool)]).mean())


def save(path, frame, **options):
    frame.to_csv(path, **{"index": False, **options})


FRAME = pd.DataFrame(ROWS)
IMAGES = [f"img{i}.jpg" for i in range(N)]


def numbers(path, *columns, fmt="%.4f", **options):
    separator = "\t" if path.suffix == ".tsv" else ","
    np.savetxt(path, np.column_stack(columns), delimiter=separator, fmt=fmt, **options)


DECIMALS = ["%.4f"] * D

# fmt: off
TABLES = {
    # headers that are numbers
    "word-first.csv": lambda p: save(p, FRAME.assign(a=IMAGES)[["a", *range(D)]]),
    "word-last.csv": lambda p: save(p, FRAME.assign(species=WORDS)),
    "integer-last.csv": lambda p: save(p, FRAME.assign(species=LABELS)),
    "from-one.csv": lambda p: save(p, pd.DataFrame(ROWS, columns=range(1, D + 1))),
    "from-one.tsv": lambda p: save(p, pd.DataFrame(ROWS, columns=range(1, D + 1)), sep="\t"),
    "named-index.csv": lambda p: save(p, pd.DataFrame(ROWS, index=IMAGES), index=True, index_label="image"),
    "some-columns.csv": lambda p: save(p, pd.DataFrame(ROWS, columns=[3, 7, 12, 90, 91, 400])),
    "float-names.csv": lambda p: save(p, pd.DataFrame(ROWS, columns=np.arange(6.0))),
    "two-words.csv": lambda p: save(p, FRAME.assign(a=IMAGES, b=WORDS)),
    "quantised-header.csv": lambda p: save(p, FRAME.assign(a=LABELS, b=LABELS % 2)),
    # files without a header
    "label-first.csv": lambda p: numbers(p, LABELS, ROWS, fmt=["%d", *DECIMALS]),
    "label-last.tsv": lambda p: numbers(p, ROWS, LABELS, fmt=[*DECIMALS, "%d"]),
    "label-as-float.csv": lambda p: numbers(p, LABELS, ROWS, fmt="%.18e"),
    "label-last-as-float.csv": lambda p: numbers(p, ROWS, LABELS, fmt="%.18e"),
    "id-first.csv": lambda p: numbers(p, 100000 + 37 * np.arange(N)[::-1], ROWS, fmt=["%d", *DECIMALS]),
    "index-from-one.csv": lambda p: numbers(p, np.arange(1, N + 1), ROWS, fmt=["%d", *DECIMALS]),
    "index-as-floats.csv": lambda p: numbers(p, np.arange(N), ROWS, fmt="%.18e"),
    "times-first.csv": lambda p: numbers(p, 1.6e9 + 0.5 * np.arange(N), ROWS, fmt="%.6f"),
    "positions.csv": lambda p: save(p, pd.DataFrame(np.column_stack([LABELS, ROWS]))),
    # names that say nothing, values that do
    "named-cluster.csv": lambda p: save(p, pd.DataFrame(ROWS, columns=list("abcdef")).assign(cluster=LABELS * 1.0)),
    "named-time.csv": lambda p: save(p, pd.DataFrame(ROWS, columns=list("abcdef")).assign(time=1e9 + 0.25 * np.arange(N))),
    # comment marks
    "hash.csv": lambda p: numbers(p, ROWS, header=",".join(f"dim_{i}" for i in range(D))),
    "hash.tsv": lambda p: numbers(p, ROWS, header="\t".join("abcdef")),
    "percent.csv": lambda p: numbers(p, ROWS, header="a,b,c,d,e,f", comments="% "),
    "slashes.csv": lambda p: numbers(p, ROWS, header="made by a script\na,b,c,d,e,f", comments="// "),
    "remark.csv": lambda p: numbers(p, ROWS, header="made by a script, with care"),
    "remark-and-names.csv": lambda p: p.write_text("# made by a script\n" + FRAME.to_csv(index=False)),
    # indexes
    "unnamed.csv": lambda p: save(p, FRAME, index=True),
    "levels.csv": lambda p: save(p, FRAME.set_index(pd.MultiIndex.from_arrays([np.arange(N), np.arange(N) * 0.25])), index=True, index_label=["", "Unnamed: 0.1"]),
    "bom.csv": lambda p: save(p, FRAME, encoding="utf-8-sig"),
}
# fmt: on


@pytest.mark.parametrize("name", TABLES)
def test_the_dimensions_alone_are_measured(cli, name):
    path = cli.folder / name
    TABLES[name](path)
    result = cli("uniformity", path, "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["results"][0]
    assert (found["n"], found["d"]) == (N, D), result.stderr
    assert found["value"] == pytest.approx(naive(ROWS), abs=1e-9)
    told = ("as an index", "left out", "taken as a header", "comment")
    assert any(words in result.stderr for words in told), "what was chosen is said"


def parquet(path, index, names=None):
    frame = pd.DataFrame(ROWS, columns=list("abcdef"), index=index)
    frame.index.names = names or [None] * frame.index.nlevels
    {".parquet": frame.to_parquet, ".feather": lambda p: arrow(p, frame)}[path.suffix](path)


def arrow(path, frame):
    import pyarrow as pa

    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


INDEXES = {
    "time": (pd.Index(1.6e9 + 0.5 * np.arange(N)), ["time"]),
    "several levels": (pd.MultiIndex.from_arrays([np.arange(N), np.arange(N) / 4]), ["i", "t"]),
    "levels without names": (pd.MultiIndex.from_arrays([np.arange(N) * 1.5, LABELS]), None),
    "shuffled decimals": (pd.Index(np.random.default_rng(0).standard_normal(N)), ["score"]),
}


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_pandas_saved_is_no_dimension(tmp_path, index, suffix):
    path = tmp_path / f"e{suffix}"
    parquet(path, *INDEXES[index])
    opened = open_embeddings(Spec(str(path)))
    assert opened.main.array.shape == (N, D)
    np.testing.assert_array_equal(opened.main.array.read(0, N), ROWS)
    assert any("pandas saved" in note for note in opened.notes)


@pytest.mark.parametrize("values", [LABELS, LABELS * 1.0, np.arange(N) * 1.0])
def test_whole_numbers_among_decimals_of_a_parquet_file(tmp_path, values):
    frame = pd.DataFrame(ROWS, columns=list("abcdef")).assign(other=values)
    frame.to_parquet(tmp_path / "e.parquet")
    opened = open_embeddings(Spec(str(tmp_path / "e.parquet")))
    assert opened.main.array.shape == (N, D)
    assert any("of these 'other' look like labels" in note for note in opened.notes)


def test_a_unit_that_never_fires_is_a_dimension(tmp_path):
    rows = np.column_stack([ROWS[:, :3], np.zeros(N), ROWS[:, 3:]])
    numbers(tmp_path / "e.csv", rows)
    pd.DataFrame(rows, columns=list("abcdefg")).to_parquet(tmp_path / "e.parquet")
    for name in ("e.csv", "e.parquet"):
        assert open_embeddings(Spec(str(tmp_path / name))).main.array.shape == (N, D + 1)


def test_columns_numbered_by_the_file_are_dimensions_whatever_they_hold(tmp_path):
    whole = pd.DataFrame(
        np.column_stack([ROWS, LABELS]), columns=[f"dim_{i}" for i in range(D + 1)]
    )
    whole.to_csv(tmp_path / "e.csv", index=False)
    assert open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.shape == (N, D + 1)


def test_integers_alone_are_dimensions(tmp_path):
    np.savetxt(tmp_path / "e.csv", (ROWS * 100).astype(int), delimiter=",", fmt="%d")
    assert open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.shape == (N, D)


@pytest.mark.parametrize(
    ("first", "following", "expected"),
    [
        (["0", "1", "2"], [["5", "6", "7"]], True),
        (["1", "2", "3"], [["5", "6", "7"]], False),
        (["1", "2", "3"], [["5", "6.5", "7"]], True),
        (["1", "2", "3", "4"], [["5", "6", "7", "8"]], False),
        (["0", "1", "2x"], [["5", "6", "7"]], False),
        (["1", "2"], [["3", "0.5O"], ["5", "6"]], False),
        (["3", "7", "9"], [["1", "2.5", "3"]], False),
        (["3", "7", "9"], [["1.5", "2.5", "3.5"]], True),
        (["9", "3", "7"], [["1.5", "2.5", "3.5"]], True),
        (["9", "3", "3"], [["1.5", "2.5", "3.5"]], False),
        (["0.12", "0.5", "cat"], [["0.3", "0.4", "dog"]], False),
        (["9" * 5000, "1", "2"], [["1.5", "2.5", "3.5"]], False),
    ],
)
def test_a_first_line_of_numbers(first, following, expected):
    assert has_header(first, following) is expected


def test_words_that_begin_with_a_comment_mark_are_labels(tmp_path):
    (tmp_path / "y.csv").write_text("label\n#a\n#b\n#a\n")
    found = open_array(Spec(str(tmp_path / "y.csv"), "label"), ())
    assert found.array.values().tolist() == ["#a", "#b", "#a"]
    (tmp_path / "z.csv").write_text("#a\n#b\nc\n")
    assert open_array(Spec(str(tmp_path / "z.csv")), ()).array.values().tolist() == [
        "#a",
        "#b",
        "c",
    ]


# ---- messages that send people the right way


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 0.2\n0.3 0.4\n", "separated by spaces: save it with commas"),
        ("0.1|0.2\n0.3|0.4\n", r"separated by '\|'"),
        ("0.1\t0.2\n0.3\t0.4\n", "separated by tabs: name it .tsv"),
        ("a;b\n0,1;0,2\n", "separated by ';'"),
        ('a,b\n"0,15","1,5"\n"0,25","2,5"\n', r"decimal commas \('0,15'\)"),
        ('a,b\n"0,123","0,456"\n"0,789","0,111"\n', "decimal commas"),
        ('a,b\n"1,234","2,345"\n"3,456","4,567"\n', "separators of thousands"),
        ("a,b\n" + "9" * 6000 + ",0.5\n1,0.25\n", "numbers that are words to most programs"),
    ],
)
def test_numbers_written_in_another_way(tmp_path, text, message):
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_embeddings(Spec(str(tmp_path / "e.csv")))


LISTS = {
    "numpy 2": lambda v: str([np.float64(x) for x in v]),
    "numpy 2 float32": lambda v: "[" + ", ".join(f"np.float32({x})" for x in v) + "]",
    "array": lambda v: f"array({list(map(float, v))})",
    "array of float32": lambda v: f"array({list(map(float, v))}, dtype=float32)",
    "tensor": lambda v: f"tensor({list(map(float, v))})",
    "tensor on a GPU": lambda v: f"tensor({list(map(float, v))}, device='cuda:0', dtype=torch.f16)",
    "postgres": lambda v: "{" + ",".join(map(str, v)) + "}",
    "tuple": lambda v: str(tuple(map(float, v))),
    "nested": lambda v: str([list(map(float, v))]),
}


@pytest.mark.parametrize("spelling", LISTS)
def test_lists_as_programs_print_them(tmp_path, spelling):
    words = [LISTS[spelling](row) for row in ROWS]
    save(tmp_path / "e.csv", pd.DataFrame({"id": range(N), "embedding": words, "label": LABELS}))
    opened = open_embeddings(Spec(str(tmp_path / "e.csv")))
    np.testing.assert_allclose(opened.main.array.read(0, N), ROWS)


def test_words_in_parentheses_are_words(tmp_path):
    (tmp_path / "e.csv").write_text("name,a,b\n(1) cat,0.5,1.5\n(2) dog,2.5,3.25\n")
    assert open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.shape == (2, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5 1.5 2.5\n3.5 4.5 5.5\n", "3 numbers each, as numpy.savetxt"),
        ("# a header\n0.5 1.5\n3.5 4.5\n", "2 numbers each"),
        ("1 2.5\n2 3.5\n", "2 numbers each, as numpy.savetxt"),
    ],
)
def test_matrices_in_text_files_are_no_labels(tmp_path, text, message):
    (tmp_path / "e.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_array(Spec(str(tmp_path / "e.txt")), ())


@pytest.mark.parametrize("header", ["", "embeddings of run 1", "of run 1\nand 0.5 1.5 2.5"])
@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ", ", ";"])
def test_savetxt_files_have_one_message_with_the_arguments_that_read_them(
    tmp_path, header, delimiter
):
    path = tmp_path / "e.txt"
    np.savetxt(path, ROWS, header=header, delimiter=delimiter)
    with pytest.raises(DataError, match=r"hold 6 numbers each, as numpy.savetxt writes") as refused:
        open_embeddings(Spec(str(path)))
    found = re.search(
        r"read it with numpy\.loadtxt(?: \(delimiter='(.)'\))? and", str(refused.value)
    )
    np.testing.assert_array_equal(np.loadtxt(path, delimiter=found[1]), ROWS)
    assert any("6 numbers each" in problem for problem in inspect_file(str(path)).problems)


@pytest.mark.parametrize("header", ["", "row label", "# row label"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", ";"])
def test_an_id_beside_each_label_is_refused_with_two_ways_out(tmp_path, header, separator):
    header = header.replace(" label", f"{separator}label") + "\n" * bool(header)
    lines = [f"{row:04d}{separator}{label}" for row, label in enumerate(LABELS)]
    path = tmp_path / "y.txt"
    path.write_text(header + "\n".join(lines))
    with pytest.raises(DataError, match=r"2 integers each.*labels must be one a line") as refused:
        open_array(Spec(str(path)), LABEL_KEYS)
    message = str(refused.value)
    assert quoted(lines[0]) in message
    command = re.search(r"save the second column alone, python (-c .*), and pass labels", message)
    subprocess.run([sys.executable, *shlex.split(command[1])], cwd=tmp_path, check=True)
    assert np.load(tmp_path / "labels.npy").tolist() == LABELS.tolist()
    table = path.read_text().replace("# ", "#").replace(separator, ",")
    (tmp_path / "y.csv").write_text(table)
    assert ("name it y.csv" in message) == (separator == ",")
    spec = message.rpartition("and pass ")[2]
    found = open_array(Spec.parse(str(tmp_path / spec)), LABEL_KEYS)
    assert found.array.values().tolist() == LABELS.tolist()


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_word_vectors_in_text_files_are_no_labels(tmp_path, header):
    (tmp_path / "e.txt").write_text(f"{header}the 0.5 1.5 2.5\nof 3.5 4.5 5.5\n")
    with pytest.raises(
        DataError, match=r"several arrays, none named labels or y or .*'embeddings'"
    ):
        open_array(Spec(str(tmp_path / "e.txt")), LABEL_KEYS)


def test_labels_of_several_words_are_labels(tmp_path):
    (tmp_path / "y.txt").write_text("great white shark\nhammer head\ngreat white shark\n")
    assert open_array(Spec(str(tmp_path / "y.txt")), ()).array.shape == (3,)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_that_are_too_wide_are_refused_before_they_are_parsed(tmp_path, suffix):
    wide = pd.DataFrame(np.zeros((2, MOST_COLUMNS + 1)), columns=map(str, range(MOST_COLUMNS + 1)))
    path = tmp_path / f"e{suffix}"
    if suffix == ".csv":
        wide.to_csv(path, index=False)
    else:
        wide.to_parquet(path)
    with pytest.raises(DataError, match=f"{MOST_COLUMNS + 1} columns, at most {MOST_COLUMNS}"):
        open_embeddings(Spec(str(path)))


def test_the_python_functions_read_as_the_command_line_does(tmp_path):
    TABLES["integer-last.csv"](tmp_path / "e.csv")
    assert cla.uniformity(str(tmp_path / "e.csv")).value == pytest.approx(naive(ROWS), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("labels", list(np.eye(4)[LABELS])),
        ("y", list(ROWS[:, :2])),
        ("label", [[int(k)] for k in LABELS]),
        ("targets", [[0.5, 1.5]] * N),
    ],
)
@pytest.mark.parametrize("key", ["", "::emb"])
def test_a_column_of_lists_beside_the_embeddings(cli, name, column, key):
    pd.DataFrame({"emb": list(ROWS), name: column}).to_parquet(cli.folder / "e.parquet")
    result = cli("uniformity", f"e.parquet{key}", "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"][0]["value"] == pytest.approx(naive(ROWS), abs=1e-9)
    assert "internal error" not in cli("inspect", "e.parquet").stderr
    result = cli("tolerance", f"e.parquet{key}", "--no-files")
    assert result.returncode == 0 if name == "label" else "one value a row" in result.stderr


NUMBERED = pd.DataFrame(ROWS, columns=[f"dim_{i}" for i in range(D)])
SAVERS = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


@pytest.mark.parametrize("suffix", SAVERS)
def test_two_views_in_columns_are_two_matrices(tmp_path, suffix):
    views = {"text": ROWS, "image": ROWS[::-1]}
    frame = pd.concat(
        [pd.DataFrame(z, columns=[f"{v}_{i}" for i in range(D)]) for v, z in views.items()], axis=1
    ).assign(label=LABELS)
    path = tmp_path / f"e{suffix}"
    SAVERS[suffix](frame, path)
    for view, rows in views.items():
        np.testing.assert_allclose(
            open_embeddings(Spec(str(path), view)).main.array.read(0, N), rows, atol=1e-9
        )
    with pytest.raises(DataError, match=r"several arrays.*from 'text' .*, 'image' \(40, 6\)"):
        open_embeddings(Spec(str(path)))


@pytest.mark.parametrize("suffix", SAVERS)
def test_a_dimension_that_is_no_number_is_never_left_out_in_silence(tmp_path, suffix):
    words = NUMBERED.assign(dim_2=[f"{value} m" for value in NUMBERED["dim_2"]])
    path = tmp_path / f"e{suffix}"
    SAVERS[suffix](words, path)
    with pytest.raises(DataError, match="column 'dim_2' is numbered like the dimensions"):
        open_embeddings(Spec(str(path)))


def test_decimal_numbers_of_a_database_are_numbers(tmp_path):
    from decimal import Decimal

    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    frame = frame.assign(c=[Decimal(str(value)) for value in frame["c"]], when=pd.Timestamp(0))
    frame.to_parquet(tmp_path / "e.parquet")
    opened = open_embeddings(Spec(str(tmp_path / "e.parquet")))
    np.testing.assert_allclose(opened.main.array.read(0, N), ROWS, rtol=1e-15)
    assert any("left out of the embeddings: 'when'" in note for note in opened.notes)


@pytest.mark.parametrize("suffix", SAVERS)
def test_gaps_and_words_among_columns_with_numbers_for_names(tmp_path, suffix):
    """Words may stand at an end, where file names do; between dimensions one is missing."""
    path = tmp_path / f"e{suffix}"
    columns = [str(i) for i in range(D + 1)]
    for at, fits in ((0, True), (3, False), (D, True)):
        frame = pd.DataFrame(np.insert(ROWS, at, 0, axis=1), columns=columns)
        SAVERS[suffix](frame.assign(**{str(at): IMAGES}), path)
        if fits:
            np.testing.assert_array_equal(
                open_embeddings(Spec(str(path))).main.array.read(0, N), ROWS
            )
        else:
            with pytest.raises(DataError, match="column '3' is numbered like the dimensions"):
                open_embeddings(Spec(str(path)))


def test_families_of_different_size_are_matrices_each(tmp_path):
    sizes = {"text": 3, "image": 2, "audio": 2}
    parts = [pd.DataFrame(ROWS[:, :n]).add_prefix(f"{name}_") for name, n in sizes.items()]
    pd.concat(parts, axis=1).to_csv(tmp_path / "e.csv", index=False)
    for name, n in sizes.items():
        array = open_embeddings(Spec(str(tmp_path / "e.csv"), name)).main.array
        np.testing.assert_array_equal(array.read(0, N), ROWS[:, :n])


@pytest.mark.parametrize(
    "names", ["emb emb.1 emb.2 emb.3 emb.4 emb.5", "e[0] e[1] e[2] e[3] e[4] e[5]"]
)
def test_other_ways_to_number_columns(tmp_path, names):
    frame = pd.DataFrame(ROWS, columns=names.split()).assign(score=np.sqrt(np.arange(N)))
    frame.to_csv(tmp_path / "e.csv", index=False)
    np.testing.assert_array_equal(
        open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.read(0, N), ROWS
    )


def test_many_whole_columns_are_features_and_the_dimensions_are_told(tmp_path):
    whole = (ROWS * 30).astype("i1")
    frame = pd.DataFrame(whole, columns=list("abcdef")).assign(p=ROWS[:, 0], q=ROWS[:, 1])
    frame.to_csv(tmp_path / "e.csv", index=False)
    opened = open_embeddings(Spec(str(tmp_path / "e.csv")))
    assert opened.main.array.shape == (N, D + 2)
    assert any("dimensions are the 8 columns 'a', 'b'" in note for note in opened.notes)
    assert any("are taken for dimensions" in note for note in opened.notes)


@pytest.mark.parametrize("written", ["{:+.4f}", " {:.4f}", "{:.4e}"])
def test_a_coordinate_y_is_read_like_x(tmp_path, written):
    lines = [",".join(written.format(value) for value in row) for row in ROWS[:, :3]]
    (tmp_path / "e.csv").write_text("\n".join(["x,y,z", *lines]))
    array = open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array
    np.testing.assert_allclose(array.read(0, N), ROWS[:, :3], atol=1e-4)


def test_y_beside_words_is_a_target(tmp_path):
    frame = pd.DataFrame(ROWS[:, :3], columns=list("abc")).assign(x=IMAGES, y=ROWS[:, 3])
    frame.to_csv(tmp_path / "e.csv", index=False)
    assert open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.shape == (N, 3)


def test_columns_beside_numbered_ones_do_not_stop_the_file(tmp_path):
    frame = NUMBERED.assign(price=["1,5", *["2"] * (N - 1)], empty=np.nan, note=IMAGES)
    frame.to_csv(tmp_path / "e.csv", index=False)
    opened = open_embeddings(Spec(str(tmp_path / "e.csv")))
    np.testing.assert_array_equal(opened.main.array.read(0, N), ROWS)
    with pytest.raises(DataError, match="decimal commas"):
        open_array(Spec(str(tmp_path / "e.csv"), "price"), ("labels",))
    frame.rename(columns={f"dim_{i}": name for i, name in enumerate("abcdef")}).to_csv(
        tmp_path / "named.csv", index=False
    )
    with pytest.raises(DataError, match="decimal commas"):  # it may have been a dimension
        open_embeddings(Spec(str(tmp_path / "named.csv")))


@pytest.mark.parametrize("suffix", SAVERS)
def test_a_target_is_no_dimension_and_a_coordinate_y_is_one(tmp_path, suffix):
    path = tmp_path / f"e{suffix}"
    SAVERS[suffix](pd.DataFrame(ROWS[:, :4], columns=["a", "b", "c", "y"]), path)
    np.testing.assert_array_equal(
        open_embeddings(Spec(str(path))).main.array.read(0, N), ROWS[:, :3]
    )
    SAVERS[suffix](pd.DataFrame(ROWS[:, :3], columns=["x", "y", "z"]), path)
    np.testing.assert_array_equal(
        open_embeddings(Spec(str(path))).main.array.read(0, N), ROWS[:, :3]
    )


def test_a_frame_with_labels_in_it_is_refused():
    with pytest.raises(DataError, match=r"frame.drop\(columns=\['label'\]\)"):
        cla.uniformity(FRAME.assign(label=LABELS))
    assert cla.uniformity(FRAME).value == pytest.approx(naive(ROWS))


HINTS = {
    "r.tsv": ("a\tb\n1\t0.5\t0.25\n2\t0.1\t0.7\n", "col.names = NA"),
    "excel.csv": ("sep=,\n0.5,0.25\n0.1,0.7\n", "is 'sep=,': remove it"),
}


@pytest.mark.parametrize("name", HINTS)
def test_what_other_programs_write_before_the_rows_is_told(tmp_path, name):
    text, message = HINTS[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        open_embeddings(Spec(str(tmp_path / name)))
