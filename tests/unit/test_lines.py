"""Lines for a terminal: columns, not characters, and sentences that are wrapped."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.data.inspection import Inspection
from cl_analyze.figures.sources import short_names
from cl_analyze.lines import UNBROKEN, n_columns, wrapped
from cl_analyze.report.text.checkpoints import comparison_lines
from cl_analyze.report.text.long import aligned

INDENTS = st.sampled_from(["", "  ", "    ", "- "])
WORDS = st.text(st.sampled_from("ab-/.:東京é\u0301\u200b"), min_size=1, max_size=12)


@given(
    st.text(st.sampled_from("ab-/. \t\n\v\f\r"), max_size=120), st.integers(8, 40), INDENTS, INDENTS
)
def test_narrow_texts_are_wrapped_as_the_standard_library_does(text, width, first, later):
    assert wrapped(text, width, first, later) == textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


@given(st.lists(WORDS, max_size=30), st.integers(8, 40), INDENTS, INDENTS)
def test_lines_of_wide_words_take_no_more_columns_than_there_are(words, width, first, later):
    lines = wrapped(" ".join(words), width, first, later)
    indents = [first, *[later] * len(lines)]
    bodies = [line.removeprefix(indent) for line, indent in zip(lines, indents, strict=False)]
    assert " ".join(bodies) == " ".join(words)
    for i, line in enumerate(lines):
        assert n_columns(line) <= width or " " not in bodies[i]
        if i:  # the line before has no room for the first word of this one
            assert n_columns(f"{lines[i - 1]} {bodies[i].split()[0]}") > width


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("tau", 3),
        ("τ 0.07", 6),
        ("東京", 4),
        ("cafe\u0301", 4),  # an accent above the letter before it
        ("a\u20ddb", 2),  # a circle around the letter before it
        ("a\u200bb\u2060", 2),  # a space and a joiner of no width
        ("か\u3099", 2),  # a mark that would be wide if it stood alone
    ],
)
def test_columns_of_a_text(text, columns):
    assert n_columns(text) == columns


def test_an_unbroken_space_is_a_plain_one_at_the_end():
    assert wrapped(f"the share{UNBROKEN}0.01", 12) == ["the", "share 0.01"]


def test_cells_with_wide_names_are_aligned():
    assert aligned([["東京", "1"], ["tau", "10"]], "<>") == ["東京   1", "tau   10"]


def test_inspect_aligns_wide_names_of_arrays():
    entries = [
        {"key": key, "shape": [3], "dtype": "int64", "skipped": None} for key in ("東京", "y")
    ]
    lines = [line.text for line in Inspection("rows.npz", arrays=entries).lines()]
    assert lines[1:3] == ["  東京  (3,) int64", "  y     (3,) int64"]


def test_names_with_spaces_are_not_broken_in_sentences(random):
    rows = random.standard_normal((30, 4))
    names = ("a second run of it", "the first run of it", "yet another run of it")
    runs = {name: rows + 0.1 * i * random.standard_normal((30, 4)) for i, name in enumerate(names)}
    document = cla.compare(runs, metrics=("uniformity",)).document
    for width in range(60, 100):
        lines = [line.text for line in comparison_lines(document, width)]
        assert max(map(n_columns, lines)) <= width
        for name in short_names(document).values():
            assert " " in name
            n_whole = sum(line.count(name) for line in lines)
            assert " ".join(map(str.strip, lines)).count(name) == n_whole > 1
