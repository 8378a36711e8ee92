"""Arrays that a function closes over become an argument of it, so that they can be weights.

Names for them are looked for in the function's closure.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from types import FunctionType, MethodType
from typing import Any

import jax
import jax.core
import numpy as np

from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm.plain_call import plain_call
from orbax_model_lite.jax2obm.rules.replay import Replay, replaceable_constants

Constants = dict[str, Any]


def hoist_constants(
    fn: Callable[..., Any],
    args_spec: Sequence[Any],
    kwargs_spec: Mapping[str, Any] | None = None,
    *,
    min_bytes: int = 1024,
    static_argnames: str | Sequence[str] = (),
    constraints: Sequence[str] = (),
) -> tuple[Callable[..., Any], Constants]:
    """Returns the function with its large constants as a new first argument, and their values.

    `new_fn(constants, *args, **kwargs) == fn(*args, **kwargs)` for every call. The values are a
    dict to be merged into the weights. Arrays inside jitted functions, loops, branches, checkpoints
    and custom derivatives are found too. Arrays inside other higher-order primitives stay where
    they are, and so do those that the function computes while it is traced.

    Args:
      fn: Plain or jitted.
      args_spec: As for `convert`: what to trace it with; symbolic dimensions are fine.
      kwargs_spec: The same by keyword.
      min_bytes: Smaller arrays stay constants.
      static_argnames: Arguments whose value is fixed now; those of a jitted function are known.
      constraints: On symbolic dimensions, as for `convert`.

    Raises:
      InvalidModelError: If the specs do not fit the function.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> table = np.arange(1000.0, dtype=np.float32)
      >>> lookup, constants = hoist_constants(lambda i: jnp.take(table, i), ("int32[b]",))
      >>> {name: array.shape for name, array in constants.items()}
      {'table': (1000,)}
      >>> float(lookup({"table": table + 1}, np.array([3], np.int32))[0])
      4.0
    """
    call = plain_call(
        fn, args_spec, kwargs_spec, static_argnames=static_argnames, constraints=constraints
    )
    with jax.enable_x64(True) if call.is_wide else nullcontext():
        jaxpr = jax.make_jaxpr(call.function)(*call.args, **call.kwargs)
    found = _distinct(c for c in replaceable_constants(jaxpr) if _size(c) >= min_bytes)
    values = (c if isinstance(c, jax.Array) else np.asarray(c) for c in found)
    constants = dict(zip(_names(fn, found), values, strict=True))

    @functools.wraps(fn)
    def hoisted(constants_: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        missing = constants.keys() - constants_.keys()
        if missing:
            raise InvalidModelError(
                f"function {call.name!r}, constants: expected {', '.join(constants)}; found no "
                f"{', '.join(sorted(missing))}; pass what hoist_constants returned"
            )
        return _call_with(fn, constants, constants_, args, kwargs)

    del hoisted.__wrapped__
    hoisted.__signature__ = _with_constants(fn)  # pyright: ignore[reportAttributeAccessIssue]
    return hoisted, constants


def _call_with(
    fn: Callable[..., Any],
    known: Constants,
    values: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Calls `fn` with the arrays in `known` replaced by those of the same name in `values`."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    is_array = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves]

    def of_arrays(*arrays: Any) -> Any:
        given = iter(arrays)
        mixed = [next(given) if a else leaf for a, leaf in zip(is_array, leaves, strict=True)]
        own_args, own_kwargs = jax.tree.unflatten(tree, mixed)
        return fn(*own_args, **own_kwargs)

    arrays = [leaf for a, leaf in zip(is_array, leaves, strict=True) if a]
    jaxpr, shapes = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays)
    replay = Replay(key_of=_Matcher(known), values=values)
    return jax.tree.unflatten(jax.tree.structure(shapes), replay(jaxpr, *arrays))


class _Matcher:
    """Finds the name of an array among known ones.

    The same object is preferred. An author's function may also make an equal array every time that
    it is traced; equal ones are then taken in their order.
    """

    def __init__(self, known: Constants) -> None:
        self._known = known
        # The arrays are kept so that no other object gets their ids.
        self._found: dict[int, tuple[Any, str | None]] = {
            id(array): (array, name) for name, array in known.items()
        }
        self._made_again: set[str] = set()

    def __call__(self, array: Any) -> str | None:
        if not _size(array):
            return None
        if id(array) not in self._found:
            self._found[id(array)] = (array, self._equal(array))
        return self._found[id(array)][1]

    def _equal(self, array: Any) -> str | None:
        equal = [name for name, value in self._known.items() if _is_equal(array, value)]
        unused = [name for name in equal if name not in self._made_again]
        self._made_again.update(unused[:1])
        return next(iter([*unused, *reversed(equal)]), None)


def _distinct(found: Iterator[Any]) -> list[Any]:
    return list({id(array): array for array in found}.values())


def _size(constant: Any) -> int:
    """Returns the size in bytes; 0 for what cannot be a weight: keys, traced and Python values."""
    if isinstance(constant, jax.core.Tracer) or not isinstance(constant, (np.ndarray, jax.Array)):
        return 0
    extended = jax.dtypes.issubdtype(constant.dtype, jax.dtypes.extended)
    return 0 if extended else constant.nbytes


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if not _size(one) or (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    return np.asarray(one).tobytes() == np.asarray(other).tobytes()


def _with_constants(fn: Callable[..., Any]) -> inspect.Signature:
    first = inspect.Parameter("constants", inspect.Parameter.POSITIONAL_ONLY)
    try:
        own = inspect.signature(fn)
    except (TypeError, ValueError):
        rest = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        return inspect.Signature([first, *rest])
    return own.replace(parameters=[first, *own.parameters.values()])


def _names(fn: Callable[..., Any], found: Sequence[Any]) -> list[str]:
    """Returns a name for each array: where the function's closure holds it, else a number."""
    captured = list(_captured(fn, 0))
    names: list[str] = []
    for i, array in enumerate(found):
        same = [name for name, value in captured if value is array]
        equal = same or [name for name, value in captured if _is_equal(array, value)]
        stem = equal[0] if equal else f"constant_{i}"
        taken = [stem, *(f"{stem}_{k}" for k in range(1, len(found) + 1))]
        names.append(next(name for name in taken if name not in names))
    return names


def _captured(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yields (name, array) of what a function closes over, through functions it closes over."""
    if isinstance(value, functools.partial):
        parts = {str(i): part for i, part in enumerate(value.args)} | value.keywords
        yield from _named_arrays(parts, depth)
        yield from _captured(value.func, depth)
    if isinstance(value, MethodType):
        yield from _named_arrays({"self": value.__self__}, depth)
    function = inspect.unwrap(value) if callable(value) else value
    function = getattr(function, "__func__", function)
    if isinstance(function, FunctionType) and depth < 4:
        found = inspect.getclosurevars(function)
        yield from _named_arrays(found.nonlocals, depth + 1)
        yield from _named_arrays({k: v for k, v in found.globals.items() if not callable(v)}, 4)


def _named_arrays(values: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if callable(value) and jax.tree_util.all_leaves([value]):
            yield from _captured(value, depth)
            continue
        for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
            if _size(leaf):
                yield _word(name + jax.tree_util.keystr(path)), leaf


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")
