"""A stored function on the devices at hand, when it or the caller asks for more than one.

Puts together what `meshes` reads, what `targets` chooses and what `stablehlo.remeshing` rewrites.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from orbax_model_lite.core.device import Device
from orbax_model_lite.core.function import JaxInfo, ShloFunction
from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.core.tree import Tree, leaves, unflatten
from orbax_model_lite.jax2obm.assignment import in_assigned_order
from orbax_model_lite.jax2obm.devices import meshes, targets
from orbax_model_lite.jax2obm.devices.placing import Placing, Shardings, is_static
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees
from orbax_model_lite.jaxtypes.shardings import MeshAxes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Where a function runs and how its leaves are split.

    Attributes:
      function: As it was read.
      own: Axes of the mesh that it was lowered for; none for one device without a mesh.
      mesh: What it runs on.
      inputs: Sharding of each input leaf over `mesh`; None where that is left open.
      outputs: The same for the output leaves.
    """

    function: ShloFunction
    own: MeshAxes
    mesh: Mesh
    inputs: Shardings
    outputs: Shardings

    @property
    def placing(self) -> Placing | None:
        """What moves the arrays of a call; None on one device."""
        if self.mesh.size == 1:
            return None
        return Placing(mesh=self.mesh, inputs=self.inputs, outputs=self.outputs)

    @property
    def shardings(self) -> tuple[Shardings, Shardings] | None:
        """Of all inputs and outputs, for `rebuild`; None where the module has none."""
        if not self.own or self.mesh.size == 1:
            return None
        if self._is_own_mesh:
            return self.inputs, self.outputs
        # JAX wants to know that a symbolic size divides. The call knows the size and splits then.
        signature = self.function.signature
        return _static(signature.input_leaves, self.inputs), _static(
            signature.output_leaves, self.outputs
        )

    @property
    def _is_own_mesh(self) -> bool:
        sizes = [(str(name), size) for name, size in self.mesh.shape.items()]
        return sizes == [(axis.name, axis.size) for axis in self.own]

    @property
    def device(self) -> Any:
        """The one device; None for JAX's default, or several."""
        device = self.mesh.devices.flat[0]
        return None if self.mesh.size > 1 or device == jax.local_devices()[0] else device

    @property
    def weights(self) -> Tree:
        """The sharding of each leaf of the first argument; leaves that it leaves open are whole."""
        args = self.function.signature.args
        if not args:
            return None
        first = leaves(args[0])
        whole = NamedSharding(self.mesh, PartitionSpec())
        return unflatten(args[0], [s or whole for s in self.inputs[: len(first)]])

    def program(self, module: bytes, where: str) -> tuple[ShloFunction, bytes]:
        """Returns the function and its module as they run on this mesh.

        Args:
          module: The portable artifact, as it was lowered.
          where: The beginning of an error message.

        Raises:
          UnsupportedError: If the module runs on its own mesh only.
        """
        if self._is_own_mesh or not self.own:
            return self.function, module
        # Only another mesh needs it, and it brings MLIR's bindings along.
        from orbax_model_lite.stablehlo.remeshing import remeshed

        sizes = {str(name): size for name, size in self.mesh.shape.items()}
        info = replace(self.function.jax or JaxInfo(), device_count=self.mesh.size)
        return replace(self.function, jax=info), remeshed(module, sizes, where=where)


def _static(found: Sequence[Leaf], shardings: Shardings) -> Shardings:
    """Returns shardings, those left out that split a symbolic dimension."""
    shapes = [(leaf.shape if isinstance(leaf, Spec) else None) or () for leaf in found]
    return [
        sharding if sharding is not None and is_static(sharding, shape) else None
        for sharding, shape in zip(shardings, shapes, strict=True)
    ]


def spread(
    function: ShloFunction,
    trees: JaxTrees,
    read: Callable[[], bytes],
    *,
    devices: Sequence[Any] | None,
    mesh: Mesh | None,
    assigned: Sequence[Device] | None,
    where: str,
) -> Spread:
    """Returns where a function runs.

    Args:
      function: As it was read.
      trees: What is recorded about its shardings; a foreign bundle records nothing.
      read: Gives its portable artifact.
      devices: To run on, exactly these; None takes those of the machine that it was lowered for.
      mesh: To run on instead.
      assigned: The devices that the bundle records, in order.
      where: The beginning of an error message.

    Raises:
      InvalidBundleError: If its records contradict each other.
      UnsupportedError: If its shardings fit no mesh, or nothing tells which axis is which.
    """
    own = meshes.own_axes(function, read, trees, where)
    signature = function.signature
    place = functools.partial(meshes.leaf_placements, axes=own, where=where)
    inputs = place(signature.input_leaves, trees.inputs)
    outputs = place(signature.output_leaves, trees.outputs)
    pairs = zip(
        (*signature.input_leaves, *signature.output_leaves), (*inputs, *outputs), strict=True
    )
    placed = [targets.Placed(leaf=leaf, placement=placement) for leaf, placement in pairs]
    if mesh is not None:
        chosen = targets.over_mesh(own, placed, mesh, where)
    elif devices is not None:
        chosen = targets.over_devices(own, placed, devices)
    else:
        here = in_assigned_order(jax.devices(), assigned)
        chosen = targets.over_devices(own, placed, targets.available(own, here))
    return Spread(
        function=function,
        own=own,
        mesh=chosen,
        inputs=meshes.leaf_shardings(signature.input_leaves, inputs, chosen, where),
        outputs=meshes.leaf_shardings(signature.output_leaves, outputs, chosen, where),
    )
