"""Records as numbers by name, for programs that track experiments.

A key has the form metric/definition/parameters, as `uniformity/u_stat/t_2`.  MLflow, which is the
strictest, takes letters, digits, `_`, `-`, `.`, spaces and `/`, and may write a key as a path of
folders: so no key is a folder of another, and the parts of a key contain no other characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cl_analyze.results.tables import Param, Record

STD_ERROR = "_std_error"
"""The end of the key of a standard error."""
_OTHER = re.compile(r"[^\w.\-]")
_LONGEST_PART = 80
"""Characters of a part of a key; MLflow takes 250 for a whole one."""


def scalars(
    records: Iterable[Record], sources: Iterable[str], std_errors: bool = False
) -> dict[str, float]:
    """The values of records by keys that experiment trackers take, in the order of the records.

    Args:
        records: the records; those without a value are left out.
        sources: names of all sources; of several, each begins the keys of its records.
        std_errors: whether known standard errors are added, each under the key of its value and
            `_std_error`.

    Returns:
        key -> value.  Of several records with one key, which differ only in characters that a
        key cannot have, the second one's key ends in `.2`, and so on.

    >>> record = Record("a.npy", "uniformity", "u_stat", {"t": 2.0}, -3.5, 0.25, "nats", 100, 64)
    >>> scalars([record], ["a.npy"], std_errors=True)
    {'uniformity/u_stat/t_2': -3.5, 'uniformity/u_stat/t_2_std_error': 0.25}
    >>> list(scalars([record], ["a.npy", "b.npy"]))
    ['a.npy/uniformity/u_stat/t_2']
    """
    names = list(dict.fromkeys(sources))
    taken: set[str] = set()
    parts = {name: _distinct(_part(name), taken) for name in names}
    found: dict[str, float] = {}
    keys: set[str] = set()
    for record in records:
        if record.value is None:
            continue
        key = _key(record)
        key = _distinct(f"{parts[record.source]}/{key}" if len(names) > 1 else key, keys)
        found[key] = float(record.value)
        if std_errors and record.std_error is not None:
            found[_distinct(key + STD_ERROR, keys)] = float(record.std_error)
    return found


def _key(record: Record) -> str:
    """metric, metric/definition, metric/parameters, or metric/definition/parameters."""
    parts = [record.metric] if record.definition is None else [record.metric, record.definition]
    if record.params:
        parts.append("_".join(f"{name}_{_value(value)}" for name, value in record.params.items()))
    return "/".join(map(_part, parts))


def _value(value: Param) -> str:
    """A parameter, a whole number without its fraction: 2.0 as 2.

    >>> _value(2.0), _value(0.07), _value("a")
    ('2', '0.07', 'a')
    """
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _part(text: str) -> str:
    """A part of a key, from any text.

    >>> _part("run 1/z.npy::view[2]"), _part("..")
    ('run_1_z.npy__view_2_', '__')
    """
    text = _OTHER.sub("_", text)[-_LONGEST_PART:]
    return text if text.strip(".") else "_" * max(len(text), 1)


def _distinct(key: str, taken: set[str]) -> str:
    """The key, or with the first number from 2 on that makes it a new one; it is taken then."""
    number, new = 1, key
    while new in taken:
        number += 1
        new = f"{key}.{number}"
    taken.add(new)
    return new
