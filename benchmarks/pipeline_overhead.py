"""What does a pipeline cost beside its parts called by hand, one after the other?

The parts are the loaded functions, called as somebody would call them without the pipeline. The
author's own functions, chained by hand, stand beside them for orientation.
"""

from __future__ import annotations

from typing import Any

from measuring import Budget, Comparison, Options, interleave, main, per_call, report

BUDGET = Budget(factor=1.05, plus=20e-6)


def measure(options: Options) -> bool:
    """Prints the table; returns whether the budget is met."""
    comparisons = [*with_jax(options), *with_tensorflow(options)]
    return report("Pipeline: pre-processor, model, post-processor", comparisons)


def with_jax(options: Options) -> list[Comparison]:
    """Returns the comparisons for processors that are JAX functions."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from measuring import models

    import orbax_model_lite as obm

    def preprocess(raw):
        return {"x": raw.astype(jnp.float32) / 127.5 - 1.0}

    def apply(params, x):
        return models.residual_apply(params, x)

    def postprocess(logits):
        return {"best": logits.argmax(-1), "probability": jax.nn.softmax(logits).max(-1)}

    params = models.residual_params(layers=2, width=64)
    path = options.folder / "jax.obm"
    obm.pack(
        path,
        apply,
        params,
        "uint8[b, 64]",
        preprocess=preprocess,
        postprocess=postprocess,
        platforms=["cpu"],
    )
    model = obm.load(path)
    raw = np.full((8, 64), 7, np.uint8)
    own = [jax.jit(preprocess), jax.jit(apply), jax.jit(postprocess)]
    weights = jax.device_put(params)

    def originals():
        return own[2](own[1](weights, own[0](raw)["x"]))

    def parts():
        x = functions["preprocess"](raw)["x"]
        return functions["postprocess"](functions["serving_default"](bound, x=x))

    functions, bound = dict(model.functions), model.weights
    return compare(options, "JAX processors", lambda: model(raw), parts, originals)


def with_tensorflow(options: Options) -> list[Comparison]:
    """Returns the comparisons for processors that read and write strings."""
    import jax
    import numpy as np
    import tensorflow as tf
    from measuring import models

    import orbax_model_lite as obm

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def preprocess(text):
        return {"x": tf.one_hot(tf.strings.length(text) % 64, 64), "text": text}

    def apply(params, x):
        return models.residual_apply(params, x)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 64], tf.float32, name="logits"),
            tf.TensorSpec([None], tf.string, name="text"),
        ]
    )
    def postprocess(logits, text):
        best = tf.strings.as_string(tf.argmax(logits, -1))
        return {"answer": tf.strings.join([text, best], ":")}

    params = models.residual_params(layers=2, width=64)
    path = options.folder / "tensorflow.obm"
    obm.pack(path, apply, params, preprocess=preprocess, postprocess=postprocess, platforms=["cpu"])
    model = obm.load(path)
    raw = np.array([b"some", b"words", b"of", b"length"] * 2, object)
    jitted, weights = jax.jit(apply), jax.device_put(params)

    def originals():
        before = preprocess(tf.constant(raw))
        logits = jitted(weights, before["x"].numpy())
        after = postprocess(tf.constant(np.asarray(logits)), before["text"])
        return {name: tensor.numpy() for name, tensor in after.items()}

    def parts():
        before = functions["preprocess"](raw)
        logits = functions["serving_default"](bound, x=before["x"])
        return functions["postprocess"](logits, before["text"])

    functions, bound = dict(model.functions), model.weights
    return compare(options, "TensorFlow processors", lambda: model(raw), parts, originals)


def compare(
    options: Options, what: str, whole: Any, parts: Any, originals: Any
) -> list[Comparison]:
    """Returns the pipeline against its loaded parts and against the author's functions."""
    import jax

    contenders = {"whole": whole, "parts": parts, "originals": originals}
    row = {} if options.is_quick else {"calls": 50, "best_of": 3}
    samples = interleave(
        {
            name: per_call(lambda call=call: jax.block_until_ready(call()), **row)
            for name, call in contenders.items()
        },
        rounds=1 if options.is_quick else 41,
    )
    named = {"parts": "loaded functions by hand", "originals": "the author's functions by hand"}
    return [
        Comparison(
            what=what,
            against=named[name],
            ours=samples["whole"],
            theirs=samples[name],
            budget=BUDGET if name == "parts" else None,
        )
        for name in named
    ]


if __name__ == "__main__":
    main(__doc__, measure)
