"""The compiled kernels against NumPy in float64, on tiles of every kind; faults are found."""

from __future__ import annotations

import pickle
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_analyze.errors import AnalysisError
from cl_analyze.pairs import kernels
from cl_analyze.pairs.backend import Backend
from cl_analyze.pairs.kernels import build
from cl_analyze.pairs.reducers import RowLogSumExp
from tests import kernel_checks
from tests.kernel_checks import KINDS, SHAPES, TILE_CHECKS, Case

BUILT = build.FOLDER / build.LIBRARY
needs_kernels = pytest.mark.skipif(
    bool(kernels.loaded_for("") is None), reason=f"no compiled kernels: {kernels.missing()}"
)
needs_compiler = pytest.mark.skipif(not build._compiler(), reason="there is no C compiler")


def libraries():
    """One library for each instruction set that this processor has."""
    best = kernels.INSTRUCTION_SETS.index(kernels.Library(BUILT).instruction_set)
    return [kernels.Library(BUILT, name) for name in kernels.INSTRUCTION_SETS[: best + 1]]


def cases():
    return st.builds(
        Case,
        st.sampled_from(KINDS),
        st.sampled_from(SHAPES),
        st.integers(0, 10_000),
        st.booleans(),
        st.booleans(),
    )


@needs_kernels
@pytest.mark.parametrize("check", TILE_CHECKS, ids=lambda check: check.__name__)
@given(cases())
def test_kernels_agree_with_float64(check, case):
    for library in libraries():
        check(library, case)


@needs_kernels
@pytest.mark.parametrize("fault", ["merge_keys", "insert_keys", "least_values"])
def test_a_fault_in_lists_of_keys_is_found(monkeypatch, fault):
    (library, *_) = libraries()
    monkeypatch.setattr(library, fault, lambda *_: None)
    with pytest.raises(AssertionError, match=r"(?i)not equal"):
        kernel_checks.check_merge(library, 0)


@needs_kernels
@given(st.integers(0, 10_000))
def test_lists_of_keys_merge_as_if_sorted(seed):
    for library in libraries():
        kernel_checks.check_merge(library, seed)


@needs_kernels
@pytest.mark.parametrize("tau", [0.02, 0.07, 0.5])
def test_a_tile_full_of_one_class_keeps_its_sums_to_a_millionth(tau):
    # a thousand equal terms: what float32 sums lose adds up in one direction
    for value in (0.999, 0.7310585, 0.1):
        case = Case("all one", (1024, 1024), 1)
        case.s[:] = value
        case.codes = [np.zeros(1024, int)] * 2
        case.left_out = np.arange(1024), np.arange(1024)
        for library in libraries():
            tile = case.tile(Backend(np.dtype(np.float32), library))
            for state in RowLogSumExp(tau, "same_class").reduce(tile):
                exact = 1023 * np.exp(np.float64(case.s[0, 0]) / tau)
                np.testing.assert_allclose(state.sums.mean(), exact, rtol=1e-6)


FAULTS = {
    "the last column is left out": (
        r"for \(int64_t j = 0; j < n; j\+\+\) \{\n        const float e =",
        "for (int64_t j = 0; j < n - 1; j++) {\n        const float e =",
        "check_softmax",
    ),
    "sums of columns are not flushed": (
        r"(out\[j\] \+= panel\[t\]\[slot\]\[j\];)",
        r"if (row0 == 0) \1",
        "check_softmax",
    ),
    "a tie is taken by the higher index": (
        r"0xffffffffu - \(uint64_t\)col_ids\[start \+ j\]",
        "(uint64_t)col_ids[start + j]",
        "check_neighbours",
    ),
    "left-out pairs count": (r"if \(cuts\) \{ sorted", "if (0) { sorted", "check_bins"),
    "the gain is of the wrong sign": (
        r"result.growth = (.*) - r;",
        r"result.growth = \1 + r;",
        "check_jackknife",
    ),
    "a row without a label has a class": (
        r"memset\(out, 0, \(size_t\)n \* sizeof \*out\);",
        "for (int64_t j = 0; j < n; j++) out[j] = 1.0f;",
        "check_received",
    ),
    "a bin is one too high": (
        r"out\[j\] = \(int32_t\)scaled;",
        "out[j] = (int32_t)scaled + 1;",
        "check_bins",
    ),
    "weights of temperatures are those of the row before": (
        r"weights\[m \* n_rows \+ i\]",
        "weights[m * n_rows + (i ? i - 1 : i)]",
        "check_bins",
    ),
    "a sum of Riesz kernels is not squared": (
        r"r1 \+= k \* k;\n                c0",
        "r1 += k;\n                c0",
        "check_float64",
    ),
    "a near pair is dropped": (r"\bfound\+\+;", "found += j + 1 < stop;", "check_float64"),
    "a threshold is not reached": (r"s\[j\] <= threshold", "s[j] < threshold", "check_moments"),
    "what is above 0 is left out": (
        r"\(z > 0.0f \? z : 0.0f\)",
        "(z > 0.0f ? 0.0f : z)",
        "check_softplus",
    ),
    "the floor is not applied": ("k = d2 >= floor", "k = d2 >= 0.0f", "check_distances"),
    "the k-th largest is the next": (
        r"(kth_largest\)\(s, n, k), keys",
        r"\1 + 1, keys",
        "check_hard",
    ),
}


def compiled(sources, folder):
    """The baseline's library of some sources; `folder` must be new: what is loaded stays."""
    folder.mkdir()
    for name in build.SOURCES:
        shutil.copy(sources / name, folder)
    library = folder / build.LIBRARY
    flags = ("-DBASELINE_ALONE", "-O1", "-Wno-unused")
    assert build.compile_kernels(library, flags, folder) == ""
    return kernels.Library(library, "baseline")


def check_tiles(library, check):
    for kind in ("spread", "ties"):
        for shape in SHAPES:
            for both_sides in (False, True):
                case = Case(kind, shape, 3, both_sides)
                getattr(kernel_checks, check)(library, case)


@needs_compiler
def test_what_faults_are_planted_in_is_right(tmp_path):
    library = compiled(build.FOLDER, tmp_path / "right")
    for check in sorted({check for _, _, check in FAULTS.values()}):
        check_tiles(library, check)


@needs_compiler
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(tmp_path, fault):
    for name in build.SOURCES:
        shutil.copy(build.FOLDER / name, tmp_path)
    pattern, replacement, check = FAULTS[fault]
    found = [name for name in build.SOURCES if re.search(pattern, (tmp_path / name).read_text())]
    assert len(found) == 1
    source = tmp_path / found[0]
    text, n_found = re.subn(pattern, replacement, source.read_text())
    assert n_found == 1
    source.write_text(text)
    library = compiled(tmp_path, tmp_path / "wrong")
    with pytest.raises(AssertionError, match=r"(?i)mismatch|not equal"):
        check_tiles(library, check)


def test_the_variable_switches_them_off_or_names_an_instruction_set(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "off")
    assert kernels.loaded() is None
    assert kernels.described() == "none (CL_ANALYZE_KERNELS=off)"
    assert kernels.missing() == ""
    monkeypatch.setenv(kernels.VARIABLE, "sse9")
    with pytest.raises(kernels.ConfigError, match="off or one of baseline, avx2, avx512"):
        kernels.loaded()


@needs_kernels
def test_a_worker_without_the_kernels_of_the_run_says_so(monkeypatch):
    backend = Backend(np.dtype(np.float32), libraries()[0])
    copy = pickle.loads(pickle.dumps(backend))
    assert copy.arithmetic == backend.arithmetic == "kernels baseline float32"
    payload = pickle.dumps(backend)
    monkeypatch.setattr(kernels, "loaded_for", lambda wanted: None)
    with pytest.raises(AnalysisError, match="does not have the compiled kernels baseline"):
        pickle.loads(payload)


@needs_compiler
def test_a_library_of_other_sources_is_not_used(tmp_path, monkeypatch):
    for name in build.SOURCES:
        shutil.copy(build.FOLDER / name, tmp_path)
    flags = ("-DBASELINE_ALONE", "-O0")
    assert build.compile_kernels(tmp_path / build.LIBRARY, flags, tmp_path) == ""
    with (tmp_path / "sweeps.h").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    library, reason = kernels._load.__wrapped__("")
    assert library is None
    assert kernels.REMEDY in reason


def test_a_build_without_a_compiler_leaves_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler")
    made, reason = build.build_into(tmp_path)
    assert made.name == build.REASON
    assert made.read_text().strip() == reason
    assert "/no/such/compiler" in reason
    monkeypatch.setenv("CC", "false")
    assert "false failed at build time" in build.build_into(tmp_path)[1]
    monkeypatch.delenv("CC")
    monkeypatch.setattr(build, "_compiler", list)
    assert build.build_into(tmp_path)[1] == "no compiler at build time"
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert kernels._load.__wrapped__("") == (None, "no compiler at build time")
