"""What a diagnosis asks of a child process: JAX and TensorFlow themselves, and the programs.

Runs in that child only (`runtime.isolation_child`); the questions are put by `asking`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import (
    MissingDependencyError,
    ObmError,
    SignatureMismatchError,
    UntrustedError,
)
from orbax_model_lite.runtime import trust as gates
from orbax_model_lite.runtime.calling.platforms import no_device_text
from orbax_model_lite.runtime.trust import Trust

# What a broken installation raises when it is imported, or a platform that cannot be started.
_BROKEN: Final = (
    *(ImportError, RuntimeError, AttributeError, TypeError, ValueError, OSError),
    # JAX asserts that it has found a device.
    AssertionError,
)
_ESTIMATING: Final = "orbax_model_lite.jax2obm.estimating"


def start_jax(request: Mapping[str, Any]) -> None:
    """Imports JAX and starts its platform; what goes wrong is said by the task."""
    with contextlib.suppress(*_BROKEN):
        _lazy.load(f"{_ESTIMATING}:jax_facts")()


def start_tensorflow(request: Mapping[str, Any]) -> None:
    """Imports TensorFlow if that is asked for; what goes wrong is said by the task."""
    if request["is_imported"]:
        with contextlib.suppress(*_BROKEN):
            _import_tensorflow()


def tensorflow(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns whether TensorFlow can be imported, and what the gate says of the SavedModel."""
    found: dict[str, Any] = {"problem": "", "peak_bytes": 0, "refused": ""}
    if request["is_imported"]:
        try:
            _import_tensorflow()
            found["peak_bytes"] = _peak_bytes()
        except _BROKEN as e:
            found["problem"] = _short(e)
    bundle = read(request["path"])
    try:
        folder = gates.saved_model_folder(bundle)
        gates.require_saved_model(bundle, folder, Trust(tf_ops=request["tf_ops"]))
    except ObmError as e:
        found["refused"] = str(e)
    return found


def programs(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what JAX is here, and for each StableHLO function what it calls and takes.

    The request has "functions", a list of [name of the object, weights or None].

    Raises:
      SignatureMismatchError: If a function cannot have the sizes that are asked for.
    """
    try:
        facts = asdict(_lazy.load(f"{_ESTIMATING}:jax_facts")())
    except _BROKEN as e:
        return {"jax": {"problem": no_device_text(e)}, "programs": []}
    bundle = read(request["path"])
    trust = Trust(custom_calls=request["custom_calls"])
    found = []
    for name, weights in request["functions"]:
        for where, function in concrete_functions(name, bundle.functions[name]):
            if isinstance(function, ShloFunction):
                entry = _program(bundle, where, function, request["sizes"], trust)
                found.append(entry | {"weights_problem": _misfit(bundle, function, weights, where)})
    # With what compiling took; it is not given back.
    facts["peak_bytes"] = _peak_bytes()
    return {"jax": facts, "programs": found}


def _program(
    bundle: Bundle, where: str, function: ShloFunction, sizes: Mapping[str, int], trust: Trust
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "where": where,
        "stablehlo_version": "",
        "custom_calls": {},
        "refused": "",
        "problem": "",
        "estimate": None,
    }
    label = where.removeprefix("function ").replace("'", "")
    try:
        module = bundle.read_bytes(function.module, where=where)
        found["stablehlo_version"] = _lazy.load("orbax_model_lite.stablehlo.module:version_of")(
            module
        )
        calls = _lazy.load("orbax_model_lite.stablehlo.custom_calls:custom_calls")
        found["custom_calls"] = dict(calls(module, where=where))
        refused = _refused(label, module, trust)
        if refused:
            return found | {"refused": refused}
        estimate = _lazy.load(f"{_ESTIMATING}:estimate")
        found["estimate"] = asdict(estimate(bundle, function, sizes, name=label))
    except ObmError as e:
        is_asked_for = not sizes.keys().isdisjoint(function.signature.symbols)
        if is_asked_for and isinstance(e, SignatureMismatchError):
            raise
        found["problem"] = str(e)
    return found


def _refused(label: str, module: bytes, trust: Trust) -> str:
    try:
        gates.require_module(label, module, trust)
    except UntrustedError as e:
        return str(e)
    return ""


def _misfit(bundle: Bundle, function: ShloFunction, weights: str | None, where: str) -> str:
    """Returns why weights on disk are not those that a function takes; "" if they are."""
    value = bundle.values.get(weights or "")
    if weights is None or not isinstance(value, ExternalValue) or value.data.file is None:
        return ""
    match = _lazy.load("orbax_model_lite.jax2obm.weights.matching:match")
    try:
        found = _stored_spec(bundle.resolve(value.data), value.data.mime_type, weights)
        args = function.signature.args
        first = args[0] if args else ()
        told = f"weights {weights!r} of {where}"
        match(found, first, told, allow_extra=bool(function.data_names))
    except MissingDependencyError:
        return ""  # Told in a line of its own.
    except ObmError as e:
        return str(e)
    return ""


def _stored_spec(path: Path, mime_type: str | None, name: str) -> Tree:
    """Returns what weights on disk are, by their headers.

    A SafeTensors file is not mapped, which `weights_spec` does: all of it would count as memory.
    """
    if layout.canonical_mime_type(mime_type) != layout.MIME_SAFETENSORS:
        spec = _lazy.load("orbax_model_lite.jax2obm.weights.sources:weights_spec")
        return spec(path, mime_type)
    read_header = _lazy.load("orbax_model_lite.jax2obm.weights.safetensors_header:read_header")
    with storage_errors("reading", path), path.open("rb") as file:

        def read(begin: int, end: int) -> bytes:
            file.seek(begin)
            return file.read(end - begin)

        header = read_header(read, path.stat().st_size, f"weights {name!r}")
    return map_leaves(lambda array: array.spec, header.tree)


def _import_tensorflow() -> None:
    _lazy.load("orbax_model_lite.tf2obm.framework:tensorflow")("running TensorFlow functions")


def _peak_bytes() -> int:
    """Returns the most memory that this process has had; 0 where the system does not tell."""
    # Not getrusage: what that tells begins with the process which started this one.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
