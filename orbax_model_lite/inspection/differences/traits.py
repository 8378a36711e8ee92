"""Small facts about one function, as texts to compare and to show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import (
    ConcreteFunction,
    Function,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.inspection.describing import kind_of
from orbax_model_lite.inspection.signatures import brief

_MOST_CHARACTERS: Final = 160


def properties(before: ConcreteFunction, after: ConcreteFunction) -> Iterator[tuple[str, str, str]]:
    """Gives (what, before, after) of small facts that differ."""
    old, new = _property_texts(before), _property_texts(after)
    for key in old:
        if key in new and old[key] != new[key]:
            yield key, _shortened(old[key]), _shortened(new[key])


def _property_texts(function: ConcreteFunction) -> dict[str, str]:
    found = {
        "gradient": function.gradient_function_name or "",
        "weights it needs": ", ".join(function.data_names) or "all",
    }
    if isinstance(function, ShloFunction):
        found["calling convention"] = str(function.calling_convention_version)
        if function.jax is not None:
            found["devices"] = str(function.jax.device_count)
            found["effects"] = ", ".join(
                (*function.jax.ordered_effects, *function.jax.unordered_effects)
            )
            found["disabled checks"] = ", ".join(function.jax.disabled_checks)
    return found


def _shortened(text: str) -> str:
    if len(text) > _MOST_CHARACTERS:
        return f"{text[:_MOST_CHARACTERS]}... ({len(text):,} characters)"
    return text or "none"


def variants(function: Function) -> tuple[ConcreteFunction, ...]:
    """Returns the concrete functions of a function; it alone unless it is polymorphic."""
    return function.functions if isinstance(function, PolymorphicFunction) else (function,)


def body(function: ConcreteFunction) -> Data:
    """Returns the payload that is the function's program."""
    return function.module if isinstance(function, ShloFunction) else function.body


def form(function: ConcreteFunction) -> Function | None:
    """Returns the StableHLO form of an opaque function; None where there is none."""
    lowering = function.lowering if isinstance(function, OpaqueFunction) else None
    return None if lowering is None else lowering.function


def needs_tensorflow(function: ConcreteFunction) -> bool:
    """Whether a call imports TensorFlow."""
    return kind_of(function) == "TensorFlow" and form(function) is None


def kind_text(function: ConcreteFunction) -> str:
    """Returns the kind of a function's body, and whether it has a StableHLO form beside it."""
    suffix = "" if form(function) is None else " with a StableHLO form"
    return kind_of(function) + suffix


def is_public(function: Function) -> bool:
    """Whether a function is for callers."""
    return any(f.visibility is Visibility.PUBLIC for f in variants(function))


def visibility(function: Function) -> str:
    """Returns "public" or "private"."""
    return "public" if is_public(function) else "private"


def function_text(function: Function) -> str:
    """Returns the signatures of a function on one line."""
    return "; ".join(brief(variant.signature) for variant in variants(function))


def recorded_text(facts: ModuleFacts | None) -> str:
    """Returns whether there are facts."""
    return "not recorded" if facts is None else "recorded"


def short(digest: str) -> str:
    """Returns the beginning of a digest, enough to tell two apart."""
    return digest[:12] or "none"
