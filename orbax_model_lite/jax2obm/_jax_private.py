"""The names of JAX that have no public spelling; each may move in any release.

Nothing else in this package spells a private name of JAX (one of jaxlib is in
`stablehlo`). Each one exists in JAX 0.10 and 0.12 and has a test, so that a new version that moves
it is noticed there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.export

# What JAX raises where a custom_vjp is to be differentiated by a value that it closes over.
from jax._src.interpreters.ad import CustomVJPException

__all__ = ["CustomVJPException", "export_with_rules", "exported_of", "static_arguments"]


def static_arguments(function: Callable[..., Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Returns positions and names of a jitted function's static arguments; none of any other."""
    info = getattr(function, "_jit_info", None)
    return (tuple(info.static_argnums), tuple(info.static_argnames)) if info else ((), ())


def export_with_rules(
    jitted: Callable[..., Any],
    *,
    platforms: Sequence[str] | None,
    disabled_checks: Sequence[jax.export.DisabledSafetyCheck] = (),
    rules: Sequence[tuple[Any, Callable[..., Any]]],
) -> Callable[..., jax.export.Exported]:
    """Returns `jax.export.export` with lowering rules that go before JAX's own.

    Lowering rules can otherwise only be replaced for the whole process, which would change every
    other use of JAX in it and in its other threads.
    """
    return jax.export.export(
        jitted,  # pyright: ignore[reportArgumentType]  # a jitted function, for which JAX has no public type
        platforms=platforms,
        disabled_checks=disabled_checks,
        _override_lowering_rules=rules,
    )


def exported_of(
    inputs: Sequence[jax.ShapeDtypeStruct], outputs: Sequence[jax.ShapeDtypeStruct], **facts: Any
) -> jax.export.Exported | None:
    """Returns a function of flat arguments without shardings, from all that is known of it.

    Exporting a stub gives the same through public names only, but takes longer.

    Args:
      inputs: Shapes and types.
      outputs: Shapes and types.
      **facts: The other public fields of an Exported.

    Returns:
      The function; None if the Exported of this JAX has fields that are not known here.
    """
    in_avals, out_avals = (
        tuple(jax.core.ShapedArray(struct.shape, struct.dtype) for struct in structs)
        for structs in (inputs, outputs)
    )
    nowhere_in, nowhere_out = (None,) * len(in_avals), (None,) * len(out_avals)
    found = {
        **facts,
        "in_tree": jax.tree.structure((tuple(range(len(in_avals))), {})),
        "out_tree": jax.tree.structure(tuple(range(len(out_avals)))),
        "in_avals": in_avals,
        "out_avals": out_avals,
        "in_shardings_hlo": nowhere_in,
        "out_shardings_hlo": nowhere_out,
        "_in_named_shardings": nowhere_in,
        "_out_named_shardings": nowhere_out,
        "_get_vjp": None,
    }
    names = {field.name for field in dataclasses.fields(jax.export.Exported)}
    if "_has_named_shardings" in names:
        found["_has_named_shardings"] = True
    return jax.export.Exported(**found) if names == found.keys() else None
