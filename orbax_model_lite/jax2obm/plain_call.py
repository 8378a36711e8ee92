"""From an author's function and specs to a function of plain trees with specs that JAX can trace.

Static arguments are bound here, names of arguments are found here. Lowering is in `lowering`.
"""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import jax

from orbax_model_lite.core.tree import (
    Path,
    Tree,
    flatten_with_path,
    format_path,
    leaves,
    map_leaves,
    unflatten,
)
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm._jax_private import static_arguments
from orbax_model_lite.jax2obm.leaf_specs import in_scope, traced_specs, with_sharding
from orbax_model_lite.jaxtypes.jax_trees import input_name
from orbax_model_lite.jaxtypes.shapes import DimScope
from orbax_model_lite.jaxtypes.trees import Kinds, NodeKind, make_plain


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlainCall:
    """A function of plain trees, and what to trace it with.

    Attributes:
      name: For messages and for the module.
      function: Takes and returns plain trees; calls the author's with the author's own objects.
      args: Plain trees of ShapeDtypeStructs, one per argument that is not static.
      kwargs: The same by name.
      argument_names: Of `args`; "" where one has none.
      input_kinds: Nodes of `(args, kwargs)` that were not plain.
      output_kinds: Filled when the function is traced.
      scope: Of all symbolic dimensions.
      is_wide: Whether a spec asks for 64-bit types, so that x64 mode is needed.
      is_jitted: Whether the author's function comes from `jax.jit`, with shardings perhaps.
    """

    name: str
    function: Callable[..., Tree]
    args: tuple[Tree, ...]
    kwargs: dict[str, Tree]
    argument_names: tuple[str, ...]
    input_kinds: Kinds
    output_kinds: dict[Path, NodeKind] = field(default_factory=dict)
    scope: DimScope
    is_wide: bool
    is_jitted: bool

    @property
    def where(self) -> str:
        """The beginning of an error message about this function."""
        return f"function {self.name!r}"

    def input_name(self, path: Path) -> str:
        """Returns the author's name of an input leaf, from its path in `(args, kwargs)`."""
        return input_name(path, self.argument_names)

    def in_scope(self, scope: DimScope) -> PlainCall:
        """Returns the same call with its symbolic dimensions in another scope."""
        args, kwargs = map_leaves(lambda leaf: in_scope(leaf, scope), (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs, scope=scope)

    def with_shardings(self, shardings: Sequence[jax.sharding.NamedSharding | None]) -> PlainCall:
        """Returns the same call with the given shardings of its inputs, by flat position."""
        found = leaves((self.args, self.kwargs))
        placed = [
            leaf if sharding is None else with_sharding(leaf, sharding)
            for leaf, sharding in zip(found, shardings, strict=True)
        ]
        args, kwargs = unflatten((self.args, self.kwargs), placed)
        return replace(self, args=args, kwargs=kwargs)


def plain_call(
    function: Callable[..., Any],
    args_spec: Sequence[Any],
    kwargs_spec: Mapping[str, Any] | None,
    *,
    name: str | None = None,
    static_argnames: str | Sequence[str] = (),
    constraints: Sequence[str] = (),
) -> PlainCall:
    """Returns the author's function as one of plain trees.

    Args:
      function: Plain or jitted. Static arguments of a jitted function are known from it.
      args_spec: One entry per positional argument: a pytree of arrays or specs, or a static value.
      kwargs_spec: The same by keyword.
      name: By default the function's own.
      static_argnames: Names of arguments whose value is fixed at conversion.
      constraints: On symbolic dimensions.

    Raises:
      InvalidModelError: If a spec, a static argument or a constraint does not fit.
    """
    given_name = name or function_name(function)
    where = f"function {given_name!r}"
    args, kwargs = _as_call(args_spec, kwargs_spec, where)
    parts = _Parts.split(function, args, kwargs, _as_names(static_argnames), where)
    made = make_plain((parts.args, parts.kwargs), where)
    named = [
        (f"{where}, input {input_name(path, parts.argument_names)!r}", leaf)
        for path, leaf in flatten_with_path(made.tree)
    ]
    traced = traced_specs(named, tuple(constraints), where)
    plain_args, plain_kwargs = unflatten(made.tree, traced.structs)
    output_kinds: dict[Path, NodeKind] = {}

    def call(*plain_args: Tree, **plain_kwargs: Tree) -> Tree:
        own_args, own_kwargs = made.rebuild((plain_args, plain_kwargs))
        full_args, full_kwargs = parts.with_static(own_args, own_kwargs)
        output = make_plain(function(*full_args, **full_kwargs), f"{where}, output")
        output_kinds.update(output.kinds)
        _require_arrays(output.tree, where)
        return output.tree

    call.__name__ = call.__qualname__ = given_name
    # JAX takes the argument names in the module's locations from here.
    call.__signature__ = parts.signature
    return PlainCall(
        name=given_name,
        function=call,
        args=plain_args,
        kwargs=plain_kwargs,
        argument_names=parts.argument_names,
        input_kinds=made.kinds,
        output_kinds=output_kinds,
        scope=traced.scope,
        is_wide=traced.is_wide,
        is_jitted=isinstance(function, jax.stages.Wrapped),
    )


def function_name(function: Callable[..., Any]) -> str:
    """Returns the name that a callable gives itself, or that of its type."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    return getattr(function, "__name__", None) or type(function).__name__


def _as_call(
    args: Sequence[Any], kwargs: Mapping[str, Any] | None, where: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not isinstance(args, (tuple, list)):
        raise InvalidModelError(
            f"{where}: expected args_spec as a tuple with one entry per positional argument; "
            f"found {type(args).__name__}; write (spec,) for a single argument"
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InvalidModelError(
            f"{where}: expected kwargs_spec as a dict of specs by keyword; "
            f"found {type(kwargs).__name__}; pass positional specs in args_spec"
        )
    return tuple(args), dict(kwargs or {})


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A call cut into what is traced and what is static.

    Attributes:
      args: Traced positional arguments.
      kwargs: Traced keyword arguments.
      static_args: Static values by position in the full call.
      static_kwargs: Static values by name.
      argument_names: Of `args`.
      signature: Of the function that takes the traced arguments only.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    static_args: dict[int, Any]
    static_kwargs: dict[str, Any]
    argument_names: tuple[str, ...]
    signature: inspect.Signature

    @classmethod
    def split(
        cls,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        static: tuple[str, ...],
        where: str,
    ) -> _Parts:
        names = _positional_names(function, len(args))
        own_positions, own_names = static_arguments(function)
        positions = {p + len(args) if p < 0 else p for p in own_positions}
        positions |= {i for i, name in enumerate(names) if name in {*static, *own_names}}
        unknown = [name for name in static if name not in names and name not in kwargs]
        if unknown:
            known = ", ".join([name for name in names if name] + list(kwargs)) or "none"
            raise InvalidModelError(
                f"{where}: expected static_argnames among the given arguments ({known}); found "
                f"{unknown[0]!r}; give its value in args_spec or kwargs_spec"
            )
        static_names = {*static, *own_names}
        kept = [i for i in range(len(args)) if i not in positions]
        traced_kwargs = {k: v for k, v in kwargs.items() if k not in static_names}
        argument_names = tuple(names[i] for i in kept)
        return cls(
            args=tuple(args[i] for i in kept),
            kwargs=traced_kwargs,
            static_args={i: args[i] for i in sorted(positions) if i < len(args)},
            static_kwargs={k: v for k, v in kwargs.items() if k in static_names},
            argument_names=argument_names,
            signature=_traced_signature(argument_names, traced_kwargs),
        )

    def with_static(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns the full call: static values put back where they were."""
        source = iter(args)
        count = len(args) + len(self.static_args)
        full = [
            self.static_args[i] if i in self.static_args else next(source) for i in range(count)
        ]
        return tuple(full), {**kwargs, **self.static_kwargs}


def _positional_names(function: Callable[..., Any], count: int) -> list[str]:
    """Returns the names of the first `count` positional arguments; "" where there is none."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return [""] * count
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in kinds][:count]
    return names + [""] * (count - len(names))


def _traced_signature(names: Sequence[str], kwargs: Mapping[str, Any]) -> inspect.Signature:
    kinds = inspect.Parameter
    named = [kinds(name, kinds.POSITIONAL_ONLY) for name in names if name]
    if not all(names):
        named.append(kinds("args", kinds.VAR_POSITIONAL))
    if all(key.isidentifier() and not keyword.iskeyword(key) for key in kwargs):
        named += [kinds(key, kinds.KEYWORD_ONLY) for key in kwargs]
    else:
        named.append(kinds("kwargs", kinds.VAR_KEYWORD))
    # A name twice is possible: f(x, /, **kwargs) takes another x by keyword.
    is_unique = len({parameter.name for parameter in named}) == len(named)
    return inspect.Signature(named if is_unique else _ANY_CALL)


_ANY_CALL = [
    inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
    inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
]


def _require_arrays(output: Tree, where: str) -> None:
    for path, leaf in flatten_with_path(output):
        if not isinstance(leaf, (jax.Array, bool, int, float, complex)) and not hasattr(
            leaf, "dtype"
        ):
            raise InvalidModelError(
                f"{where}, output {format_path(path)!r}: expected an array; found {leaf!r} "
                f"({type(leaf).__name__}); return arrays only"
            )
