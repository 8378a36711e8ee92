"""Fine-tune a bundle on new digits without the model's source, and save it again."""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
images, labels = load_digits(return_X_y=True)
images = images.astype(np.float32) / 16
old, new, held_out = slice(0, 200), slice(200, 1400), slice(1400, None)


def train(apply_fn, params, x, y, steps):
    optimizer = optax.adam(1e-2)

    def loss(params):
        logits = apply_fn(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def author():
    def net(params, x):
        return jax.nn.relu(x @ params["hidden"]) @ params["out"]

    hidden, out = jax.random.split(jax.random.key(0))
    start = {
        "hidden": jax.random.normal(hidden, (64, 32)) / 8,
        "out": jax.random.normal(out, (32, 10)) / 8,
    }
    params = train(net, start, images[old], labels[old], steps=30)
    obm.pack(folder / "digits.obm", net, params, "b, 64", examples=(images[:4],))


author()
model = obm.load(folder / "digits.obm")
lifted = model.lift("serving_default")
tuned = model.with_weights(train(lifted, model.weights, images[new], labels[new], steps=100))
tuned.save(folder / "tuned.obm")
print("the new bundle verifies:", obm.verify(folder / "tuned.obm", replay=True).ok)
for name in ("digits.obm", "tuned.obm"):
    found = np.argmax(obm.load(folder / name)(images[held_out]), -1)
    print(f"{name:<10} accuracy {np.mean(found == labels[held_out]):.2f}")
