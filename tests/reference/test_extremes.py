"""The ends of every range: right against 50 digits, or null with a reason; never NaN."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.data.opening import Spec, open_embeddings
from cl_analyze.inputs.memory import chosen_precision
from cl_analyze.options import MetricOptions
from tests.reference.cases import as_array, cases

TAUS = (1e-4, 1e-3, 0.019, 0.02, 1.0, 100.0, 1e4)
TS = (1e-3, 1.0, 1e3)
_RANDOM = np.random.default_rng(3)
_ROWS = _RANDOM.standard_normal((12, 6))


def _half_antipodal():
    rows = np.tile(_RANDOM.standard_normal(5), (8, 1))
    rows[4:] *= -1
    return rows


EXTREMES = {
    "one dimension": np.array([[2.0], [-3.0], [1.0], [0.5], [-1.0], [4.0]]),
    "65,536 dimensions": _RANDOM.standard_normal((6, 65_536)).astype(np.float32),
    "two rows": _ROWS[:2],
    "all rows equal": np.ones((9, 4)),
    "half antipodal": _half_antipodal(),
    "norms of 1e-30": _ROWS * 1e-30,
    "norms of 1e30": _ROWS.astype(np.float32) * np.float32(1e30),
    "float16": _ROWS.astype(np.float16),
    "float16 near its end": (_ROWS * 1.5e4).astype(np.float16),
    "subnormal float16": (_ROWS * 1e-6).astype(np.float16),
}


def classes(rows):
    return np.arange(len(rows)) % 3


# ---- finite, or null with a reason


def assert_honest(records):
    for record in records:
        if record.value is None:
            assert record.reason, record
        else:
            assert math.isfinite(record.value), record
        for error in (record.std_error, record.sampling_error):
            assert error is None or (math.isfinite(error) and error >= 0), record


@pytest.mark.parametrize("name", EXTREMES)
def test_everything_is_finite_or_null_with_a_reason(name):
    rows = EXTREMES[name]
    assert np.isfinite(rows).all()
    view = rows + rows[::-1] * rows.dtype.type(0.25)
    kept = np.abs(rows).max(axis=1) > 0
    kept &= np.abs(view).max(axis=1) > 0
    report = cla.analyze(
        rows[kept], classes(rows)[kept], pairs=view[kept], taus=TAUS, ts=TS, metrics="all"
    )
    assert_honest(report.records)
    assert {r.params["tau"] for r in report.records if "tau" in r.params} >= set(TAUS)


@pytest.mark.parametrize("name", cases())
def test_so_it_is_for_input_that_breaks_careless_code(name):
    rows, labels = cases()[name]
    assert_honest(cla.analyze(rows, as_array(labels), taus=TAUS, ts=TS).records)


# ---- right, against 50 digits


class Exact:
    """Similarities of all pairs, and what follows from them, in 50 digits."""

    def __init__(self, rows, columns=None):
        with mpmath.workdps(50):
            u, v = (self._unit(array) for array in (rows, rows if columns is None else columns))
            self.s = [[mpmath.fdot(a, b) for b in v] for a in u]

    @staticmethod
    def _unit(rows):
        found = []
        for row in rows:
            exact = [mpmath.mpf(float(value)) for value in row]
            norm = mpmath.sqrt(mpmath.fdot(exact, exact))
            found.append([value / norm for value in exact])
        return found

    def uniformity(self, t):
        with mpmath.workdps(50):
            n = len(self.s)
            terms = [
                mpmath.exp(-2 * mpmath.mpf(t) * (1 - self.s[i][j]))
                for i in range(n)
                for j in range(n)
                if i != j
            ]
            return float(mpmath.log(mpmath.fsum(terms) / len(terms)))

    def penalty(self, tau, labels):
        """Entropy, share of the largest, and of the same class, means over anchors."""
        with mpmath.workdps(50):
            n = len(self.s)
            entropies, largest, same = [], [], []
            for i in range(n):
                weights = [
                    mpmath.exp((self.s[i][j] - 1) / mpmath.mpf(tau)) if i != j else mpmath.mpf(0)
                    for j in range(n)
                ]
                total = mpmath.fsum(weights)
                shares = [weight / total for weight in weights]
                entropies.append(-mpmath.fsum(r * mpmath.log(r) for r in shares if r))
                largest.append(max(shares))
                same.append(mpmath.fsum(shares[j] for j in range(n) if labels[j] == labels[i]))
            return [float(mpmath.fsum(values) / n) for values in (entropies, largest, same)]

    def contrastive(self, tau):
        with mpmath.workdps(50):
            n = len(self.s)
            losses = [
                mpmath.log(mpmath.fsum(mpmath.exp((s - row[i]) / mpmath.mpf(tau)) for s in row))
                for i, row in enumerate(self.s)
            ]
            return float(mpmath.fsum(losses) / n)


METRICS = ("penalty_entropy", "penalty_top1_share", "penalty_false_negative_share")
RIGHT = (
    "one dimension",
    "two rows",
    "half antipodal",
    "norms of 1e-30",
    "norms of 1e30",
    "float16",
)


@pytest.mark.parametrize("name", RIGHT)
def test_uniformity_against_fifty_digits(name):
    rows, exact = EXTREMES[name], Exact(EXTREMES[name])
    found = cla.analyze(rows, ts=TS, metrics="uniformity", run=cla.RunOptions(precision="float64"))
    for t in TS:
        value = found.records.find("uniformity", "u_stat", t=t).value
        assert value == pytest.approx(exact.uniformity(t), rel=1e-9, abs=1e-13 * t)


@pytest.mark.parametrize("name", RIGHT)
def test_penalties_against_fifty_digits(name):
    """Precision is left to the program: float64 for the smallest temperatures."""
    rows, exact = EXTREMES[name], Exact(EXTREMES[name])
    for taus, tolerance in (((1e-4, 1e-3, 0.019), 1e-9), ((0.02, 1.0, 100.0, 1e4), 1e-4)):
        found = cla.penalty(rows, classes(rows), taus=taus)
        for tau in taus:
            expected = exact.penalty(tau, classes(rows))
            for metric, value in zip(METRICS, expected, strict=True):
                record = found.find(metric, tau=tau)
                if record.value is None:  # two rows of two classes have no potential positive
                    assert name == "two rows"
                    continue
                assert record.value == pytest.approx(value, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", ["two rows", "norms of 1e-30", "norms of 1e30", "float16"])
def test_losses_against_fifty_digits(name):
    rows = EXTREMES[name]
    view = rows[::-1] * rows.dtype.type(0.5) + rows
    exact = Exact(rows, view)
    for taus, tolerance in (((1e-4, 0.019), 1e-9), ((0.02, 1e4), 1e-5)):
        found = cla.losses(rows, view, taus=taus)
        for tau in taus:
            value = found.find("loss", "one_way", name="contrastive", tau=tau).value
            assert value == pytest.approx(exact.contrastive(tau), rel=tolerance, abs=tolerance)


# ---- precision


@pytest.mark.parametrize(("tau", "expected"), [(0.0199, np.float64), (0.02, np.float32)])
def test_small_temperatures_switch_to_float64(tmp_path, tau, expected):
    np.save(tmp_path / "e.npy", _ROWS.astype(np.float16))
    main = open_embeddings(Spec(str(tmp_path / "e.npy"))).main
    options = MetricOptions(taus=(tau, 0.5))
    assert chosen_precision(main.array.dtype, 12, options, cla.RunOptions()) is expected


def test_float16_files_are_read_as_what_they_hold(tmp_path):
    rows = _ROWS.astype(np.float16)
    np.save(tmp_path / "half.npy", rows)
    np.save(tmp_path / "single.npy", rows.astype(np.float32))
    half, single = (cla.uniformity(str(tmp_path / name)) for name in ("half.npy", "single.npy"))
    assert (half.value, half.std_error) == (single.value, single.std_error)
