"""Runs the TensorFlow functions of a bundle.

The SavedModel is loaded once, at the first call, and TensorFlow is imported then at the earliest.
Whether the SavedModel may be loaded at all is decided before, in `runtime.trust`.
"""

from __future__ import annotations

import functools
import posixpath
import threading
from collections.abc import Callable, Mapping
from typing import Any, final

from google.protobuf.message import DecodeError

from orbax_model_lite import _lazy
from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import FileRange
from orbax_model_lite.core.function import OpaqueFunction
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnsupportedError,
    unknown_name,
)
from orbax_model_lite.tf2obm.framework import tensorflow
from orbax_model_lite.tf2obm.loading import first_line, load_saved_model, saved_model_folder
from orbax_model_lite.tf2obm.names import matched_names
from orbax_model_lite.tf2obm.program import PROGRAM_FILE, parse

_PURPOSE = "running a TensorFlow function"


@final
class TfEngine:
    """Binds the TensorFlow functions of one bundle; safe to use from several threads."""

    def __init__(self, bundle: Bundle) -> None:
        """Prepares for a bundle; nothing is read or imported yet.

        Args:
          bundle: Whose functions will run.
        """
        self._bundle = bundle
        self._lock = threading.RLock()
        self._loaded: Any = None
        self._is_closed = False

    def bind(self, function: OpaqueFunction, *, name: str | None = None) -> Callable[..., Tree]:
        """Returns a function as a callable.

        It takes plain trees of NumPy, JAX or TensorFlow arrays, numbers, strings and lists of them
        as the signature says, and gives a plain tree of NumPy arrays; strings are object arrays of
        bytes. Inputs with a default value may be left out.

        Args:
          function: One of the bundle's functions with a handle as body.
          name: Its object name, for messages.

        Raises:
          InvalidBundleError: If the handle does not parse or its file is damaged.
        """
        handle = tf_handle_pb2.TfConcreteFunctionHandle()
        where = f"function {name!r}" if name else "TensorFlow function"
        try:
            handle.ParseFromString(self._bundle.read_bytes(function.body, where=where))
        except DecodeError as e:
            raise InvalidBundleError(
                f"{where}: expected the name of a signature as its body; found bytes that do not "
                "parse; the bundle is damaged, save it again"
            ) from e
        return _Bound(self, function, handle, where)

    def close(self) -> None:
        """Releases the SavedModel; functions that were bound cannot be called afterwards."""
        with self._lock:
            self._is_closed = True
            self._loaded = None

    def signature(self, key: str, where: str) -> Any:
        """Returns the SavedModel's callable for a signature, loading it if that is not done yet.

        Raises:
          InvalidBundleError: If the engine is closed, or the SavedModel is missing or damaged.
          UnknownNameError: If it has no such signature.
          MissingDependencyError: If TensorFlow is not installed.
        """
        with self._lock:
            if self._is_closed:
                raise InvalidBundleError(
                    f"{where}: expected an open model; found a closed one; load it again"
                )
            if self._loaded is None:
                self._loaded = load_saved_model(self._bundle, saved_model_folder(self._bundle))
            signatures = self._loaded.signatures
        if key not in signatures:
            raise unknown_name("signature", key, signatures)
        return signatures[key]

    def defaults(self, key: str) -> dict[str, Any]:
        """Returns default values of a signature's inputs, as tensors by name."""
        path = posixpath.join(saved_model_folder(self._bundle), PROGRAM_FILE)
        program = parse(self._bundle.read_bytes(FileRange(path=path)))
        tf = tensorflow(_PURPOSE)
        inputs = self.signature(key, path).structured_input_signature[1]
        return {
            name: tf.io.parse_tensor(value, inputs[name].dtype)
            for name, value in program.defaults(key).items()
            if name in inputs
        }


@final
class _Bound:
    """One function of a bundle, as a callable."""

    def __init__(
        self,
        engine: TfEngine,
        function: OpaqueFunction,
        handle: tf_handle_pb2.TfConcreteFunctionHandle,
        where: str,
    ) -> None:
        self._engine = engine
        self._function = function
        self._handle = handle
        self._where = where
        self.__name__ = handle.fn_name
        self.__doc__ = f"Runs {where}: {function.signature}."

    def prepare(self) -> None:
        """Loads now what the first call would: TensorFlow and the SavedModel.

        Raises:
          InvalidBundleError: If the SavedModel is damaged, or its model is closed.
          MissingDependencyError: If TensorFlow is not installed.
        """
        self._engine.signature(self._handle.fn_name, self._where)

    def __call__(self, *args: Any, **kwargs: Any) -> Tree:
        """Runs the function.

        Raises:
          SignatureMismatchError: If the arguments do not fit, or an operation refuses them.
          InvalidBundleError: If the SavedModel is damaged, or its model is closed.
          UnsupportedError: If TensorFlow cannot run it on this machine.
        """
        signature = self._engine.signature(self._handle.fn_name, self._where)
        call = self._call
        inputs = call.arguments.tensors(args, kwargs, self._defaults)
        outputs = _run(signature, dict(zip(call.input_names, inputs, strict=True)), self._where)
        arrays = [
            call.to_numpy(outputs[name]).astype(spec.dtype.numpy, copy=False)
            for name, spec in zip(call.output_names, call.output_specs, strict=True)
        ]
        return unflatten(self._function.signature.outputs, arrays)

    def _defaults(self) -> Mapping[str, Any]:
        return self._default_values

    @functools.cached_property
    def _default_values(self) -> dict[str, Any]:
        return self._engine.defaults(self._handle.fn_name)

    @functools.cached_property
    def _call(self) -> _Call:
        concrete = self._engine.signature(self._handle.fn_name, self._where)
        return _Call(self._function, self._handle, concrete, self._where)


@final
class _Call:
    """How one function is called: names of its tensors, and what turns arguments into them."""

    __slots__ = ("arguments", "input_names", "output_names", "output_specs", "to_numpy")

    def __init__(
        self,
        function: OpaqueFunction,
        handle: tf_handle_pb2.TfConcreteFunctionHandle,
        concrete: Any,
        where: str,
    ) -> None:
        signature = function.signature
        inputs = _tensors(signature.input_paths(), where)
        outputs = _tensors(flatten_with_path(signature.outputs), where)
        given = concrete.structured_input_signature[1]
        returned = concrete.structured_outputs
        self.input_names = matched_names(handle.input_names, inputs, given, f"{where}, inputs")
        self.output_names = matched_names(
            handle.output_names, outputs, returned, f"{where}, outputs"
        )
        self.output_specs = [spec for _, spec in outputs]
        for name, (_, spec) in zip(self.input_names, inputs, strict=True):
            _require_dtype(spec, given[name].dtype.name, f"{where}, input {name!r}")
        for name, (_, spec) in zip(self.output_names, outputs, strict=True):
            _require_dtype(spec, returned[name].dtype.name, f"{where}, output {name!r}", wide=True)
        arguments = _lazy.load("orbax_model_lite.tf2obm.arguments")
        self.arguments = arguments.Arguments(signature, self.input_names, where)
        self.to_numpy = arguments.to_numpy


def _tensors(leaves: list[tuple[Path, Any]], where: str) -> list[tuple[Path, Spec]]:
    for path, leaf in leaves:
        if not isinstance(leaf, Spec):
            raise InvalidBundleError(
                f"{where}, {format_path(path)!r}: expected a tensor, as TensorFlow functions take "
                f"and give; found a {leaf}; save the bundle again"
            )
    return leaves


def _require_dtype(spec: Spec, found: str, where: str, *, wide: bool = False) -> None:
    """Checks a dtype; with `wide`, the SavedModel may give 64 bits where 32 are recorded."""
    fits = {spec.dtype.value}
    if wide:
        fits.add(_WIDER.get(spec.dtype.value, spec.dtype.value))
    if found not in fits:
        raise InvalidBundleError(
            f"{where}: expected {spec.dtype.value}, as the bundle records; found {found} in the "
            "SavedModel; the two do not belong together, save the bundle again"
        )


_WIDER = {
    "float32": "float64",
    "int32": "int64",
    "uint32": "uint64",
    "complex64": "complex128",
}


def _run(signature: Callable[..., Any], inputs: dict[str, Any], where: str) -> Mapping[str, Any]:
    tf = tensorflow(_PURPOSE)
    try:
        return signature(**inputs)
    # TensorFlow says "no kernel for this device" with NotImplementedError.
    except (tf.errors.OpError, NotImplementedError) as e:
        is_about_values = isinstance(e, (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError))
        if is_about_values and "No OpKernel" not in first_line(e):
            raise SignatureMismatchError(
                f"{where}: expected values that its operations accept; found {first_line(e)}; "
                "check the values of its inputs"
            ) from e
        raise UnsupportedError(
            f"{where}: expected TensorFlow {tf.__version__} to run it here; found "
            f"{first_line(e)}; run it where it was made, or make it again"
        ) from e
