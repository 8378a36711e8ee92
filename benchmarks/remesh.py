"""What does a function cost on another mesh than it was made on, beside one made for that mesh?

Eight CPU devices stand in for a mesh. Also how many operations each optimized program has, and how
many of them move data between devices.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Budget, Comparison, Options, interleave, main, per_call, report

# Eight threads share the host's cores, so times vary more than elsewhere; the programs do not.
EQUAL = Budget(factor=1.05)
PAIRS = [((2, 4), (1, 1)), ((2, 2), (2, 1)), ((2, 2), (4, 1)), ((2, 2), (2, 4)), ((1, 1), (4, 2))]
OPERATION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = \S+ ([\w-]+)\(", re.MULTILINE)
COLLECTIVE = re.compile(r"all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute")


def measure(options: Options) -> bool:
    """Prints the tables; returns whether the budgets are met."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

    import orbax_model_lite as obm

    layers, width = (2, 32) if options.is_quick else (4, 512)
    rounds = 3 if options.is_quick else 31
    comparisons, are_same = [], True
    for made_on, run_on in PAIRS:
        arguments = placed(mesh_of(run_on), layers, width, only_specs=False)
        calls = {}
        for name, sizes in (("re-meshed", made_on), ("native", run_on)):
            path = saved(options.folder / text(sizes), mesh_of(sizes), layers, width)
            calls[name] = obm.load(path, mesh=mesh_of(run_on)).functions["f"]
        print(f"{text(made_on)} to {text(run_on)}: operations after optimization (collectives):")
        counts = {name: counted(call, arguments) for name, call in calls.items()}
        for name, found in counts.items():
            print("  {:<10}{} ({})".format(name, *found))
        are_same = are_same and len(set(counts.values())) == 1
        samples = interleave(
            {
                name: per_call(functools.partial(run, call, arguments), calls=3)
                for name, call in calls.items()
            },
            rounds=rounds,
        )
        comparisons.append(
            Comparison(
                what=f"{text(made_on)} to {text(run_on)}",
                against=f"made for {text(run_on)}",
                ours=samples["re-meshed"],
                theirs=samples["native"],
                budget=EQUAL,
            )
        )
    title = "Re-meshed functions, on fake devices of the host's CPU"
    return report(title, comparisons) and are_same


def run(call: Callable[..., Any], arguments: Any) -> None:
    """Calls a function and waits for all of its result."""
    import jax

    jax.block_until_ready(call(*arguments))


def text(sizes: tuple[int, int]) -> str:
    """Returns for example "2x4"."""
    return "x".join(map(str, sizes))


def mesh_of(sizes: tuple[int, int]) -> Any:
    """Returns a mesh with the axes data and model."""
    import jax
    import numpy as np

    devices = np.array(jax.devices()[: sizes[0] * sizes[1]]).reshape(sizes)
    kinds = (jax.sharding.AxisType.Auto,) * 2
    return jax.sharding.Mesh(devices, ("data", "model"), axis_types=kinds)


def network(params: Any, x: Any) -> Any:
    """Returns the output of layers whose weights are split by columns, then by rows."""
    import jax.numpy as jnp

    for first, second in params:
        x = x + jnp.tanh(x @ first) @ second
    return x


def placed(mesh: Any, layers: int, width: int, *, only_specs: bool) -> Any:
    """Returns weights and an input split over a mesh, as arrays or as specs."""
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    rng = np.random.default_rng(0)

    def make(shape: tuple[int, int], *spec: str | None) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        if only_specs:
            return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)
        array = rng.normal(size=shape).astype(np.float32) / width**0.5
        return jax.device_put(array, sharding)

    size = (width, width)
    params = [(make(size, None, "model"), make(size, "model")) for _ in range(layers)]
    return params, make((width // 2, width), "data")


def saved(path: Path, mesh: Any, layers: int, width: int) -> Path:
    """Returns the bundle of the network as lowered for a mesh."""
    from orbax_model_lite import core, jax2obm

    if not path.exists():
        specs = placed(mesh, layers, width, only_specs=True)
        core.save({"f": jax2obm.convert(network, specs, platforms=["cpu"])}, path)
    return path


def counted(call: Callable[..., Any], arguments: Any) -> tuple[int, int]:
    """Returns operations of the optimized program, and those of them that are collectives."""
    import jax

    names = OPERATION.findall(jax.jit(call).lower(*arguments).compile().as_text())
    return len(names), sum(bool(COLLECTIVE.match(name)) for name in names)


if __name__ == "__main__":
    main(__doc__, measure)
