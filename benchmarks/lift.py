"""What does a lifted function cost beside the original it was converted from, both compiled?

Also how long lifting takes, and how many operations of each program the compiler keeps.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from measuring import Budget, Comparison, Options, interleave, main, per_call, report

SAME = Budget(factor=1.05)
_NAME = re.compile(r" ([a-z][\w-]*)\(")


def measure(options: Options) -> bool:
    """Prints the tables; returns whether the budgets are met."""
    import jax
    from measuring import models

    rounds = 3 if options.is_quick else 9
    comparisons = []
    for what, fn, params, x in models.for_lifting(is_small=options.is_quick):
        lifted, seconds = lifted_again(fn, params, x)
        compiled = {
            "lifted": jax.jit(lifted).lower(params, x).compile(),
            "original": jax.jit(fn).lower(params, x).compile(),
        }
        arguments = jax.device_put((params, x))
        print(f"{what}: lifted in {seconds:.2f} s; operations after optimization:")
        for name, program in compiled.items():
            print(f"  {name:<9}{operations(program)}")
        comparisons += [
            against_original(f"run, {what}", compiled, arguments, rounds),
            against_original(
                f"gradient, {what}", gradients(lifted, fn), arguments, rounds, budget=None
            ),
        ]
    return report("Lifted functions, on the host's CPU", comparisons)


def lifted_again(fn: Callable[..., Any], params: Any, x: Any) -> tuple[Callable[..., Any], float]:
    """Returns the function after a way through StableHLO, and how many seconds lifting took."""
    from orbax_model_lite import jax2obm, lift

    stored = jax2obm.convert(fn, (params, x), platforms=["cpu"])
    begin = time.perf_counter()
    lifted = lift.lift_function(stored)
    return lifted, time.perf_counter() - begin


def gradients(lifted: Callable[..., Any], fn: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Returns both gradients for the weights, under jit."""
    import jax

    def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(jax.grad(lambda params, x: (function(params, x) ** 2).sum()))

    return {"lifted": gradient(lifted), "original": gradient(fn)}


def against_original(
    what: str,
    functions: dict[str, Callable[..., Any]],
    args: Any,
    rounds: int,
    *,
    budget: Budget | None = SAME,
) -> Comparison:
    """Returns both run times, taken turn by turn."""
    import jax

    def calls(function: Callable[..., Any]) -> Callable[[], float]:
        return per_call(lambda: jax.block_until_ready(function(*args)), calls=2, best_of=3)

    samples = interleave({name: calls(f) for name, f in functions.items()}, rounds=rounds)
    return Comparison(
        what=what,
        against="the original under jax.jit",
        ours=samples["lifted"],
        theirs=samples["original"],
        budget=budget,
    )


def operations(program: Any) -> str:
    """Returns the commonest operations of a compiled program, with their number."""
    counts = Counter[str]()
    for line in program.as_text().splitlines():
        _, is_assignment, right = line.partition(" = ")
        name = _NAME.search(right) if is_assignment else None
        if name is not None:
            counts[name[1]] += 1
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(8))
    return f"{sum(counts.values())} ({listed})"


if __name__ == "__main__":
    main(__doc__, measure)
