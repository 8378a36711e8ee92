"""The engine for StableHLO functions: binds a function of a bundle to a callable under jit.

This is the direct engine: the module runs as it is stored. `rebuild` makes something that JAX can
call, `bound` calls it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import jax
import jax.export
from jax.sharding import Mesh

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError, unknown_name
from orbax_model_lite.jax2obm.bound import Bound, FlatCall
from orbax_model_lite.jax2obm.rebuild import has_known_convention, rebuild
from orbax_model_lite.jaxtypes.arguments import Parameters
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees, trees_of

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.devices.spread import Spread


@final
class JaxEngine:
    """Runs the StableHLO functions of one bundle; safe to use from several threads.

    Args:
      bundle: Whose functions are bound.
      devices: To run on, in order, whatever number a function was lowered for; JAX's default
        devices when left out.
      mesh: To run on instead; its axes mean those of the same name that a function was split over.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        devices: Sequence[Any] | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        """Prepares the engine; nothing is read or compiled yet."""
        self._bundle = bundle
        self._mesh = mesh
        given = list(mesh.devices.flat) if mesh is not None else devices
        self._devices = None if given is None else list(given)
        self._bound: dict[str, Bound] = {}
        self._lock = threading.RLock()

    def bind(self, function: ShloFunction, *, name: str | None = None) -> Callable[..., Any]:
        """Returns a function of the bundle as a callable on plain trees of arrays.

        The callable takes the arguments of the signature (NumPy or JAX arrays; typed PRNG keys;
        Python numbers where they keep their value) and runs under `jax.jit`. It may be called in
        somebody's jit, and be differentiated once where the bundle holds its VJP.

        Args:
          function: An object of the bundle, or one of a polymorphic object.
          name: For messages; by default the object's name.

        Raises:
          InvalidBundleError: If its module or records are damaged.
          UnsupportedError: If it was not lowered for the platform at hand or for its devices, or
            needs what this JAX cannot do.
        """
        name = name or self._name_of(function)
        if not has_known_convention(function):
            return self._lifted(function, name)
        return self._bind(function, name).function()

    def bind_weights(
        self, function: ShloFunction, weights: Any, *, name: str | None = None
    ) -> Callable[..., Any]:
        """Returns a function like `bind`, its first argument given once for all calls.

        Such a call costs less than one that is given the weights.

        Args:
          function: See `bind`.
          weights: Its first argument.
          name: See `bind`.

        Raises:
          InvalidBundleError: See `bind`.
          UnsupportedError: See there.
        """
        name = name or self._name_of(function)
        if not has_known_convention(function):
            return functools.partial(self._lifted(function, name), weights)
        with self._lock:
            bound = self._bound.get(_key(function, name))
        return (bound or self._bind(function, name)).function_with(weights)

    def weights_shardings(self, function: ShloFunction, *, name: str | None = None) -> Any:
        """Returns the sharding of each leaf of a function's first argument, as a plain tree.

        None for a function on one device, where weights go as the caller of `load` says.

        Args:
          function: See `bind`.
          name: See `bind`.

        Raises:
          InvalidBundleError: See `bind`.
          UnsupportedError: See `bind`.
        """
        if not self._is_spread(function):
            return None
        where = f"function {name or self._name_of(function)!r}"
        target = self._spread(function, self._trees(function, where), where)
        return None if target.mesh.size == 1 else target.weights

    def close(self) -> None:
        """Releases compiled programs and modules; callables that were bound fail afterwards."""
        with self._lock:
            for bound in self._bound.values():
                bound.close()
            self._bound.clear()

    def _lifted(self, function: ShloFunction, name: str) -> Callable[..., Any]:
        """Returns a function that today's JAX would not call, as the JAX code it stands for."""
        # Only such functions need it, and it brings MLIR's bindings along.
        from orbax_model_lite.lift.functions import lift_function

        self._require_platform(function, f"function {name!r}")
        jitted = jax.jit(lift_function(function, name=name, read=self._bundle.read_bytes))
        device = self._single_device()

        def call(*args: Any, **kwargs: Any) -> Any:
            with jax.default_device(device), jax.enable_x64(True):
                return jitted(*args, **kwargs)

        return call

    def _name_of(self, function: ShloFunction) -> str:
        for name, found in self._bundle.objects.items():
            if found is function:
                return name
        return function.jax.name if function.jax else "function"

    def _bind(self, function: ShloFunction, name: str, derivative_of: str = "") -> Bound:
        where = f"function {name!r}"
        self._require_platform(function, where)
        trees = self._trees(function, where)
        module = self._bundle.read_bytes(function.module)
        program, placing, shardings, device = function, None, None, self._single_device()
        if self._is_spread(function):
            target = self._spread(function, trees, where)
            program, module = target.program(module, where)
            placing, shardings, device = target.placing, target.shardings, target.device
        exported = rebuild(
            program, module, where=where, constraints=trees.constraints, shardings=shardings
        )
        bound = Bound(
            exported,
            Parameters(
                function_name=name,
                signature=function.signature,
                argument_names=trees.argument_names,
            ),
            kept=function.kept_inputs,
            placing=placing,
            device=device,
            gradient=self._gradient(function, name, derivative_of or name),
            derivative_of=derivative_of,
        )
        with self._lock:
            self._bound[_key(function, name)] = bound
        return bound

    def _require_platform(self, function: ShloFunction, where: str) -> None:
        info = function.jax
        at_hand = self._platform()
        if at_hand in function.platforms or (info and "platform" in info.disabled_checks):
            return
        raise UnsupportedError(
            f"{where}: expected the platform at hand, {at_hand}; found that it was lowered "
            f"for {', '.join(function.platforms)}; convert it again with platforms=({at_hand!r},)"
        )

    def _platform(self) -> str:
        if not self._devices or self._devices[0].platform == jax.default_backend():
            return jax.export.default_export_platform()
        return self._devices[0].platform

    def _single_device(self) -> Any:
        if not self._devices or self._devices[0] == jax.local_devices()[0]:
            return None
        return self._devices[0]

    def _trees(self, function: ShloFunction, where: str) -> JaxTrees:
        return trees_of(function, where, self._bundle.read_bytes)

    def _is_spread(self, function: ShloFunction) -> bool:
        is_sharded = function.jax is not None and function.jax.device_count > 1
        return is_sharded or len(self._devices or ()) > 1

    def _spread(self, function: ShloFunction, trees: JaxTrees, where: str) -> Spread:
        # Only functions on several devices need it.
        from orbax_model_lite.jax2obm.devices.spread import spread

        return spread(
            function,
            trees,
            lambda: self._bundle.read_bytes(function.module),
            devices=self._devices,
            mesh=self._mesh,
            assigned=self._bundle.device_assignment,
            where=where,
        )

    def _gradient(
        self, function: ShloFunction, own_name: str, derivative_of: str
    ) -> Callable[[], FlatCall] | None:
        if function.vjp is None and not function.gradient_function_name:
            return None
        name = function.gradient_function_name or f"{own_name}_vjp"

        @functools.cache
        def gradient() -> FlatCall:
            found = function.vjp or self._bundle.objects.get(name)
            if found is None:
                raise unknown_name("function", name, self._bundle.objects)
            if not isinstance(found, ShloFunction):
                raise InvalidBundleError(
                    f"function {own_name!r}: expected its gradient function {name!r} to be "
                    f"StableHLO; found {type(found).__name__}; pack the bundle again"
                )
            return jax.jit(self._bind(found, name, derivative_of).flat_call)

        return gradient


def _key(function: ShloFunction, name: str) -> str:
    return f"{name} {id(function)}"
