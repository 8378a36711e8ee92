"""Versions and ranges of versions, as far as a diagnosis compares them.

What this package supports stands here too, so that it can be told where no record of the
installation is; a test compares it with `pyproject.toml`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

PYTHON: Final = ">=3.11,<3.14"
SUPPORTED: Final[Mapping[str, str]] = {
    "jax": ">=0.10,<0.13",
    "ml_dtypes": ">=0.5",
    "numpy": ">=2.0",
    "orbax-checkpoint": ">=0.11.36,<0.13",
    "protobuf": ">=5.29,<8",
    "tensorflow": ">=2.21",
}
EXTRAS: Final[Mapping[str, str]] = {
    "jax": "jax",
    "jaxlib": "jax",
    "tensorstore": "jax",
    "tensorflow": "tf",
}
"""Package to the extra that brings it."""
JAX_FOR: Final[Mapping[str, str]] = {
    "cuda": 'pip install "jax[cuda13]", or "jax[cuda12]" where the driver is older',
    "tpu": 'pip install "jax[tpu]"',
}
"""Platform to how a JAX for it is installed; without one, JAX has the CPU only."""

_BOUND: Final = re.compile(r"(>=|<=|==|!=|<|>|~=)\s*([\w.*+!-]+)")
_REQUIREMENT: Final = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;()]*)\)?\s*(;.*)?")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
}


@final
@dataclass(frozen=True, slots=True)
class Range:
    """Versions between bounds, such as ">=0.10,<0.13"."""

    text: str

    def is_below(self, version: str) -> bool:
        """Whether a version is older than the range begins."""
        return any(
            not _COMPARE[sign](*_aligned(version, bound))
            for sign, bound in self._bounds()
            if sign in {">=", ">"}
        )

    def is_above(self, version: str) -> bool:
        """Whether a version is newer than the range ends."""
        return any(
            not _COMPARE[sign](*_aligned(version, bound))
            for sign, bound in self._bounds()
            if sign in {"<=", "<"}
        )

    def __contains__(self, version: str) -> bool:
        """Whether a version is in the range."""
        return not (self.is_below(version) or self.is_above(version))

    def _bounds(self) -> Iterable[tuple[str, str]]:
        for sign, version in _BOUND.findall(self.text):
            if sign in {"==", "~="}:
                # Whether the end fits does not matter here: an installer saw to it.
                yield ">=", version.rstrip(".*")
            elif sign in _COMPARE:
                yield sign, version


def required(requires: Iterable[str], package: str) -> Range | None:
    """Returns what a distribution requires of a package whatever is asked of it; None for nothing.

    >>> required(["jaxlib<=0.10.2,>=0.10.1", 'jaxlib==0.10.1; extra == "ci"'], "jaxlib")
    Range(text='<=0.10.2,>=0.10.1')
    """
    for requirement in requires:
        matched = _REQUIREMENT.fullmatch(requirement)
        if matched and _plain(matched[1]) == _plain(package) and not matched[3]:
            return Range(matched[2].strip())
    return None


def is_older(version: str, other: str) -> bool:
    """Whether a version comes before another one.

    >>> is_older("0.9.2", "0.10")
    True
    """
    return operator.lt(*_aligned(version, other))


def pip_line(extras: Iterable[str]) -> str:
    """Returns how extras of this package are installed."""
    return f'pip install "orbax-model-lite[{",".join(sorted(set(extras)))}]"'


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _aligned(*versions: str) -> list[tuple[int, ...]]:
    """Returns the numbers of versions, equally many of each; what follows them does not count."""
    parts = []
    for version in versions:
        matched = re.match(r"\d+(\.\d+)*", version)
        # A bundle may claim any version; Python refuses to read very long numbers.
        parts.append([int(part[:18]) for part in matched[0].split(".")] if matched else [0])
    most = max(map(len, parts))
    return [tuple(part + [0] * (most - len(part))) for part in parts]
