"""Names of the groups of similarities: the positives, and the negatives nearest to each row."""

from __future__ import annotations

import re

POSITIVE = "positive"
_NEGATIVE = re.compile("negative_([0-9]{1,9})")


def negative_group(rank: int) -> str:
    """The group of the negatives of one rank; rank 1 is the nearest negative of each row.

    >>> negative_group(10)
    'negative_10'
    """
    return f"negative_{rank}"


def negative_rank(group: object) -> int | None:
    """The rank of a group of negatives; None for any other group, and for no group.

    >>> negative_rank("negative_10"), negative_rank("positive"), negative_rank(None)
    (10, None, None)
    """
    match = _NEGATIVE.fullmatch(str(group))
    return int(match[1]) if match else None
