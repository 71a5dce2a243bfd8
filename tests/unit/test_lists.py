"""The rewriting of list options: every spelling, no file swallowed, nothing invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_analyze.cli.lists import rewrite
from cl_analyze.errors import ConfigError
from cl_analyze.options import FORMATS
from cl_analyze.options.kinds import Numbers, Size, WholeOrAll, Words, is_number

LISTS = {"--tau": Numbers(), "--format": Words(words=FORMATS)}
VALUED = frozenset({"--out", "-o", "--seed"})


def split(tokens):
    return rewrite(tokens.split(), LISTS, VALUED)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--tau 0.1 0.2 emb.npy", "--tau 0.1 --tau 0.2 emb.npy"),
        ("emb.npy --tau 0.1", "emb.npy --tau 0.1"),
        ("--tau 0.1,0.2,emb.npy", "--tau 0.1,0.2,emb.npy"),
        ("--tau=0.1,0.2 emb.npy", "--tau 0.1 --tau 0.2 emb.npy"),
        ("--tau -1 emb.npy", "--tau -1 emb.npy"),
        ("--tau 1e-1 .5 +2 nan", "--tau 1e-1 --tau .5 --tau +2 --tau nan"),
        ("--tau 0.1 -- 0.2", "--tau 0.1 -- 0.2"),
        ("--out 5 --seed 3 emb.npy", "--out 5 --seed 3 emb.npy"),
        ("-o 7 emb.npy", "-o 7 emb.npy"),
        ("--format png svg emb.npy", "--format png --format svg emb.npy"),
        ("--format png,svg png.npy", "--format png --format svg png.npy"),
        ("--tau emb.npy", "--tau emb.npy"),
        ("--tau --json", "--tau --json"),
        ("--tau", "--tau"),
        ("./0.2 --tau 0.1", "./0.2 --tau 0.1"),
    ],
)
def test_rewriting(typed, expected):
    assert split(typed) == expected.split()


@pytest.mark.parametrize(
    "typed", ["0.2", "--out x 0.2", "--tau=0.1 0.2", "--json -3", "emb.npy nan"]
)
def test_numbers_where_files_belong(typed):
    with pytest.raises(ConfigError, match="is a number, not a file"):
        split(typed)


def test_the_right_spelling_is_shown():
    with pytest.raises(ConfigError, match=r"write --tau 0\.1 0\.2"):
        split("--tau=0.1 0.2")


tokens = st.one_of(
    st.sampled_from(["--tau", "--tau=", "--tau=0.1", "--format", "--out", "-o", "--", "--json"]),
    st.sampled_from(["emb.npy", "png", "svg", "0.1", "0.1,0.2", "1_0", "-", "nan", ""]),
    st.text(max_size=5),
)


@given(st.lists(tokens, max_size=8))
def test_rewriting_never_crashes_and_keeps_what_is_no_list(arguments):
    try:
        found = rewrite(arguments, LISTS, VALUED)
    except ConfigError:
        return
    files = [a for a in arguments if a == "emb.npy"]
    assert [a for a in found if a == "emb.npy"] == files
    if "--" not in arguments:
        assert rewrite(found, LISTS, VALUED) == found, "rewriting twice changes nothing"


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_every_float_is_a_number(value):
    assert is_number(repr(value))
    assert Numbers().parse("--tau", [repr(value), repr(value)]) == (value,)


def test_sizes():
    assert Size().parse("--memory", "1.5k") == 1536
    assert Size().parse("--memory", "3000") == 3000
    for bad in ("", "-1GiB", "0", "2 giga", "GiB"):
        with pytest.raises(ConfigError, match="is not a size"):
            Size().parse("--memory", bad)


def test_curve_anchors():
    anchors = WholeOrAll()
    assert anchors.check("curve-anchors", anchors.parse("--curve-anchors", "all")) is None
    assert anchors.parse("--curve-anchors", "12") == 12
    for bad in ("0", "-3", "1.5", "many"):
        with pytest.raises(ConfigError, match="--curve-anchors"):
            anchors.parse("--curve-anchors", bad)
