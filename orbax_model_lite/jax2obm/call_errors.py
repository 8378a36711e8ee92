"""What JAX raises when a stored function is called, in the caller's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path
from orbax_model_lite.errors import (
    InvalidBundleError,
    ObmError,
    SignatureMismatchError,
    UnsupportedError,
)
from orbax_model_lite.jaxtypes.arguments import Parameters

# What JAX raises for a call: wrong forms, no rule for a transformation, numbers too large, XLA.
CALL_ERRORS = (
    TypeError,
    ValueError,
    NotImplementedError,
    OverflowError,
    jax.errors.JaxRuntimeError,
)
"""Classes of the errors that a call is translated from; others pass as they are."""

_SHAPES = "Input shapes do not match the"
_STATED = re.compile(
    rf"{_SHAPES} (?:symbolic shape constraint (?P<constraint>.+?)|polymorphic shapes [^.]*)\. "
    r"(?P<reason>.*?)\.? Using the following"
)
_SIZES = re.compile(r"'(\w+)' = (\d+) from")


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
    text, where = _all_text(error), f"function {parameters.function_name!r}"
    if isinstance(error, ObmError) and not isinstance(error, SignatureMismatchError):
        return error
    # JAX has no batching rule for the call of a stored program, and says so with this class.
    if isinstance(error, NotImplementedError):
        return _no_batching(where) if "call_exported" in text else error
    if isinstance(error, TypeError) and "custom_vjp" in text and "jvp" in text:
        return beyond_stored(parameters.function_name)
    if "verifier errors" in text:
        return InvalidBundleError(
            f"{where}: expected a module that takes and gives what the signature says; found that "
            "they differ, so the order of its arguments was lost; convert the function again"
        )
    if "Failed to deserialize StableHLO" in text:
        return InvalidBundleError(
            f"{where}: expected a StableHLO module; found bytes that do not parse; get an "
            "undamaged copy"
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
    return _constraint(text, parameters) if _SHAPES in text else error


def beyond_stored(name: str, derivative_of: str = "") -> UnsupportedError:
    """Returns the error for a derivative that the bundle does not hold.

    Args:
      name: Of the function that has none.
      derivative_of: The function that the caller differentiates, where it is another one.
    """
    return UnsupportedError(
        f"function {name!r}: expected a call without derivatives beyond what was stored; found "
        f"one that is differentiated; use model.lift({(derivative_of or name)!r}), which gives "
        "differentiable JAX code, or convert it with a larger vjp_order"
    )


def _no_batching(where: str) -> UnsupportedError:
    return UnsupportedError(
        f"{where}: expected a call without vmap, since a stored program cannot be batched; found "
        "one under vmap; use model.lift, or convert it with a symbolic batch"
    )


def _constraint(text: str, parameters: Parameters) -> SignatureMismatchError:
    """Returns the error for sizes that break a constraint on symbolic dimensions."""
    symbolic = [
        f"{parameters.name_of(path)} {spec}"
        for path, spec in flatten_with_path(parameters.tree)
        if isinstance(spec, Spec) and not spec.is_static
    ]
    stated = " ".join(text[text.index(_SHAPES) :].split())
    matched = _STATED.match(stated)
    held = f" with {matched['constraint']}" if matched and matched["constraint"] else ""
    reason = f" ({matched['reason']})" if matched else ""
    sizes = ", ".join(f"{name} = {size}" for name, size in _SIZES.findall(stated))
    return SignatureMismatchError(
        f"function {parameters.function_name!r}: expected {', '.join(symbolic)}{held}; "
        f"found {sizes or 'other sizes'}{reason}; pass arrays of sizes that fit"
    )


def _all_text(error: BaseException) -> str:
    """Returns the text of an error and of what caused it."""
    texts, cause = [], error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__
    return "\n".join(texts)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]
