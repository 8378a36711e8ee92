"""Control flow: branches and loops.

What is decided while tracing is not traced. Loops that count are in `scanning`, branches by
platform in `platforms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.control.counting import counted, is_unchanged
from orbax_model_lite.lift.control.equality import same_blocks
from orbax_model_lite.lift.control.platforms import branch_number, choose
from orbax_model_lite.lift.control.scanning import run_counted
from orbax_model_lite.lift.evaluation import Region
from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.rules.identities import forward_only
from orbax_model_lite.lift.values import PerPlatform, jax_arrays


def _if(operation: Operation) -> Runner:
    del operation

    def run(predicate: Any, *, regions: Sequence[Region]) -> Any:
        true, false = regions
        if isinstance(predicate, np.ndarray):
            return true() if predicate else false()
        (traced,) = jax_arrays([predicate])
        return lax.cond(traced, lambda: _traced(true), lambda: _traced(false))

    return run


def _case(operation: Operation) -> Runner:
    blocks = [region.blocks[0] for region in operation.inner.regions]
    same_as = [
        next(i for i in range(n + 1) if same_blocks(blocks[i], block, operation.around.function))
        for n, block in enumerate(blocks)
    ]

    def run(index: Any, *, regions: Sequence[Region]) -> Any:
        if isinstance(index, PerPlatform):
            return choose(index, regions, same_as)
        if isinstance(index, np.ndarray):
            return regions[branch_number(int(index), len(regions))]()
        (traced,) = jax_arrays([index])
        return _switch(traced, regions)

    return run


def _switch(index: Any, branches: Sequence[Region]) -> Any:
    last = len(branches) - 1
    if last == 0:
        return branches[0]()
    calls = [lambda branch=branch: _traced(branch) for branch in branches]
    if last == 1:
        return lax.cond(index == 0, *calls)
    # StableHLO takes the last branch for any index that has none; JAX clamps.
    return lax.switch(jnp.where(index < 0, last, index), calls)


def _while(operation: Operation) -> Runner:
    del operation

    def run(*operands: Any, regions: Sequence[Region]) -> tuple[Any, ...]:
        condition, body = regions
        loop = counted(condition, body, operands)
        return run_counted(loop) if loop else _run_uncounted(condition, body, operands)

    return run


def _run_uncounted(condition: Region, body: Region, operands: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the carried values after a loop; those that it does not change stay outside."""
    carried = [p for p in range(len(operands)) if not is_unchanged(body.block, p)]

    def whole(values: Sequence[Any]) -> list[Any]:
        found = dict(enumerate(operands))
        found.update(zip(carried, values, strict=True))
        return list(found.values())

    def goes_on(values: Sequence[Any]) -> Any:
        return jax_arrays(condition(*whole(values)))[0]

    def step(values: Sequence[Any]) -> list[Any]:
        results = body(*whole(values))
        return jax_arrays([results[p] for p in carried])

    start = jax_arrays([operands[p] for p in carried])
    reason = "a loop that runs until a computed condition has no reverse-mode derivative"
    return tuple(whole(forward_only(lax.while_loop(goes_on, step, start), reason)))


def _traced(branch: Region) -> tuple[Any, ...]:
    return tuple(jax_arrays(branch()))


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.case": Handler(_case, keeps_known=True),
    "stablehlo.if": Handler(_if, keeps_known=True),
    "stablehlo.while": Handler(_while, keeps_known=True),
}
