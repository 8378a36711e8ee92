"""The one reader and writer of StableHLO modules: bytes or text in, an MLIR module out, and back.

What a module contains is counted in `facts`, its positions are removed in `locations`, its
derivative rules are in `rule_marks`. Calling a module is the engine's matter.

Bytes are parsed by MLIR, which is written for compilers and not for strangers: truncated files are
refused cleanly, but about one in a hundred randomly changed ones ends the process. Whoever reads a
foreign bundle checks the digest before, or parses in a child process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What jax.extend.mlir gives too; but jax.extend imports Pallas, which every load would wait for.
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import chlo, mpmd, sdy, stablehlo

from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.stablehlo._jaxlib_private import register_dialects
from orbax_model_lite.stablehlo.nesting import MOST_BRACKETS, is_too_deep

TARGET_VERSION = "1.15.0"
"""StableHLO version that every module is written at: the one that the oldest supported JAX writes.
"""

MAGIC = b"ML\xefR"
"""First bytes of every portable artifact (and of all MLIR bytecode)."""

_PRODUCER = re.compile(rb"StableHLO_v(\d+)\.(\d+)\.(\d+)\0")


def new_context() -> ir.Context:
    """Returns an MLIR context that knows every dialect of an exported module, Shardy's included."""
    registry = ir.DialectRegistry()
    register_dialects(registry)
    context = ir.Context()
    context.enable_multithreading(False)
    context.append_dialect_registry(registry)
    for dialect in (stablehlo, sdy, chlo, mpmd):
        dialect.register_dialect(context)
    return context


def parse(
    source: bytes | str, *, context: ir.Context | None = None, where: str = "StableHLO module"
) -> ir.Module:
    """Returns the module that a portable artifact (bytes) or MLIR text (str) holds.

    Nothing is printed: what MLIR has to say is in the error.

    Args:
      source: A portable artifact of any StableHLO version that this jaxlib knows, or text.
      context: To parse into; by default a new one, which the module keeps alive.
      where: First words of an error message: which module of which bundle.

    Raises:
      InvalidBundleError: If it is neither, or is damaged.
      UnsupportedError: If it is written at a newer StableHLO version than this jaxlib knows, or
        has quantized types.
    """
    if isinstance(source, bytes):
        _require_portable_artifact(source, where)
    elif isinstance(source, str):
        _require_parsable_text(source, where)
    else:
        raise InvalidBundleError(
            f"{where}: expected a portable artifact (bytes) or MLIR text (str); found this: "
            f"{type(source).__name__}; read the file first"
        )
    context = new_context() if context is None else context
    with captured_diagnostics(context) as messages, context:
        try:
            if isinstance(source, bytes):
                return stablehlo.deserialize_portable_artifact(context, source)
            return ir.Module.parse(source)
        except (ir.MLIRError, ValueError) as e:
            details = getattr(e, "error_diagnostics", ())
            reasons = messages or [_message_of(detail) for detail in details] or [str(e)]
            if any(_QUANTIZED in reason for reason in reasons):
                raise UnsupportedError(
                    f"{where}: expected types that JAX has; found quantized ones "
                    f"({_short(reasons)}); dequantize it where it was made"
                ) from e
            kind = "a portable artifact" if isinstance(source, bytes) else "MLIR text"
            raise InvalidBundleError(
                f"{where}: expected {kind}; found {len(source)} {_UNITS[type(source)]} that do not "
                f"parse ({_short(reasons)}); get an undamaged copy"
            ) from e


def as_module(source: bytes | str | ir.Module, *, where: str = "StableHLO module") -> ir.Module:
    """Returns a module as it is, and bytes or text parsed; see `parse`.

    Raises:
      InvalidBundleError: If bytes or text do not parse.
      UnsupportedError: If it is written at a newer StableHLO version than this jaxlib knows.
    """
    return source if isinstance(source, ir.Module) else parse(source, where=where)


_UNITS = {bytes: "bytes", str: "characters"}
_QUANTIZED = '!"quant"<'
"""How MLIR quotes a quantized type, whose dialect jaxlib does not have."""


def _require_parsable_text(source: str, where: str) -> None:
    try:
        encoded = source.encode()
    except UnicodeEncodeError as e:
        raise InvalidBundleError(
            f"{where}: expected MLIR text; found a lone surrogate at character {e.start}; "
            "decode the file as UTF-8"
        ) from e
    if is_too_deep(encoded):
        raise InvalidBundleError(
            f"{where}: expected MLIR text with at most {MOST_BRACKETS} brackets open at once; "
            "found more; write it without such nesting"
        )


def _require_portable_artifact(source: bytes, where: str) -> None:
    if not source.startswith(MAGIC):
        raise InvalidBundleError(
            f"{where}: expected a StableHLO portable artifact, which begins with {MAGIC!r}; found "
            f"{len(source)} bytes that begin with {source[:8]!r}; get an undamaged copy"
        )
    found, known = version_of(source), stablehlo.get_current_version()
    if found and _numbers(found) > _numbers(known):
        raise UnsupportedError(
            f"{where}: expected StableHLO {known} or older; found one written at {found}; "
            "upgrade jax and jaxlib"
        )


def version_of(artifact: bytes) -> str:
    """Returns the StableHLO version that a portable artifact names, "1.15.0"; "" if it does not."""
    found = _PRODUCER.match(artifact, len(MAGIC) + 1)
    return ".".join(number.decode() for number in found.groups()) if found else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def serialize(
    module: ir.Module, *, version: str = TARGET_VERSION, where: str = "StableHLO module"
) -> bytes:
    """Returns the portable artifact of a module; the module itself stays as it is.

    Args:
      module: Of the dialects that `new_context` knows; Shardy's annotations are kept.
      version: StableHLO version to write at.
      where: First words of an error message.

    Raises:
      UnsupportedError: If the module needs what that version does not have.
    """
    # The serializer turns the module that it is given into VHLO in place.
    copy = clone(module)
    with captured_diagnostics(module.context) as messages:
        try:
            return stablehlo.serialize_portable_artifact(copy, version, True)
        except ValueError as e:
            raise UnsupportedError(
                f"{where}: expected a module that StableHLO {version} can express; found "
                f"{_short(messages or [str(e)])}; express it with older operations"
            ) from e


def clone(module: ir.Module) -> ir.Module:
    """Returns an independent copy of a module, in the same context."""
    copy = ir.Module.create(module.operation.location)
    for name in module.operation.attributes:
        copy.operation.attributes[name] = module.operation.attributes[name]
    for operation in module.body.operations:
        copy.body.append(operation.operation.clone())
    return copy


def text(source: bytes | ir.Module, *, locations: bool = False) -> str:
    """Returns a module as MLIR text.

    Args:
      source: A portable artifact or a parsed module.
      locations: Whether argument names and scopes are printed too.

    Raises:
      InvalidBundleError: If the bytes are not a portable artifact.
    """
    module = as_module(source)
    return str(module.operation.get_asm(enable_debug_info=locations))


def operations(root: ir.Module | ir.Operation) -> Iterator[ir.Operation]:
    """Yields an operation and all inside it, regions within regions too, in their order."""
    stack = [root.operation]
    while stack:
        operation = stack.pop()
        yield operation
        inner = [op.operation for region in operation.regions for block in region for op in block]
        stack.extend(reversed(inner))


def functions(module: ir.Module) -> dict[str, ir.Operation]:
    """Returns the functions of a module by symbol name, private ones included."""
    return {
        symbol_name(op.operation): op.operation
        for op in module.body.operations
        if op.operation.name == "func.func"
    }


def meshes(module: ir.Module) -> dict[str, sdy.MeshAttr]:
    """Returns the meshes that a module declares, by symbol name."""
    return {
        symbol_name(op.operation): sdy.MeshAttr(op.operation.attributes["mesh"])
        for op in module.body.operations
        if op.operation.name == "sdy.mesh"
    }


def mesh_axes(mesh: sdy.MeshAttr) -> list[tuple[str, int]]:
    """Returns name and size of the axes of a mesh, in its order."""
    axes = map(sdy.MeshAxisAttr, mesh.axes)
    return [(axis.name, axis.size) for axis in axes]


def symbol_name(operation: ir.Operation) -> str:
    """Returns the name that an operation defines: of a function or a mesh."""
    return string(operation.attributes["sym_name"])


def string(attribute: ir.Attribute) -> str:
    """Returns the text of a string attribute; bytes that are not UTF-8 become U+FFFD."""
    return ir.StringAttr(attribute).value_bytes.decode(errors="replace")


@contextmanager
def captured_diagnostics(context: ir.Context) -> Iterator[list[str]]:
    """Collects what MLIR reports on a context instead of letting it print to standard error."""
    messages: list[str] = []

    def keep(diagnostic: ir.Diagnostic) -> bool:
        messages.append(_message_of(diagnostic))
        return True

    handler: Any = context.attach_diagnostic_handler(keep)
    try:
        yield messages
    finally:
        handler.detach()


def _message_of(diagnostic: ir.Diagnostic | ir.DiagnosticInfo) -> str:
    try:
        return diagnostic.message
    except (RuntimeError, UnicodeDecodeError):
        # The message quotes the damaged bytes.
        return "a message that is not text"


def _short(messages: list[str]) -> str:
    text = " ".join("; ".join(messages[:2]).split())
    return text if len(text) <= 200 else text[:197] + "..."
