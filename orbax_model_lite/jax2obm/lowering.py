"""A function of plain trees, traced and lowered by jax.export for every platform that can take it.

What JAX raises on the way is translated here. What becomes of the module is `convert`'s matter.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.export
from jax.sharding import NamedSharding

from orbax_model_lite.core.tree import leaves
from orbax_model_lite.errors import InvalidModelError, ObmError, UnsupportedError
from orbax_model_lite.jax2obm import symbolic_errors
from orbax_model_lite.jax2obm._jax_private import export_with_rules
from orbax_model_lite.jax2obm.plain_call import PlainCall
from orbax_model_lite.jax2obm.portable import portable_module
from orbax_model_lite.jax2obm.rules.hidden import has_hidden_rules, with_visible_rules
from orbax_model_lite.jax2obm.rules.recorder import RuleRecorder

DEFAULT_PLATFORMS = ("cpu", "cuda", "tpu")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A lowered function.

    Attributes:
      exported: What jax.export made of it.
      module: Its module as a bundle holds it: derivative rules marked, no paths, one version.
    """

    exported: jax.export.Exported
    module: bytes


# JAX has no class of its own for what does not lower: each primitive and platform has another.
_LOWERING_ERRORS = (NotImplementedError, ValueError, TypeError, RuntimeError, KeyError)
_PRIMITIVE = re.compile(r"primitive '?(?P<name>\w+)'?")
_CUSTOM_CALL = re.compile(r"custom_call @(?P<name>\"[^\"]+\"|[\w.$]+)\(")


def lower(
    call: PlainCall,
    *,
    platforms: Sequence[str] | None,
    disabled_checks: Sequence[jax.export.DisabledSafetyCheck],
) -> Lowered:
    """Returns the exported function, for those of the platforms that it lowers for.

    Args:
      call: What to lower; its `output_kinds` are filled.
      platforms: Lower-case names; None takes cpu, cuda and tpu, and the one at hand.
      disabled_checks: Of jax.export.

    Raises:
      InvalidModelError: If the function cannot be traced, has effects, or does not lower for the
        platform at hand.
      UnsupportedError: If it lowers for none of the platforms.
    """
    asked = _platforms(platforms, call.where)
    with _x64(call):
        call, jitted = _jitted(call)

        def export(on: Sequence[str]) -> tuple[jax.export.Exported, RuleRecorder]:
            recorder = RuleRecorder()
            make = export_with_rules(
                jitted,
                platforms=on,
                disabled_checks=disabled_checks,
                rules=recorder.lowering_rules(),
            )
            return make(*call.args, **call.kwargs), recorder

        exported, recorder = _on_platforms(export, asked, call.where)
        _require_pure(exported, call.where)
        module = portable_module(exported, recorder, where=call.where)
    return Lowered(exported=exported, module=module)


def _x64(call: PlainCall) -> AbstractContextManager[Any]:
    return jax.enable_x64(True) if call.is_wide else nullcontext()


def _platforms(platforms: Sequence[str] | None, where: str) -> tuple[str, ...]:
    if platforms is None:
        return tuple(dict.fromkeys([*DEFAULT_PLATFORMS, jax.export.default_export_platform()]))
    asked = (platforms,) if isinstance(platforms, str) else tuple(dict.fromkeys(platforms))
    wrong = [name for name in asked if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]
    if wrong or not asked or "gpu" in asked:
        raise InvalidModelError(
            f"{where}: expected platforms among cpu, cuda, rocm and tpu in lower case; "
            f"found {asked!r}; name at least one"
        )
    return asked


def _jitted(call: PlainCall) -> tuple[PlainCall, Any]:
    """Returns the call and its jitted function, with the shardings of a jitted author's function.

    Raises:
      InvalidModelError: If it cannot be traced.
    """
    jitted = jax.jit(call.function)
    traced = _trace(call, jitted)
    if has_hidden_rules(traced.jaxpr):
        call = replace(call, function=with_visible_rules(call.function))
        jitted = jax.jit(call.function)
    if not call.is_jitted:
        return call, jitted
    inputs, outputs = _inner_shardings(traced)
    if not any(inputs) and not any(outputs):
        return call, jitted
    given = [leaf.sharding for leaf in leaves((call.args, call.kwargs))]
    call = call.with_shardings([own or other for own, other in zip(given, inputs, strict=True)])
    # By keyword and in the form of the tree, where None means that JAX may choose.
    tree = jax.tree.unflatten(jax.tree.structure(traced.out_info), outputs)
    jitted = jax.jit(call.function, out_shardings=tree)
    return call, jitted


def _trace(call: PlainCall, jitted: Any) -> Any:
    try:
        return jitted.trace(*call.args, **call.kwargs)
    except ObmError:
        raise
    except symbolic_errors.ERRORS as e:
        retrace = lambda other: jax.jit(other.function).trace(*other.args, **other.kwargs)  # noqa: E731
        found = symbolic_errors.translated(e, call, retrace)
        if found is None:
            raise
        raise found from e


def _inner_shardings(
    traced: Any,
) -> tuple[list[NamedSharding | None], list[NamedSharding | None]]:
    """Returns the shardings that the author gave to `jax.jit`, by flat input and output."""
    jaxpr = getattr(traced.jaxpr, "jaxpr", traced.jaxpr)
    inputs: dict[Any, NamedSharding] = {}
    outputs: dict[Any, NamedSharding] = {}
    for equation in jaxpr.eqns:
        if "in_shardings" not in equation.params or "out_shardings" not in equation.params:
            continue
        inputs |= _named(equation.invars, equation.params["in_shardings"])
        outputs |= _named(equation.outvars, equation.params["out_shardings"])
    return [inputs.get(v) for v in jaxpr.invars], [_get(outputs, v) for v in jaxpr.outvars]


def _named(variables: Iterable[Any], shardings: Iterable[Any]) -> dict[Any, NamedSharding]:
    pairs = zip(variables, shardings, strict=True)
    return {v: s for v, s in pairs if isinstance(s, NamedSharding) and hasattr(v, "aval")}


def _get(found: Mapping[Any, NamedSharding], variable: Any) -> NamedSharding | None:
    # A constant output is a literal, which cannot be a key.
    return None if hasattr(variable, "val") else found.get(variable)


def _on_platforms(
    export: Callable[[Sequence[str]], tuple[jax.export.Exported, RuleRecorder]],
    asked: tuple[str, ...],
    where: str,
) -> tuple[jax.export.Exported, RuleRecorder]:
    try:
        return export(asked)
    except _LOWERING_ERRORS as e:
        first = e
    failures: dict[str, BaseException] = {}
    for platform in asked:
        try:
            export((platform,))
        except _LOWERING_ERRORS as e:
            failures[platform] = e
    at_hand = jax.export.default_export_platform()
    kept = tuple(platform for platform in asked if platform not in failures)
    if at_hand in failures:
        raise _not_lowered(failures[at_hand], at_hand, where) from failures[at_hand]
    if not kept:
        raise _not_lowered(first, " or ".join(asked), where) from first
    for platform, failure in failures.items():
        warnings.warn(
            f"{where}: does not lower for {platform} ({_reason(failure)}); left out, so it will "
            f"run on {', '.join(kept)} only",
            stacklevel=4,
        )
    return export(kept)


def _not_lowered(error: BaseException, platform: str, where: str) -> ObmError:
    text = str(error)
    if "host_callbacks" in text or "callback" in text:
        return InvalidModelError(
            f"{where}: expected a computation without Python callbacks; found one (jax.debug, "
            "pure_callback or io_callback), which a bundle cannot hold; remove it"
        )
    if "Cannot solve for values of dimension variables" in text:
        return InvalidModelError(
            f"{where}: expected every symbol in at least one input dimension that is linear in it; "
            f"found {text.partition('. ')[2].partition('. Please')[0]}; add an input dimension "
            "that is the symbol alone"
        )
    if "custom calls whose targets" in text:
        names = sorted({name.strip('"') for name in _CUSTOM_CALL.findall(text)})
        check = f"custom_call:{names[0]}" if names else "custom_call:<target>"
        return InvalidModelError(
            f"{where}: expected custom calls that JAX keeps stable; found {', '.join(names)} "
            f"for {platform}; allow it with disabled_checks=({check!r},)"
        )
    return UnsupportedError(
        f"{where}: expected a function that lowers for {platform}; found {_reason(error)}; "
        "use another operation, or name other platforms"
    )


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if "custom calls whose targets" in text:
        names = sorted({name.strip('"') for name in _CUSTOM_CALL.findall(text)})
        return f"custom call {', '.join(names)}"
    found = _PRIMITIVE.search(text)
    return f"operation {found['name']!r}: {first}" if found else first


def _require_pure(exported: jax.export.Exported, where: str) -> None:
    if exported.ordered_effects:
        names = ", ".join(str(effect) for effect in exported.ordered_effects)
        raise InvalidModelError(
            f"{where}: expected a computation without ordered effects; found {names}, which need "
            "the process that made them; remove them"
        )
