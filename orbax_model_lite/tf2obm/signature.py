"""TensorFlow's specs as a bundle's specs and as JAX's.

The wiring rule stands here for authors: what a TensorFlow function returns is turned into the
arguments that the JAX function after it is traced with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import tensorflow as tf

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import format_tree
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path, map_leaves
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.tf2obm.structures import Leaf, plain_structure


def to_spec(value: Any, where: str) -> Spec:
    """Returns the spec of a TensorFlow spec or tensor, symbolic ones included.

    Args:
      value: Anything with a shape and a dtype of TensorFlow, or a `Spec`, which stays as it is.
      where: Beginning of a message.

    Raises:
      InvalidModelError: If it is no dense tensor, or its dtype is not one of the format.
    """
    if isinstance(value, Spec):
        return value
    if not isinstance(value, (tf.TensorSpec, tf.Tensor, tf.Variable)):
        raise InvalidModelError(
            f"{where}: expected a dense tensor; found {_describe(value)}; convert it inside the "
            "function, for example with to_tensor()"
        )
    try:
        dtype = DType(value.dtype.name)
    except ValueError as e:
        raise InvalidModelError(
            f"{where}: expected a numeric, boolean or string tensor; found dtype "
            f"{value.dtype.name!r}, which a bundle cannot record; cast it inside the function"
        ) from e
    shape = value.shape
    dims = None if shape.rank is None else tuple(shape.as_list())
    return Spec(shape=dims, dtype=dtype)


def to_spec_tree(structure: Any, where: str) -> Tree:
    """Returns the plain tree of specs of a TensorFlow structure.

    Args:
      structure: Nested specs or tensors, for example `concrete_function.structured_outputs`.
      where: Beginning of a message.

    Raises:
      InvalidModelError: If a leaf is no dense tensor of a dtype of the format, or the keys of one
        mapping cannot be sorted.
    """

    def spec(leaf: Leaf) -> Spec:
        return to_spec(leaf.value, f"{where} {leaf}" if leaf.keys else where)

    return map_leaves(spec, plain_structure(structure, where))


def tf_specs_to_jax(
    structured: Any,
    *,
    batch_symbol: str = "b",
    symbol_prefix: str = "d",
    constraints: Sequence[str] = (),
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns what a JAX function gets that is called with a TensorFlow function's output.

    A tuple or list becomes positional arguments, a dict keyword arguments, a single tensor one
    positional argument. Unknown first dimensions share one symbol, other unknown dimensions get a
    symbol each, counted from 0; all are in one scope. Entries of a dict that hold only strings are
    left out, because they travel past a model.

    Args:
      structured: The output's structure: nested `tf.TensorSpec`s, tensors or `Spec`s, for example
        `concrete_function.structured_outputs`.
      batch_symbol: The symbol of unknown first dimensions.
      symbol_prefix: What the symbols of other unknown dimensions begin with.
      constraints: Constraints on the symbols, as `jax.export.symbolic_shape` takes them.

    Returns:
      Positional and keyword arguments; their leaves are `jax.ShapeDtypeStruct`s.

    Raises:
      InvalidModelError: If a tensor has no known rank, is a string that would be an argument, is
        not dense, or has a dtype that is unknown to the format.
    """
    tree = to_spec_tree(structured, "output")
    args, kwargs = _as_call(tree)
    kwargs = {key: value for key, value in kwargs.items() if not _is_text(value)}
    found = [("", args), *((key, kwargs[key]) for key in sorted(kwargs))]
    named = [(path, spec) for key, part in found for path, spec in _named(key, part)]
    shapes = _symbolic_shapes(named, batch_symbol, symbol_prefix, tuple(constraints))
    structs = iter(
        [
            jax.ShapeDtypeStruct(shape, spec.dtype.numpy)
            for shape, (_, spec) in zip(shapes, named, strict=True)
        ]
    )
    args = map_leaves(lambda _: next(structs), args)
    return args, {key: map_leaves(lambda _: next(structs), kwargs[key]) for key in sorted(kwargs)}


def _as_call(tree: Tree) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
    if isinstance(tree, dict):
        return (), tree
    if isinstance(tree, (tuple, list)):
        return tuple(tree), {}
    return () if tree is None else (tree,), {}


def _is_text(tree: Tree) -> bool:
    specs = [spec for _, spec in flatten_with_path(tree)]
    return bool(specs) and all(spec.dtype is DType.STRING for spec in specs)


def _named(key: str, tree: Tree) -> list[tuple[str, Spec]]:
    prefix = (key,) if key else ()
    return [(format_path(path), spec) for path, spec in flatten_with_path(tree, prefix)]


def _symbolic_shapes(
    named: list[tuple[str, Spec]], batch: str, prefix: str, constraints: tuple[str, ...]
) -> list[tuple[Any, ...]]:
    """Returns the shapes with symbols for what is unknown, all in one scope."""
    count = 0
    texts: list[list[str]] = []
    for path, spec in named:
        _require_for_jax(path, spec)
        dims: list[str] = []
        for position, dim in enumerate(spec.shape or ()):
            if dim is None and position:
                dims.append(f"{prefix}{count}")
                count += 1
            else:
                dims.append(batch if dim is None else str(dim))
        texts.append(dims)
    scope = jax.export.SymbolicScope(constraints)
    return [tuple(jax.export.symbolic_shape(", ".join(dims), scope=scope)) for dims in texts]


def _require_for_jax(path: str, spec: Spec) -> None:
    if spec.dtype is DType.STRING:
        raise InvalidModelError(
            f"output {path!r}: expected a dtype that JAX has; found {spec}; return a dict with the "
            "strings under keys of their own, which travel past the model"
        )
    if spec.shape is None:
        raise InvalidModelError(
            f"output {path!r}: expected a known rank, which JAX needs; found {format_tree(spec)}; "
            "set it inside the function with tf.ensure_shape"
        )


def _describe(value: Any) -> str:
    name = type(value).__name__
    return "a RaggedTensor" if name.startswith("Ragged") else f"a {name}"
