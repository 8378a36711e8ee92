"""Opaque functions that have a StableHLO form: the form runs, the function itself only if need be.

So a TensorFlow function runs where TensorFlow is not installed, and without importing it where it
is. Arguments may be given as for the function itself: by name, and as lists of numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from orbax_model_lite.core.arguments import as_arrays, is_array
from orbax_model_lite.core.function import Lowering, OpaqueFunction, PolymorphicFunction
from orbax_model_lite.errors import MissingDependencyError, UnsupportedError
from orbax_model_lite.runtime.polymorphic import PolymorphicCallable

Bind = Callable[[Any], Callable[..., Any]]


@final
class LoweredCallable:
    """A function with a StableHLO form, as a callable."""

    def __init__(
        self,
        name: str,
        function: OpaqueFunction,
        bind: Bind,
        parameter_names: Sequence[str | None],
    ) -> None:
        """Binds the form, or the function itself where the form cannot run here.

        Args:
          name: Of the function.
          function: With a lowering that has a form.
          bind: Gives a concrete function as a callable.
          parameter_names: Of its positional arguments; None where one has none.

        Raises:
          InvalidBundleError: If the form is damaged.
          UntrustedError: If the form calls what was not granted.
        """
        assert function.lowering is not None
        self._name = name
        self._function = function
        self._names = tuple(parameter_names)
        self._bind = bind
        try:
            self._form = self._bound_form(function.lowering)
        except (UnsupportedError, MissingDependencyError) as e:
            self._form = self._itself(str(e))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function; takes what it takes, gives the same trees of arrays.

        Raises:
          SignatureMismatchError: If the arguments do not fit.
          MissingDependencyError: If the form cannot run here or at these sizes, and what the
            function itself needs is not installed.
        """
        if (
            kwargs
            or len(args) != len(self._function.signature.args)
            or not all(map(is_array, args))
        ):
            args, kwargs = as_arrays(self._function.signature, self._names, args, kwargs)
        return self._form(*args, **kwargs)

    def _bound_form(self, lowering: Lowering) -> Callable[..., Any]:
        form = lowering.function
        if not isinstance(form, PolymorphicFunction):
            return self._bind(form)
        variants = functools.cache(lambda i: self._bind(form.functions[i]))
        signatures = [function.signature for function in form.functions]
        choice = PolymorphicCallable(self._name, signatures, variants)
        sizes = "; ".join(map(str, signatures))
        itself = self._itself(f"its StableHLO form takes only {sizes}")

        def run(*args: Any, **kwargs: Any) -> Any:
            index = choice.find(*args, **kwargs)
            return (itself if index is None else variants(index))(*args, **kwargs)

        return run

    def _itself(self, why: str) -> Callable[..., Any]:
        """Returns the function itself, as a callable that says why it and not the form is run."""

        @functools.cache
        def bound() -> Callable[..., Any]:
            return self._bind(self._function)

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return bound()(*args, **kwargs)
            except MissingDependencyError as e:
                raise MissingDependencyError(f"{e}\nfunction {self._name!r}: {why}") from e

        return run
