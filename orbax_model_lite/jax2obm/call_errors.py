"""What JAX raises when a stored function is called, in the caller's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path
from orbax_model_lite.errors import InvalidBundleError, ObmError, SignatureMismatchError, UnsupportedError
from orbax_model_lite.jax2obm.arguments import Parameters

CALL_ERRORS = (
    TypeError,
    ValueError,
    NotImplementedError,
    OverflowError,
    jax.errors.JaxRuntimeError,
)
"""Classes of the errors that a call is translated from; others pass as they are."""

_SHAPES = "Input shapes do not match the"
_FLAT_INPUT = re.compile(r"args\[(\d+)\]")


def translated(
    error: Exception, parameters: Parameters, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Exception:
    """Returns the error in our terms, or the same error where it is not about the call's form.

    Args:
      error: What the call raised.
      parameters: What the function takes.
      args: What was passed.
      kwargs: What was passed by name.
    """
    text, where = str(error), f"function {parameters.function_name!r}"
    if isinstance(error, ObmError) and not isinstance(error, SignatureMismatchError):
        return error
    if isinstance(error, NotImplementedError):
        return _no_batching(where) if "call_exported" in text else error
    if isinstance(error, TypeError) and "custom_vjp" in text and "jvp" in text:
        return beyond_stored(parameters.function_name)
    if "verifier errors" in text:
        return InvalidBundleError(
            f"{where}: expected a module that takes and gives what the signature says; found that "
            "they differ, so the order of its arguments was lost; convert the function again"
        )
    if "was exported for" in text:
        return UnsupportedError(
            f"{where}: expected a place like the one it was lowered for; found that JAX says: "
            f"{_first_line(text)}; call it outside of jit, or convert it again"
        )
    # Values say more than the tracers that the check saw first.
    with jax.enable_x64(True):
        try:
            parameters.require(args, kwargs)
        except SignatureMismatchError as e:
            return e
    return _constraint(text, parameters, args, kwargs) if _SHAPES in text else error


def beyond_stored(name: str) -> UnsupportedError:
    """Returns the error for a derivative that the bundle does not hold."""
    return UnsupportedError(
        f"function {name!r}: expected a call without derivatives beyond what was stored; found "
        "one that is differentiated; use model.lift, which gives differentiable JAX code"
    )


def _no_batching(where: str) -> UnsupportedError:
    return UnsupportedError(
        f"{where}: expected a call without vmap, since a stored program cannot be batched; found "
        "one under vmap; use model.lift, or convert it with a symbolic batch"
    )


def _constraint(
    text: str, parameters: Parameters, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> SignatureMismatchError:
    """Returns the error for sizes that break a constraint on symbolic dimensions."""
    symbolic = [
        (parameters.name_of(path), spec)
        for path, spec in flatten_with_path(parameters.tree)
        if isinstance(spec, Spec) and not spec.is_static
    ]
    names = [parameters.name_of(path) for path, _ in flatten_with_path(parameters.tree)]
    with_names = _FLAT_INPUT.sub(lambda found: _named(names, int(found[1])), text)
    stated = with_names[with_names.index(_SHAPES) :].partition(" Please see")[0]
    expected = ", ".join(f"{name} {spec}" for name, spec in symbolic)
    return SignatureMismatchError(
        f"function {parameters.function_name!r}: expected sizes that satisfy {expected}; "
        f"found that i{' '.join(stated.split())[1:]}; pass arrays of sizes that satisfy them"
    )


def _named(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"args[{index}]"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]
