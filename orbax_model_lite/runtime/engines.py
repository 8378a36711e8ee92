"""Which engine runs which kind of function: a table from MIME type to "module:attribute".

An engine turns a function of one bundle into a Python callable. The frameworks behind the engines
are imported on first use, so a bundle without TensorFlow functions never imports TensorFlow.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, final

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction
from orbax_model_lite.errors import UnsupportedError

_TABLE: Final[Mapping[str, str]] = {
    layout.MIME_STABLEHLO: "orbax_model_lite.jax2obm.engine:JaxEngine",
    layout.MIME_TF_FUNCTION: "orbax_model_lite.tf2obm.engine:TfEngine",
}
_TAKES_PLACEMENT: Final = frozenset({layout.MIME_STABLEHLO})
_KEEPS_WEIGHTS: Final = frozenset({layout.MIME_STABLEHLO})


class Engine(Protocol):
    """Runs the functions of one bundle that have one MIME type."""

    def bind(self, function: Any, *, name: str) -> Callable[..., Any]:
        """Returns the function as a callable on plain trees of arrays."""
        ...

    def close(self) -> None:
        """Releases executables and whatever else is held for the bundle."""
        ...


@final
class Engines:
    """The engines of one bundle, made on first use; safe to use from several threads."""

    def __init__(self, bundle: Bundle, *, placement: Mapping[str, Any]) -> None:
        """Prepares the table.

        Args:
          bundle: Whose functions are run.
          placement: Keyword arguments (devices, mesh) for the engines that place arrays.
        """
        self._bundle = bundle
        self._placement = placement
        self._made: dict[str, Engine] = {}
        self._lock = threading.RLock()

    def bind(self, name: str, function: ConcreteFunction) -> Callable[..., Any]:
        """Returns a function as a callable.

        Raises:
          UnsupportedError: If no engine knows the MIME type.
          MissingDependencyError: If the engine's framework is not installed.
        """
        with self._lock:
            return self._engine(name, function).bind(function, name=name)

    def weights_shardings(self, name: str, function: ShloFunction) -> Any:
        """Returns how the first argument of a function is split, as a plain tree of shardings.

        None where it is not split.

        Args:
          name: Of the function.
          function: StableHLO.

        Raises:
          InvalidBundleError: If its records contradict each other.
          UnsupportedError: If it cannot run on the devices that were asked for.
        """
        with self._lock:
            engine: Any = self._engine(name, function)
        return engine.weights_shardings(function, name=name)

    def _engine(self, name: str, function: ConcreteFunction) -> Engine:
        mime = layout.canonical_mime_type(function.mime_type)
        if mime not in _TABLE:
            raise UnsupportedError(
                f"function {name!r}: expected a body of type {' or '.join(sorted(_TABLE))}; "
                f"found {function.mime_type!r}; run it with the tool that wrote it"
            )
        if mime not in self._made:
            make = _lazy.load(_TABLE[mime], purpose=f"running function {name!r}")
            placement = self._placement if mime in _TAKES_PLACEMENT else {}
            self._made[mime] = make(self._bundle, **placement)
        return self._made[mime]

    def bind_weights(
        self, name: str, function: ConcreteFunction, call: Callable[..., Any], weights: Any
    ) -> Callable[..., Any]:
        """Returns a function as a callable whose first argument is given once for all calls.

        Args:
          name: Of the function.
          function: As it was bound.
          call: What `bind` returned for it.
          weights: Its first argument.
        """
        mime = layout.canonical_mime_type(function.mime_type)
        with self._lock:
            engine: Any = self._made.get(mime) if mime in _KEEPS_WEIGHTS else None
        if engine is None:
            return functools.partial(call, weights)
        return engine.bind_weights(function, weights, name=name)

    def over(self, bundle: Bundle) -> Engines:
        """Returns the engines of another bundle, with the same placement."""
        return Engines(bundle, placement=self._placement)

    def close(self) -> None:
        """Releases all engines."""
        with self._lock:
            for engine in self._made.values():
                engine.close()
            self._made.clear()
