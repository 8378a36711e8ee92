"""Looking into jaxprs: the jaxprs inside, and the arrays that they hold as constants.

Both JAX 0.10 (closed jaxprs that wrap open ones) and 0.12 (one class) are read here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_SOURCE = re.compile(r"(?P<name>.+) at (?P<file>.+):\d+")
_JAXPR_TYPES = (ClosedJaxpr, Jaxpr)


def is_jaxpr(value: Any) -> bool:
    """Returns whether a value is a jaxpr, closed or open."""
    return isinstance(value, _JAXPR_TYPES)


def inner_jaxprs(parameters: dict[str, Any]) -> Iterator[Any]:
    """Yields the jaxprs among the parameters of an equation, also those in tuples and lists."""
    for value in parameters.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if is_jaxpr(item):
                yield item


def equations(jaxpr: Any) -> list[Any]:
    """Returns the equations of a closed or open jaxpr."""
    return getattr(jaxpr, "jaxpr", jaxpr).eqns


def name_of(jaxpr: Any) -> str:
    """Returns the name of the function that a jaxpr was traced from, without its file."""
    return name_and_file(jaxpr)[0]


def name_and_file(jaxpr: Any) -> tuple[str, str]:
    """Returns name and file of the function that a jaxpr was traced from; a file "" is unknown."""
    source = getattr(jaxpr, "jaxpr", jaxpr).debug_info.func_src_info or ""
    found = _SOURCE.fullmatch(source)
    return (found["name"], found["file"]) if found else ("<unknown>", "")


def constants(jaxpr: Any) -> Iterator[Any]:
    """Yields every array that a jaxpr, or one inside it, holds as a constant; scalars too.

    Rules of custom_jvp and custom_vjp are functions rather than jaxprs and are not looked into.
    """
    stack = [jaxpr]
    while stack:
        current = stack.pop()
        yield from getattr(current, "consts", ())
        for equation in equations(current):
            for atom in equation.invars:
                if isinstance(atom, Literal):
                    yield atom.val
            stack.extend(inner_jaxprs(equation.params))


def fingerprint(jaxpr: Any) -> str:
    """Returns text that two jaxprs share only if they compute the same from the same constants.

    The text of a jaxpr leaves its constants out, so their bytes are hashed.
    """
    found = hashlib.sha256(str(jaxpr).encode())
    for constant in constants(jaxpr):
        found.update(_constant_key(constant))
    return found.hexdigest()


def _constant_key(constant: Any) -> bytes:
    dtype = getattr(constant, "dtype", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        constant = jax.random.key_data(constant)
    value = np.asarray(constant)
    if value.dtype.hasobject:
        return repr(constant).encode()
    return f"{value.dtype}{value.shape}".encode() + value.tobytes()
