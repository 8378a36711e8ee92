"""TensorFlow functions as functions of a bundle.

The body of such a function is a handle: the names of a signature in the bundle's SavedModel, and of
its inputs and outputs. The SavedModel itself is written by `saved_model`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from orbax_model_lite import _lazy
from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import Lowering, OpaqueFunction
from orbax_model_lite.core.tree import Tree, unflatten
from orbax_model_lite.tf2obm.arguments import Arguments, to_numpy
from orbax_model_lite.tf2obm.names import signature_key
from orbax_model_lite.tf2obm.prepare import PreparedFunction, TfCallable, prepare_function

Lower: TypeAlias = Literal["auto", "always", "never"]
"""Whether a TensorFlow function gets a StableHLO form too; see `convert_function`."""


def convert_function(
    name: str,
    fn: TfCallable,
    input_signature: Sequence[Any] | None = None,
    *,
    keyword_signature: Mapping[str, Any] | None = None,
    suppress_x64_outputs: bool = False,
    lower: Lower = "never",
    platforms: Sequence[str] | None = None,
) -> OpaqueFunction:
    """Returns the function of a bundle that stands for a TensorFlow function.

    The same callable goes to `save_tf_functions` under the same name; where options are given here,
    give both what `prepare_function` returns for them.

    Args:
      name: The object name that it will have in the bundle.
      fn: A `tf.function`, a concrete function, a method of a `tf.Module`, any callable with a
        signature, or a prepared function.
      input_signature: See `prepare_function`.
      keyword_signature: See `prepare_function`.
      suppress_x64_outputs: See `prepare_function`.
      lower: Whether the function gets a StableHLO form too, with which the bundle runs without
        TensorFlow. "auto" makes one where it is the same function and adds little, and records the
        reason where not; "always" raises where there is none. It takes any batch, or batches of 1
        and 8 where rows depend on each other. Variables become constants in it, and with "always"
        checks of values are left out.
      platforms: That the StableHLO form is for; None is cpu, cuda and tpu.

    Raises:
      InvalidModelError: If it has no signature, or takes or gives what a bundle cannot record.
      UnsupportedError: With `lower="always"`, if it has no StableHLO form; names the operation that
        stopped it.

    Example:
      >>> import tensorflow as tf
      >>> @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
      ... def double(x):
      ...     return {"y": 2 * x}
      >>> str(convert_function("double", double).signature)
      '(float32 [?, 2]) -> {y: float32 [?, 2]}'
    """
    prepared = prepare_function(
        fn,
        input_signature,
        keyword_signature=keyword_signature,
        suppress_x64_outputs=suppress_x64_outputs,
        name=name,
    )
    handle = tf_handle_pb2.TfConcreteFunctionHandle(
        fn_name=signature_key(name),
        input_names=prepared.input_names,
        output_names=prepared.output_names,
        optional_input_names=[n for n in prepared.input_names if n in prepared.defaults],
    )
    body = Data(
        content=handle.SerializeToString(deterministic=True),
        mime_type=layout.MIME_TF_FUNCTION,
        version=layout.SUPPLEMENTAL_VERSION,
    )
    return OpaqueFunction(
        signature=prepared.signature,
        body=body,
        extension=layout.PROTO_EXTENSION,
        lowering=_lowering(name, prepared, lower, platforms),
    )


def _lowering(
    name: str, prepared: PreparedFunction, lower: Lower, platforms: Sequence[str] | None
) -> Lowering | None:
    if lower not in ("auto", "always", "never"):
        raise ValueError(f"lower: expected 'auto', 'always' or 'never'; found {lower!r}")
    if lower == "never":
        return None
    # By name and on use: the rooms of two frameworks stand side by side, and most callers of this
    # one need no JAX.
    purpose = f"the StableHLO form of function {name!r}"
    lowered = _lazy.load("orbax_model_lite.tf2obm.lower:lowered", purpose=purpose)
    convert = _lazy.load("orbax_model_lite.jax2obm:convert", purpose=purpose)
    return lowered(name, prepared, lower, functools.partial(convert, platforms=platforms))


def call_original(fn: TfCallable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tree:
    """Returns what a function gives before it is packed, as the packed one will give it.

    Args:
      fn: As in `convert_function`, with a signature of its own.
      args: Positional arguments, as the packed function takes them.
      kwargs: Keyword arguments.

    Returns:
      A plain tree of NumPy arrays; strings are object arrays of bytes.

    Raises:
      InvalidModelError: See `convert_function`.
      SignatureMismatchError: If the arguments do not fit.
    """
    prepared = prepare_function(fn)
    where = f"function {getattr(fn, '__name__', 'of TensorFlow')!r}"
    arguments = Arguments(prepared.signature, prepared.input_names, where)

    def defaults() -> dict[str, Any]:
        return {name: tf.constant(value) for name, value in prepared.defaults.items()}

    outputs = prepared(*arguments.tensors(tuple(args), kwargs, defaults))
    return unflatten(prepared.signature.outputs, map(to_numpy, outputs))
