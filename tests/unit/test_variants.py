"""Variants equal the same transform that NumPy applies and saves; packed bits equal their signs."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import row_norms
from cl_analyze.data.variants import Variant, VariantRows
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.inputs.variants import fitted, with_variants
from cl_analyze.options import Request, RunOptions
from tests.reference import naive

N, D = 157, 12


def spread(random: np.random.Generator, n: int = N, d: int = D) -> np.ndarray:
    """Rows whose coordinates have other means and deviations, one of them constant."""
    rows = random.standard_normal((n, d)) * np.geomspace(0.1, 10, d) + np.linspace(-3, 5, d)
    rows[:, 2] = 0.35
    return rows


def by_numpy(rows: np.ndarray, variant: str) -> np.ndarray:
    """The transform, from its definition, on all rows at once in float64."""
    x = rows.astype(np.float64)
    change, _, number = variant.partition("=")
    if change == "dims":
        return x[:, : int(number)]
    if change == "binary":
        return np.where(x > 0, 1.0, -1.0)
    if change == "int8":
        least, greatest = x.min(axis=0), x.max(axis=0)
        step = (greatest - least) / 255
        levels = np.floor((x - least) / np.where(step > 0, step, 1)) - 128
        return np.where(step > 0, levels, 0)
    centred = x - x.mean(axis=0)
    centred[:, x.min(axis=0) == x.max(axis=0)] = 0
    if change == "centre":
        return centred
    if change == "standardise":
        deviation = x.std(axis=0)
        return centred / np.where(deviation > 1e-12, deviation, 1)
    values, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    above = values > 1e-12 * values[-1]
    return centred @ axes[:, above] / np.sqrt(values[above])


def variant_of(rows: np.ndarray, name: str) -> VariantRows:
    """The rows of a variant as the package reads them."""
    array = RowArray.of(rows)
    largest = float(row_norms(rows).max())
    return VariantRows(
        array, fitted(Request(rows, variant=name), array, array.dtype, largest, "rows")
    )


VARIANTS = ("dims=1", "dims=5", "int8", "binary", "centre", "standardise")


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i2"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_transform_by_numpy(random: np.random.Generator, name: str, dtype: str) -> None:
    rows = (spread(random) * (100 if dtype == "i2" else 1)).astype(dtype)
    ours = variant_of(rows, name)
    theirs = by_numpy(rows, name)
    tolerance = 1e-12 if dtype == "f8" else 2e-6
    np.testing.assert_allclose(ours.read(0, N), theirs, rtol=tolerance, atol=tolerance)
    assert ours.shape == theirs.shape
    assert np.array_equal(ours.take(np.array([5, 0])), ours.read(0, N)[[5, 0]])


@pytest.mark.parametrize("n", [N, D - 2, D, D + 1])
def test_whitened_rows_have_the_identity_as_their_covariance(
    random: np.random.Generator, n: int
) -> None:
    rows = variant_of(spread(random, n), "whiten").read(0, n)
    rank = min(n - 1, D - 1)  # one coordinate is constant
    assert rows.shape == (n, rank)
    np.testing.assert_allclose(np.cov(rows.T, bias=True), np.eye(rank), atol=1e-9)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-9)


def test_whitening_is_that_of_the_eigenvalues_up_to_signs(random: np.random.Generator) -> None:
    rows = spread(random)
    ours, theirs = variant_of(rows, "whiten").read(0, N), by_numpy(rows, "whiten")
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-7)


def test_directions_that_are_rounding_are_left_out(random: np.random.Generator) -> None:
    mixed = random.standard_normal((400, 3)) @ random.standard_normal((3, 20))
    assert variant_of(mixed.astype("f4"), "whiten").shape == (400, 3)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_int8_of_integers_between_its_ends_is_lossless(d: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-128, 128, (30, d)).astype(np.float64)
    rows[0], rows[1] = -128, 127
    np.testing.assert_array_equal(variant_of(rows, "int8").read(0, 30), rows)


def test_int8_of_rows_that_it_was_not_fitted_on_stays_in_its_range(
    random: np.random.Generator,
) -> None:
    fit = variant_of(spread(random), "int8").variant
    beyond = fit(spread(random) * 50)
    assert (beyond.min(), beyond.max()) == (-128, 127)


@pytest.mark.parametrize("name", [*VARIANTS, "whiten"])
def test_a_row_is_mapped_alike_wherever_it_stands(random: np.random.Generator, name: str) -> None:
    rows = spread(random, 300)
    rows[[7, 131, 299]] = rows[50]
    ours = variant_of(rows, name)
    whole = ours.read(0, 300)
    for row in (7, 131, 299):
        assert np.array_equal(whole[row], whole[50])
        assert np.array_equal(ours.read(row, row + 1)[0], whole[row])
    pieces = [ours.read(start, min(start + 13, 300)) for start in range(0, 300, 13)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.array_equal(pickle.loads(pickle.dumps(ours)).read(3, 9), whole[3:9])


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "binary"])
def test_values_do_not_depend_on_the_scale(random: np.random.Generator, name: str) -> None:
    rows = spread(random)
    for scale in (2.0**-600, 2.0**400):
        ours = variant_of(rows * scale, name).read(0, N)
        expected = variant_of(rows, name).read(0, N)
        if name in ("centre", "dims=1", "dims=5"):
            expected = expected * scale
        np.testing.assert_allclose(ours, expected, rtol=1e-9)


def saved(tmp_path: Path, name: str, rows: np.ndarray, **beside: np.ndarray) -> str:
    """A file of embeddings."""
    np.savez(tmp_path / name, embeddings=rows, **beside)
    return str(tmp_path / name)


@pytest.mark.parametrize("name", [*VARIANTS[1:], "whiten"])
def test_every_number_is_that_of_the_transformed_file(
    random: np.random.Generator, tmp_path: Path, name: str
) -> None:
    """All families on views and labels; the map is that of the embeddings, view 1."""
    first = spread(random, 120) + 2 * random.standard_normal((120, D))
    second = first + 0.3 * random.standard_normal((120, D))
    labels = random.integers(0, 3, 120)
    file = saved(tmp_path, "one.npz", first, view1=first, view2=second, labels=labels)
    change, _, number = name.partition("=")
    option = {"dims": {"dims": [int(number or 1)]}, "int8": {"quantise": ["int8"]}}.get(
        change, {"quantise": [name]} if name == "binary" else {"transform": [name]}
    )
    report = cla.analyze([file], metrics="all", ks=[1, 5], taus=[0.2], **option)
    fit = variant_of(first, name).variant
    views = {"view1": fit(first), "view2": fit(second)}
    other = saved(tmp_path, "two.npz", views["view1"], labels=labels, **views)
    # int8 and signs are whole numbers: their products are those of float64 here and there
    run = RunOptions(precision="float64")
    alone = cla.analyze([other], metrics="all", ks=[1, 5], taus=[0.2], run=run)
    ours = [r for r in report.records if r.source == f"one.npz[{name}]"]
    assert len(ours) == len(alone.records) > 300
    for one, two in zip(ours, alone.records, strict=True):
        assert (one.metric, one.definition, one.params, one.n, one.d) == (
            two.metric,
            two.definition,
            two.params,
            two.n,
            two.d,
        )
        if one.value is None or two.value is None:
            assert one.value == two.value
        else:
            assert one.value == pytest.approx(two.value, rel=2e-5, abs=2e-6), one.full_name


def test_other_rows_of_the_space_go_through_the_same_map(random: np.random.Generator) -> None:
    """Training rows, a queue and items are no rows that the map is fitted on."""
    rows, others = spread(random, 90), spread(random, 70) + 2
    views = rows + random.standard_normal(rows.shape)
    labels, other_labels = random.integers(0, 3, 90), random.integers(0, 3, 70)
    relevant = np.c_[np.arange(90), random.integers(0, 70, 90)]
    fit = variant_of(rows, "standardise").variant
    for metrics, beside in (
        ("quality", {"labels": labels, "train": others, "train_labels": other_labels}),
        ("losses", {"pairs": views, "queue": others}),
        ("similarity", {"pairs": others, "relevant": relevant}),
    ):
        options = {"metrics": metrics, "source": "z", "ks": [5], "taus": [0.2]}
        report = cla.analyze(rows, **beside, **options, transform=["standardise"])
        spaces = {"pairs", "train", "queue"}
        mapped = {name: fit(x) if name in spaces else x for name, x in beside.items()}
        alone = cla.analyze(fit(rows), **mapped, **options)
        ours = [record for record in report.records if record.source == "z[standardise]"]
        assert len(ours) == len(alone.records) > 20
        for one, two in zip(ours, alone.records, strict=True):
            assert (one.value is None) == (two.value is None), one.full_name
            if two.value is not None:
                assert one.value == pytest.approx(two.value, rel=1e-6, abs=1e-9), one.full_name


def test_golden_values_of_uniformity() -> None:
    """The values of SPEC 9; its standardise keeps the rounding of a constant coordinate."""
    i = np.arange(6.0)
    rows = np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i]
    rows = rows * np.array([3, 1, 2, 0.5]) + 0.1
    report = cla.analyze(
        rows,
        metrics="uniformity",
        source="x",
        dims=[2],
        quantise=["int8", "binary"],
        transform=["centre", "standardise"],
        run=RunOptions(precision="float64"),
    )
    value = {r.source: r.value for r in report.records if r.definition == "u_stat"}
    assert value["x"] == pytest.approx(-2.734609443553, abs=1e-12)
    assert value["x[dims=2]"] == pytest.approx(-1.695345872037, abs=1e-12)
    assert value["x[binary]"] == pytest.approx(-2.781328897973, abs=1e-12)
    assert value["x[centre]"] == pytest.approx(-2.787824162978, abs=1e-12)
    assert value["x[int8]"] == pytest.approx(-3.796475231371, abs=1e-12)
    without = rows[:, :3]
    standard = (without - without.mean(0)) / without.std(0)
    expected = naive.uniformity(naive.cosines(standard), 2.0)
    assert value["x[standardise]"] == pytest.approx(expected, abs=1e-12)


def test_packed_bits_are_the_signs_of_the_variant(
    random: np.random.Generator, tmp_path: Path
) -> None:
    rows, partners = spread(random, 90, 24), spread(random, 90, 24)
    bits = [np.packbits(x > 0, axis=1) for x in (rows, partners)]
    files = [saved(tmp_path, f"bits{i}.npz", x) for i, x in enumerate(bits)]
    packed = cla.analyze(files[0], pairs=files[1], metrics="all", packed_bits=True, ks=[1, 3])
    signs = [np.where(x > 0, 1, -1).astype(np.int8) for x in (rows, partners)]
    alone = cla.analyze(signs[0], pairs=signs[1], metrics="all", ks=[1, 3])
    assert [r.value for r in packed.records] == [r.value for r in alone.records]
    assert packed.document.inputs[0]["d"] == 24
    three = np.stack(bits, axis=1)
    views = cla.analyze(three, metrics="losses", packed_bits=True, taus=[0.2])
    losses = cla.losses(signs[0], signs[1], taus=[0.2])
    assert [r.value for r in views.records] == [r.value for r in losses]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.ones((4, 3), np.int8), "packbits"),
        (np.ones((4, 3)), "float64"),
        (np.ones((4, 3), bool), "Booleans"),
    ],
)
def test_bits_that_are_not_in_bytes_are_refused(rows: np.ndarray, found: str) -> None:
    with pytest.raises(DataError, match=f"packed-bits reads bytes.*{found}"):
        cla.analyze(rows, metrics="uniformity", packed_bits=True)


def test_bad_variants_are_errors(random: np.random.Generator) -> None:
    rows = random.standard_normal((20, 4))
    with pytest.raises(ConfigError, match="--dims 5: embeddings has 4 dimensions"):
        cla.analyze(rows, metrics="uniformity", dims=[5])
    with pytest.raises(ConfigError, match="'int4' is none of int8, binary"):
        cla.analyze(rows, metrics="uniformity", quantise=["int4"])
    same = np.tile(rows[:1], (5, 1))
    with pytest.raises(DataError, match="rows do not differ"):
        cla.analyze(same, metrics="uniformity", transform=["whiten"])
    with pytest.raises(DataError, match=r"z\[centre\]: 5 rows have no direction left"):
        cla.analyze(same, metrics="uniformity", transform=["centre"], source="z")
    huge = np.array([[1.5e308, 1.0], [-1.5e308, 1.0], [1.0, 1.0]])
    with pytest.raises(DataError, match="range of float64"):
        cla.analyze(huge, metrics="uniformity", quantise=["int8"])


def test_rows_that_lose_their_direction_are_dropped_from_the_variant_alone(
    random: np.random.Generator,
) -> None:
    rows = random.standard_normal((20, 4))
    rows[3, :2] = 0
    with pytest.raises(DataError, match=r"z\[dims=2\]: 1 row has no direction left.*row 3"):
        cla.analyze(rows, metrics="uniformity", dims=[2], source="z")
    report = cla.analyze(
        rows, metrics="uniformity", dims=[2], source="z", run=RunOptions(on_invalid="drop")
    )
    n = {record.source: record.n for record in report.records}
    assert n == {"z": 20, "z[dims=2]": 19}


def test_variants_follow_their_original() -> None:
    requests = with_variants([Request("a.npy", dims=[8, 4, 4], transform="whiten"), Request("b")])
    assert [r.variant for r in requests] == ["", "dims=4", "dims=8", "whiten", ""]


def test_what_was_fitted_is_recorded(random: np.random.Generator) -> None:
    rows = spread(random)
    report = cla.analyze(
        rows, metrics="uniformity", source="z", quantise=["int8"], transform=["standardise"]
    )
    table = report.tables["variants"].rows
    assert len(table) == 2 * D
    by_name = {
        name: np.array([[row["centre"], row["scale"]] for row in table if row["variant"] == name])
        for name in ("int8", "standardise")
    }
    steps = (rows.max(axis=0) - rows.min(axis=0)) / 255
    np.testing.assert_allclose(by_name["int8"], np.c_[rows.min(axis=0), steps], rtol=1e-12)
    deviations = np.where(np.arange(D) == 2, 1, rows.std(axis=0))
    np.testing.assert_allclose(
        by_name["standardise"], np.c_[rows.mean(axis=0), deviations], rtol=1e-12
    )
    entries = [entry["variant"] for entry in report.document.inputs]
    assert entries == [None, "int8", "standardise"]


def test_memory_does_not_grow_with_the_rows() -> None:
    """Only blocks are mapped: a variant of rows that cannot all be read at once."""

    class Endless:
        """Rows of which only a block may be read at a time."""

        shape, n_rows, dtype = (1 << 20, 4), 1 << 20, "<f4"
        most = 0

        def read(self, start: int, stop: int) -> np.ndarray:
            self.most = max(self.most, stop - start)
            positions = np.arange(start, stop, dtype=np.float32)
            return np.c_[positions, -positions, positions % 7, positions % 2]

        def take(self, rows: np.ndarray) -> np.ndarray:
            raise AssertionError(rows)

        def give_back(self) -> None:
            pass

    rows = Endless()
    for name in ("int8", "standardise", "whiten"):
        fitted(Request("z", variant=name), rows, rows.dtype, 2.0**21, "z")
    assert rows.most <= 1 << 18


def test_standard_deviation_of_large_means() -> None:
    """Means of 10^6 deviations lose no digits of the deviation but those of the stored numbers."""
    rows = 1e6 + np.random.default_rng(0).standard_normal((5000, 2))
    variant: Variant = variant_of(rows, "standardise").variant
    assert variant.scale is not None
    exact = [math.fsum((rows[:, j] - math.fsum(rows[:, j]) / 5000) ** 2) for j in range(2)]
    np.testing.assert_allclose(variant.scale, np.sqrt(np.array(exact) / 5000), rtol=1e-9)
