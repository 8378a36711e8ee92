"""The engine for StableHLO functions: binds a function of a bundle to a callable under jit.

This is the direct engine: the module runs as it is stored. `rebuild` makes something that JAX can
call, `bound` calls it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import jax.export
from jax.sharding import Mesh

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError, unknown_name
from orbax_model_lite.jax2obm.bound import Bound, FlatCall
from orbax_model_lite.jax2obm.placing import Placing
from orbax_model_lite.jax2obm.rebuild import rebuild
from orbax_model_lite.jaxtypes.arguments import Parameters
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees


@final
class JaxEngine:
    """Runs the StableHLO functions of one bundle; safe to use from several threads.

    Args:
      bundle: Whose functions are bound.
      devices: To run on, in order; JAX's default devices when left out.
      mesh: To run on instead; a function for several devices takes it as it is where the axes are
        its own, else only its devices.
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
        return self._bind(function, name or self._name_of(function)).function()

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
        with self._lock:
            bound = self._bound.get(_key(function, name))
        return (bound or self._bind(function, name)).function_with(weights)

    def close(self) -> None:
        """Releases compiled programs and modules; callables that were bound fail afterwards."""
        with self._lock:
            for bound in self._bound.values():
                bound.close()
            self._bound.clear()

    def _name_of(self, function: ShloFunction) -> str:
        for name, found in self._bundle.objects.items():
            if found is function:
                return name
        return function.jax.name if function.jax else "function"

    def _bind(self, function: ShloFunction, name: str) -> Bound:
        where = f"function {name!r}"
        self._require_platform(function, where)
        trees = self._trees(function, where)
        module = self._bundle.read_bytes(function.module)
        placing, shardings = None, None
        if function.jax is not None and function.jax.device_count > 1:
            placing, shardings = self._placing(function, module, trees, where)
        exported = rebuild(
            function, module, where=where, constraints=trees.constraints, shardings=shardings
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
            device=self._single_device() if placing is None else None,
            gradient=self._gradient(function, where),
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
        found = function.supplementals.get(layout.KEY_JAX_TREES)
        if found is None:
            return JaxTrees()
        return JaxTrees.from_payload(self._bundle.read_bytes(found.data), where)

    def _placing(
        self, function: ShloFunction, module: bytes, trees: JaxTrees, where: str
    ) -> tuple[Placing, Any]:
        # Only functions for several devices need it, and it brings MLIR's bindings along.
        from orbax_model_lite.jax2obm import meshes

        devices = self._devices
        if devices is None:
            devices = meshes.in_assigned_order(jax.devices(), self._bundle.device_assignment)
        mesh = meshes.mesh_for(function, module, trees, devices, given=self._mesh, where=where)
        signature = function.signature
        inputs = meshes.leaf_shardings(signature.input_leaves, trees.inputs, mesh, where)
        outputs = meshes.leaf_shardings(signature.output_leaves, trees.outputs, mesh, where)
        return Placing(mesh=mesh, inputs=inputs), (inputs, outputs)

    def _gradient(self, function: ShloFunction, where: str) -> Callable[[], FlatCall] | None:
        name = function.gradient_function_name
        if not name:
            return None

        @functools.cache
        def gradient() -> FlatCall:
            found = self._bundle.objects.get(name)
            if found is None:
                raise unknown_name("function", name, self._bundle.objects)
            if not isinstance(found, ShloFunction):
                raise InvalidBundleError(
                    f"{where}: expected its gradient function {name!r} to be StableHLO; found "
                    f"{type(found).__name__}; pack the bundle again"
                )
            return jax.jit(self._bind(found, name).flat_call)

        return gradient


def _key(function: ShloFunction, name: str) -> str:
    return f"{name} {id(function)}"
