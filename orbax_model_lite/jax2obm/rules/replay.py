"""A jaxpr evaluated again with some of its constants or equations replaced, however deep they are.

What has nothing to replace inside is bound as it stands. Where there is something, `rebuilt` builds
loops, branches, jitted calls, checkpoints and custom derivatives again around the replaced inside;
other higher-order primitives are bound as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, final

import jax
from jax.extend.core import Literal

from orbax_model_lite.jax2obm.rules.jaxprs import equations, inner_jaxprs
from orbax_model_lite.jax2obm.rules.parts import TRACING_ERRORS, RuleParts, jvp_parts, vjp_parts
from orbax_model_lite.jax2obm.rules.rebuilt import CUSTOM, REBUILT


@final
class Replay:
    """Evaluates jaxprs with replacements; to be used within one trace.

    Args:
      key_of: Returns the key of an array that a jaxpr holds and that is to be replaced; else None.
      values: What replaces the arrays, by key.
      equation: Returns the function to use instead of an equation's primitive, which takes and
        returns flat lists; None keeps it.
    """

    def __init__(
        self,
        *,
        key_of: Callable[[Any], str | None] = lambda _: None,
        values: Mapping[str, Any] = MappingProxyType({}),
        equation: Callable[[Any], Callable[..., Sequence[Any]] | None] = lambda _: None,
    ) -> None:
        self._key_of = key_of
        self._values = values
        self._equation = equation
        # By id of an object that is kept, so that no other one gets its id.
        self._touched: dict[int, tuple[Any, bool]] = {}
        self._parts: dict[int, tuple[Any, RuleParts | None]] = {}

    def with_values(self, values: Mapping[str, Any]) -> Replay:
        """Returns the same replacements with other values for the arrays."""
        return Replay(key_of=self._key_of, values=values, equation=self._equation)

    def values_of(self, keys: Sequence[str]) -> list[Any]:
        """Returns what replaces the arrays with these keys."""
        return [self._values[key] for key in keys]

    def keys_in(self, *jaxprs: Any) -> list[str]:
        """Returns the keys of the arrays in jaxprs that are to be replaced, sorted."""
        found = {self._key_of(c) for jaxpr in jaxprs for c in replaceable_constants(jaxpr)}
        return sorted(key for key in found if key is not None)

    def __call__(self, jaxpr: Any, *arguments: Any) -> list[Any]:
        """Returns the results of a closed jaxpr for flat arguments."""
        return self.evaluate(jaxpr, jaxpr.consts, arguments)

    def evaluate(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Returns the results of a closed or open jaxpr with its constants given apart."""
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        values = dict(zip(jaxpr.constvars, map(self._replaced, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return self._replaced(atom.val) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            results = self._run(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def touches(self, jaxpr: Any) -> bool:
        """Returns whether a jaxpr, or one inside it, holds something to replace."""
        if id(jaxpr) not in self._touched:
            self._touched[id(jaxpr)] = (jaxpr, self._find(jaxpr))
        return self._touched[id(jaxpr)][1]

    def parts_of(self, parameters: dict[str, Any]) -> RuleParts | None:
        """Returns the rule of a custom_jvp or custom_vjp call; None if it cannot be traced."""
        if id(parameters) not in self._parts:
            try:
                of_call = jvp_parts if "jvp_jaxpr_fun" in parameters else vjp_parts
                self._parts[id(parameters)] = (parameters, of_call(parameters))
            except TRACING_ERRORS:
                self._parts[id(parameters)] = (parameters, None)
        return self._parts[id(parameters)][1]

    def _is_touched_inside(self, equation: Any) -> bool:
        inside = list(inner_jaxprs(equation.params))
        if equation.primitive.name in CUSTOM:
            parts = self.parts_of(equation.params)
            inside += parts.jaxprs.values() if parts else []
        return any(map(self.touches, inside))

    def _find(self, jaxpr: Any) -> bool:
        literals = (
            atom.val
            for equation in equations(jaxpr)
            for atom in equation.invars
            if isinstance(atom, Literal)
        )
        if any(self._key_of(c) is not None for c in (*getattr(jaxpr, "consts", ()), *literals)):
            return True
        return any(
            self._equation(equation) is not None or self._is_touched_inside(equation)
            for equation in equations(jaxpr)
        )

    def _replaced(self, value: Any) -> Any:
        key = self._key_of(value)
        return value if key is None else self._values[key]

    def _run(self, equation: Any, arguments: list[Any]) -> Sequence[Any]:
        primitive = equation.primitive
        with ExitStack() as stack:
            scope = str(equation.source_info.name_stack)
            if scope:
                stack.enter_context(jax.named_scope(scope))
            stack.enter_context(equation.ctx.manager)
            own = self._equation(equation)
            if own is not None:
                return own(*arguments)
            again = REBUILT.get(primitive.name)
            if again is not None and self._is_touched_inside(equation):
                results = again(self, equation.params, arguments)
                if results is not None:
                    return results
            results = primitive.bind(*arguments, **primitive.get_bind_params(equation.params))
            return results if primitive.multiple_results else [results]


def replaceable_constants(jaxpr: Any) -> Iterator[Any]:
    """Yields the arrays in a jaxpr that a replay can replace; a repeated one each time."""
    stack = [jaxpr]
    while stack:
        current = stack.pop()
        yield from getattr(current, "consts", ())
        for equation in equations(current):
            yield from (atom.val for atom in equation.invars if isinstance(atom, Literal))
            if equation.primitive.name in REBUILT:
                stack.extend(inner_jaxprs(equation.params))
