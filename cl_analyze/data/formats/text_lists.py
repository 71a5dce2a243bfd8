"""Lists of numbers as words in a column of text, as pandas saves a column of arrays."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.compatible import exact_decimals
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_VALUE = r"(?:np\.\w+\()?[+-]?\.?(?:[0-9]|nan|null|none|inf)"
LIST = re.compile(
    rf"(?:[a-z_.]+\()?\[\s*\[?\s*{_VALUE}|[({{]\s*{_VALUE}[^a-df-z]*,[^a-df-z]*[)}}]\Z",
    re.IGNORECASE,
)
"""The start of a list in brackets, or the whole of one in parentheses or braces."""
_SCALAR = re.compile(r"\bnp\.\w+\(([^()]*)\)")
_CALL = re.compile(
    r"(?:[A-Za-z_.]+\()(\[.*\])(?:,\s*(?:dtype|device|grad_fn|requires_grad)=[^,\[\]]*)*,?\s*\)\Z"
)


def is_list_column(series: Any) -> bool:
    """Whether a column of words holds lists, as JSON or as NumPy prints them."""
    words = (str(item).strip() for item in series.head(100).dropna())
    return LIST.match(next((word for word in words if word not in ("", "[]")), "")) is not None


def _plain_list(word: object) -> str:
    """A list as JSON writes it, from how NumPy, torch, Python's tuples and PostgreSQL print one.

    >>> _plain_list("tensor([0.5, 1.], device='cuda:0')"), _plain_list("[np.float64(0.5)]")
    ('[0.5, 1.]', '[0.5]')
    >>> _plain_list("{0.5,1}"), _plain_list("[[0.5, 1]]")
    ('[0.5,1]', '[0.5, 1]')
    """
    text = " ".join(str(word).split())
    if "(" in text:
        text = _SCALAR.sub(r"\1", text)
        call = _CALL.match(text)
        text = text if call is None else call[1]
    if text[:1] + text[-1:] in ("()", "{}"):
        text = f"[{text[1:-1].rstrip(', ')}]"
    if text.startswith("[[") and text.endswith("]]"):
        text = text[1:-1].strip()
    return text


def matrix_of_lists(key: str, series: Any) -> NDArray[np.float64]:
    """A column of lists as a matrix; a missing list is a row of NaN.

    Raises:
        DataError: a word that is no list of numbers, lists of different lengths, or shortened ones.
    """
    import pandas as pd

    column = f"column {quoted(key)}"
    words = series.fillna("[]").map(_plain_list)
    shortened = words.str.contains("...", regex=False)
    if shortened.any():
        raise DataError(
            f"{column}: row {int(shortened.argmax())} was shortened with ... when it "
            "was saved, so its values are lost; save the array itself, for example with numpy.save"
        )
    is_list = words.str.startswith("[") & words.str.endswith("]")
    inner = words.str.slice(1, -1).str.strip()
    is_list &= ~inner.str.contains(r"[\[\]]")
    if not is_list.all():
        row = int((~is_list).argmax())
        raise DataError(f"{column}: row {row} is no list of numbers: {quoted(words.iloc[row], 60)}")
    is_missing = (inner == "").to_numpy()
    given = inner[~is_missing]
    if not len(given):
        raise DataError(f"{column} holds lists without values")
    has_commas = "," in given.iloc[0]
    counts = given.str.count("," if has_commas else r"\S+").to_numpy() + has_commas
    if (counts != counts[0]).any():
        bad = int(np.flatnonzero(counts != counts[0])[0])
        raise DataError(
            f"{column}: its lists must all have one length: row "
            f"{np.flatnonzero(~is_missing)[bad]} has {counts[bad]} values, the first {counts[0]}"
        )
    try:
        values = pd.read_csv(
            io.StringIO("\n".join(given)),
            sep="," if has_commas else r"\s+",
            header=None,
            dtype=np.float64,
            na_values=["null", "None"],
            quoting=csv.QUOTE_NONE,
            skipinitialspace=True,
            skip_blank_lines=False,
            **exact_decimals(),
        ).to_numpy()
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{column} holds lists that are not numbers: {error}") from error
    if len(values) != len(given):
        raise DataError(f"{column} holds {len(values)} lists in {len(given)} lines")
    matrix = np.full((len(words), values.shape[1]), np.nan)
    matrix[~is_missing] = values
    return matrix
