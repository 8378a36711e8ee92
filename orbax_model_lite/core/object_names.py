"""Names of objects: one that no other object has."""

from __future__ import annotations

from collections.abc import Collection


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Returns `wanted`, or the first of `wanted_1`, `wanted_2`, ... that is not taken.

    >>> free_name("f", {"f", "f_1"})
    'f_2'
    """
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name
