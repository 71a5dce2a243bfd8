"""Which columns of a table are dimensions, which are labels, ids or an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

ROLE_COLUMNS = frozenset(
    {"label", "labels", "y", "target", "targets", "class", "id", "ids", "group", "groups", "index"}
)
MATRIX = "embeddings"
"""The key of the dimensions of a table together."""
_VECTORS = frozenset({"embedding", "embeddings", "emb", "vector", "vectors", "feature", "features"})
_AT_AN_END = 2
"""Columns at either end of a row without names where labels, ids and indexes stand."""
_INDEX_NAME = re.compile(r"(?:|Unnamed: [0-9.]+|__index_level_[0-9]+__)\Z")
_NUMBERED = re.compile(r"(.*?)([0-9]+)[\])]?\Z")
_FEWEST_EVEN, _FEWEST_WHOLE = 4, 5
"""Number of values from which on even steps, and whole numbers among decimals, are no chance."""
MOST_COLUMNS = 16_384
"""Columns above which a table is refused before it is parsed: readers of tables take much longer
for a column than readers of a matrix."""


def refuse_wide(n_columns: int) -> None:
    """Raise a DataError for a table that takes minutes to read."""
    if n_columns > MOST_COLUMNS:
        raise DataError(
            f"it has {n_columns} columns, at most {MOST_COLUMNS} are read; save the matrix as .npy "
            "(rows x dimensions), or its transpose if rows are columns here"
        )


def refuse_repeated(names: Sequence[str]) -> None:
    """Raise a DataError for a table in which a name stands for two columns."""
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"column names must differ; repeated: {some(map(quoted, twice))}")


def is_index_name(name: str, position: int) -> bool:
    """Whether a column's name is one that pandas gives an index without a name.

    >>> is_index_name("", 0), is_index_name("", 3), is_index_name("__index_level_1__", 3)
    (True, False, True)
    """
    is_one = _INDEX_NAME.match(name) is not None
    return is_one and (position == 0 or bool(name))


def is_continuous(values: NDArray[Any]) -> bool:
    """Whether values are numbers that cannot be classes."""
    if values.ndim != 1 or values.dtype.kind != "f":
        return False
    present = values[np.isfinite(values)]
    return bool((present != np.floor(present)).any())


class Judged:
    """Whether numbers among decimals look like labels, ids or an index, found block by block.

    Whole numbers do, but for a column of zeros (a unit that never fires), and so do values in even
    steps, as an index of times has.
    """

    def __init__(self) -> None:
        self._n = 0
        self._whole, self._even, self._any, self._is_float = True, True, False, True
        self._largest, self._first = 0.0, 0.0
        self._last: float | None = None
        self._step: float | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Look at the next values, (n,) floats."""
        if not len(values):
            return
        present = values[np.isfinite(values)].astype(np.float64)
        self._n += len(values)
        self._whole = self._whole and not is_continuous(present)
        self._any = self._any or bool(present.any())
        self._even = self._even and len(present) == len(values)
        if not self._even:
            return
        self._is_float = values.dtype.kind == "f"
        self._largest = max(self._largest, float(np.abs(present).max()))
        if self._last is None:
            self._first = float(present[0])
            steps = np.diff(present)
        else:
            steps = np.diff(np.concatenate([[self._last], present]))
        self._last = float(present[-1])
        if not len(steps):
            return
        self._step = float(steps[0]) if self._step is None else self._step
        eps = float(np.finfo(values.dtype).eps) if self._is_float else 0.0
        slack = 8 * eps * self._largest
        self._even = abs(self._step) > slack and bool((np.abs(steps - self._step) <= slack).all())

    @property
    def is_open(self) -> bool:
        """Whether further values could still make it look like one."""
        return self._whole or self._even

    @property
    def _has_even_steps(self) -> bool:
        return self._even and self._n >= _FEWEST_EVEN

    @property
    def is_suspect(self) -> bool:
        """Whether the values that were seen look like labels, ids or an index."""
        fewest = _FEWEST_WHOLE if self._is_float else 1
        is_whole = self._whole and self._n >= fewest
        return self._any and (is_whole or self._has_even_steps)

    @property
    def counts_rows(self) -> bool:
        """Whether the values are 0, 1, 2, ... or 1, 2, 3, ..., which no dimension is."""
        return self._has_even_steps and self._step == 1.0 and self._first in (0.0, 1.0)


def judged(values: NDArray[Any]) -> Judged:
    """The judgement on a whole column.

    >>> judged(np.array([3.0, 1.0, 2.0, 2.0, 0.0])).is_suspect, judged(np.zeros(9)).is_suspect
    (True, False)
    >>> judged(np.array([0.5, 1.0, 1.5, 2.0])).is_suspect, judged(np.array([0.3, 0.9])).is_suspect
    (True, False)
    """
    column = Judged()
    column.add(values)
    return column


Judge = Callable[[Sequence[str]], Mapping[str, Judged]]
"""From names of columns to the judgements on their values."""


@dataclass(frozen=True)
class Chosen:
    """Which numeric columns are dimensions.

    Attributes:
        names: the dimensions, in their order.
        suspects: columns left out since their values look like labels, ids or an index.
        kept: dimensions whose values look like labels, ids or an index too.
    """

    names: list[str]
    suspects: Sequence[str] = ()
    kept: Sequence[str] = ()


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that are numbered alike, by the text before the number.

    >>> families(["text_0", "text_1", "loss"]), families(["emb", "emb.1", "emb.2"])
    ({'text_': ['text_0', 'text_1']}, {'emb.': ['emb', 'emb.1', 'emb.2']})
    """
    listed = list(names)
    stems: dict[str, set[str]] = {}
    for name in listed:
        match = _NUMBERED.match(name)
        if match is not None:
            stems.setdefault(match[1], set()).add(name)
    # of columns with one name pandas numbers all but the first: emb, emb.1, emb.2
    for name in {*listed} & {stem[:-1] for stem in stems if stem.endswith(".")}:
        stems[f"{name}."].add(name)
    return {
        stem: [name for name in listed if name in members]
        for stem, members in stems.items()
        if len(members) > 1
    }


def main_family(names: Collection[str]) -> str | None:
    """The text before the number of more than half of the names; None without such a text.

    >>> main_family(["dim_0", "dim_1", "score"]), main_family(["0", "1", "score"])
    ('dim_', '')
    """
    members = families(names)
    stem = max(members, key=lambda stem: len(members[stem]), default=None)
    return stem if stem is not None and 2 * len(members[stem]) > len(names) else None


def dimensions(columns: Mapping[str, np.dtype[Any]], judge: Judge, named: bool = True) -> Chosen:
    """The numeric columns that are dimensions, in their order.

    - Where more than half are numbered alike (`dim_0`, `dim_1`, ...): these columns alone.
    - Else, with at least two columns of decimals: all but the integers, where they are few, and but
      the few decimals that look like labels, ids or an index.  Many such columns are features
      (zeros and ones).  Of columns without names, which are called 0, 1, 2, ..., only columns at
      either end are left out.
    - Else: all but the columns that count the rows.

    Args:
        columns: the dtype of each.
        judge: the judgements on the values of some columns.
        named: whether names are the file's own.

    >>> f, i = np.dtype(float), np.dtype(int)
    >>> dimensions({"dim_0": f, "dim_1": f, "score": f}, lambda names: {}).names
    ['dim_0', 'dim_1']
    >>> pixels = np.array([7, 9, 4])
    >>> dimensions({"image": i, "x": f, "y": f}, lambda names: {"image": judged(pixels)})
    Chosen(names=['x', 'y'], suspects=['image'], kept=[])
    """
    stem = main_family(columns) if named else None
    if stem:  # bare numbers are what columns without names are called
        return Chosen(families(columns)[stem])
    are_numbered = stem == ""
    candidates = families(columns)[""] if are_numbered else list(columns)
    looks = judge(candidates)
    decimals = [name for name in candidates if columns[name].kind == "f"]
    kept: list[str] = []
    if len(decimals) < 2:
        out = {name for name, one in looks.items() if one.counts_rows}
        out = out if len(out) < len(candidates) - 1 else set()
    else:
        alike = {name for name, one in looks.items() if one.is_suspect}
        out = alike - set(decimals)
        if len(out) > max(2, len(decimals) / 2):  # features that happen to be whole
            out = set()
        alike -= out
        if not named or are_numbered:  # names that say nothing
            alike -= set(candidates[_AT_AN_END:-_AT_AN_END])
        if len(alike) <= max(2, 0.1 * len(decimals)) and 2 * len(alike) < len(decimals):
            out |= alike
        else:
            kept = [name for name in candidates if name in alike]
    return Chosen(
        [name for name in candidates if name not in out],
        [name for name in candidates if name in out],
        kept,
    )


def is_role(name: str, numeric: Collection[str]) -> bool:
    """Whether the name of a column says that it is a label, an id, a group or an index.

    Beside a column x of numbers one called y is a coordinate.

    >>> is_role("Label", ["Label", "a"]), is_role("y", ["x", "y", "z"])
    (True, False)
    """
    if name.lower() == "y" and "x" in {other.lower() for other in numeric}:
        return False
    return name.lower() in ROLE_COLUMNS


def matrices_of(
    numeric: Mapping[str, np.dtype[Any]], lists: Collection[str], judge: Judge, named: bool = True
) -> dict[str, Chosen]:
    """The matrices that the numeric columns of a table make, by their keys.

    One, `embeddings`; but several families, as of two views, are a matrix each where none of them
    is the larger half; the key is the text before the numbers.  Beside columns of lists the numbers
    are a matrix only where they are numbered alike, and no list is called an embedding.

    Args:
        numeric: dtypes of the columns that may be dimensions.
        lists: names of the columns of lists.
        judge, named: see `dimensions`.

    >>> views = dict.fromkeys(["t_0", "t_1", "t.0", "t.1", "i_0", "i_1"], np.dtype(float))
    >>> list(matrices_of(views, [], lambda names: {}))
    ['t_', 't.', 'i']
    """
    if len(numeric) < 2:
        return {}
    stem = main_family(numeric) if named else None
    if lists and (stem is None or any(name.lower() in _VECTORS for name in lists)):
        return {}
    members = families(numeric) if named and stem is None else {}
    members.pop("", None)
    if len(members) > 1 and 2 * sum(map(len, members.values())) > len(numeric):
        keys = [stem.rstrip("_-. [(") for stem in members]
        return {
            key if key and keys.count(key) == 1 else stem: Chosen(own)
            for key, (stem, own) in zip(keys, members.items(), strict=True)
        }
    return {MATRIX: dimensions(numeric, judge, named)}


def is_numbered_like(name: str, stem: str | None) -> bool:
    """Whether a name is `stem` and a number; no name is where `stem` is None."""
    match = _NUMBERED.match(name)
    return match is not None and match[1] == stem


def _is_at_an_end(name: str, numeric: Collection[str]) -> bool:
    """Whether few numbers of the columns without names are smaller, or few are larger."""
    matches = map(_NUMBERED.match, (name, *families(numeric).get("", [])))
    number, *others = (int(match[2]) for match in matches if match is not None)
    return min(sum(n < number for n in others), sum(n > number for n in others)) < _AT_AN_END


@dataclass
class Columns:
    """The columns of a table as a reader finds them, and the matrices that they make.

    Attributes:
        named: whether names are the file's own.
        arrays: every column that can be read, then the matrices.
        skipped: column -> why it cannot be read.
        numeric: dtypes of the columns that may be dimensions.
        left_out: columns that are no dimensions.
    """

    named: bool = True
    arrays: dict[str, RowArray] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    numeric: dict[str, np.dtype[Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def lists(self) -> list[str]:
        """Names of the columns of lists."""
        return [name for name, array in self.arrays.items() if len(array.shape) > 1]

    @property
    def stem(self) -> str | None:
        """The text before the numbers of most names; None where most are not numbered alike."""
        return main_family(self.numeric) if self.named else None

    def add_matrices(self, judge: Judge, build: Callable[[list[str]], RowArray]) -> list[str]:
        """Add the matrices of the numeric columns to the arrays.

        Args:
            judge: see `dimensions`.
            build: from the names of its columns to a matrix.

        Returns:
            Notes on the choice of the dimensions.

        Raises:
            DataError: a column between the dimensions is numbered like them, and holds no numbers;
                at either end of columns with numbers for names there may be a word for each row.
        """
        stem, lists = self.stem, self.lists
        words = dict.fromkeys(self.left_out, "it holds words")
        for name, why in {**self.skipped, **words}.items():
            if is_numbered_like(name, stem) and not (
                stem == "" and _is_at_an_end(name, self.numeric)
            ):
                raise DataError(
                    f"column {quoted(name)} is numbered like the dimensions and is no column of "
                    f"numbers: {why}; mend it, or give it another name"
                )
        notes: list[str] = []
        for key, chosen in matrices_of(self.numeric, lists, judge, self.named).items():
            if key in self.arrays:
                continue
            self.arrays[key] = build(chosen.names)
            if key == MATRIX:
                self.left_out += [*lists, *self.skipped]
                chosen_names = set(chosen.names)
                self.left_out += [name for name in self.numeric if name not in chosen_names]
                notes += self._notes(chosen)
        return notes

    def _notes(self, chosen: Chosen) -> list[str]:
        """Notes on dimensions that names do not show, on the other columns, and on guesses."""
        notes = []
        if self.named and main_family(chosen.names) is None:
            ends = [*chosen.names[:5], "...", *chosen.names[-4:]]
            listed = chosen.names if len(chosen.names) <= 10 else ends
            shown = ", ".join(name if name == "..." else quoted(name) for name in listed)
            notes.append(f"dimensions are the {len(chosen.names)} columns {shown}")
        if self.left_out:
            left_out = some(map(quoted, self.left_out), 10)
            notes.append(f"columns left out of the embeddings: {left_out}")
        looks = "look like labels, ids or an index (whole numbers or even steps among decimals)"
        if chosen.suspects:
            notes.append(
                f"of these {some(map(quoted, chosen.suspects), 10)} {looks}: if they are "
                "dimensions, number all names alike (dim_0, dim_1, ...)"
            )
        if chosen.kept:
            notes.append(
                f"{some(map(quoted, chosen.kept), 10)} {looks}, and are taken for dimensions: if "
                "they are none, save the others in a file of their own"
            )
        return notes
