"""What does a call of a loaded function cost beside jax.jit of the original?

Both take the same arrays in one process, turn by turn, and wait for the result of every call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measuring import Budget, Comparison, Options, interleave, main, per_call, report

DISPATCH = Budget(plus=5e-6)
COMPUTE = Budget(factor=1.02)
COMPUTE_S = 5e-3


def measure(options: Options) -> bool:
    """Prints the table; returns whether the budgets are met."""
    import jax
    import numpy as np
    from measuring import models

    rounds = 3 if options.is_quick else 41
    layers, width = (2, 32) if options.is_quick else (12, 512)
    small = {"kernel": np.eye(16, 4, dtype=np.float32), "bias": np.zeros(4, np.float32)}
    large = models.residual_params(layers=layers, width=width)
    batch = 8 if options.is_quick else batch_that_takes(COMPUTE_S, models.residual_apply, large)

    def compare(
        what: str, fn: Callable[..., Any], params: Any, x: np.ndarray, budget: Budget
    ) -> list[Comparison]:
        # Short rows: the more of them, the surer one runs while nothing else does.
        row = {"calls": 1, "best_of": 9} if budget is COMPUTE else {"calls": 20, "best_of": 15}
        return against_jit(
            options, what, fn, jax.device_put(params), x, budget=budget, row=row, rounds=rounds
        )

    comparisons = [
        *compare("2 weights", models.affine, small, np.ones((8, 16), np.float32), DISPATCH),
        *compare(
            "200 weights",
            models.sum_of_leaves,
            models.many_leaves(200),
            np.ones((1, 8), np.float32),
            DISPATCH,
        ),
        *compare(
            f"{layers} layers, batch {batch}",
            models.residual_apply,
            large,
            np.ones((batch, width), np.float32),
            COMPUTE,
        ),
    ]
    return report("Call of a loaded function, on the host's CPU", comparisons)


def against_jit(
    options: Options,
    what: str,
    fn: Callable[..., Any],
    params: Any,
    x: Any,
    *,
    budget: Budget,
    row: dict[str, int],
    rounds: int,
) -> list[Comparison]:
    """Returns the loaded function, and the pipeline that binds its weights, against jax.jit."""
    import jax

    import orbax_model_lite as obm

    path = options.folder / f"{what.replace(' ', '_').replace(',', '')}.obm"
    obm.pack(path, fn, params, f"b, {x.shape[1]}", platforms=["cpu"], weights_format="safetensors")
    model = obm.load(path)
    loaded, original = model.functions["serving_default"], jax.jit(fn)
    x = jax.device_put(x)
    samples = interleave(
        {
            "function": per_call(lambda: loaded(params, x).block_until_ready(), **row),
            "pipeline": per_call(lambda: model(x).block_until_ready(), **row),
            "original": per_call(lambda: original(params, x).block_until_ready(), **row),
        },
        rounds=rounds,
    )
    return [
        Comparison(
            what=f"{name}, {what}",
            against="jax.jit of the original",
            ours=samples[name],
            theirs=samples["original"],
            budget=budget,
        )
        for name in ("function", "pipeline")
    ]


def batch_that_takes(seconds: float, fn: Callable[..., Any], params: Any) -> int:
    """Returns a batch size for which a jitted call takes about that long or a little more."""
    import jax
    import numpy as np

    width = next(iter(params.values()))["bias"].shape[0]
    params, original, batch = jax.device_put(params), jax.jit(fn), 1
    while True:
        x = jax.device_put(np.ones((batch, width), np.float32))
        taken = per_call(lambda x=x: original(params, x).block_until_ready(), calls=5)
        taken()
        if taken() >= seconds:
            return batch
        batch *= 2


if __name__ == "__main__":
    main(__doc__, measure)
