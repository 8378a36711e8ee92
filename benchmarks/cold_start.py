"""How long from a shell prompt to the first prediction of a JAX-only bundle?

Against the shortest scripts that do the same by hand with jax.export and the very weights of the
bundle, and against the same model as SavedModel. A sample is a fresh process from start to exit.
"""

from __future__ import annotations

from collections.abc import Callable

from measuring import Budget, Comparison, Options, interleave, main, report, run_fresh

BY_HAND = Budget(factor=1.10)
SAVED_MODEL = Budget(factor=0.45)


def measure(options: Options) -> bool:
    """Prints the table; returns whether the budgets are met."""
    layers, width = (2, 64) if options.is_quick else (24, 512)
    folder = options.folder
    run_fresh("prepare_cold_start", folder, layers, width)
    predictions: dict[str, float] = {}

    def contender(name: str, *arguments: object) -> Callable[[], float]:
        def sample() -> float:
            outcome = run_fresh(f"cold_start_{name.partition(' ')[0]}", *arguments, width)
            predictions[name] = outcome.result
            return outcome.wall_s

        return sample

    exported, orbax = folder / "model.jax_export", folder / "orbax.obm"
    safetensors = folder / "safetensors.obm"
    forms = {
        "bundle with orbax": (orbax,),
        "bundle with safetensors": (safetensors,),
        "orbax": (exported, orbax / "weights"),
        "safetensors": (exported, safetensors / "weights.safetensors"),
        "saved_model": (folder / "saved_model",),
    }
    samples = interleave(
        {name: contender(name, *arguments) for name, arguments in forms.items()},
        rounds=1 if options.is_quick else 9,
        warmups=0 if options.is_quick else 1,
    )
    require_equal(predictions)
    comparisons = []
    for weights in ("orbax", "safetensors"):
        ours = samples[f"bundle with {weights}"]
        comparisons += [
            Comparison(
                what=f"bundle with {weights} weights",
                against="jax.export and the same weights by hand",
                ours=ours,
                theirs=samples[weights],
                budget=BY_HAND,
            ),
            Comparison(
                what=f"bundle with {weights} weights",
                against="SavedModel in TensorFlow",
                ours=ours,
                theirs=samples["saved_model"],
                budget=SAVED_MODEL,
            ),
        ]
    size = 8 * width**2 * layers / 1e6
    return report(f"Cold start to first prediction, {layers} layers, {size:.0f} MB", comparisons)


def require_equal(predictions: dict[str, float]) -> None:
    """Stops when the contenders did not compute the same."""
    values = list(predictions.values())
    if max(values) - min(values) > 1e-4 * max(abs(value) for value in values):
        raise RuntimeError(f"expected equal predictions; found {predictions}")


if __name__ == "__main__":
    main(__doc__, measure)
