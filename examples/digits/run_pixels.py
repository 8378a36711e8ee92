"""The user's side of the bundle that takes arrays: TensorFlow need not be installed.

Run: python run_pixels.py BUNDLE HELD_OUT.npz RESULTS.npz
"""

from __future__ import annotations

import sys
import time

import numpy as np

import orbax_model_lite as obm


def main(bundle: str, held_out: str, results: str) -> None:
    """Runs the whole held-out set in batches and writes what came out."""
    with np.load(held_out) as data:
        pixels, ids = data["pixels"], data["ids"]

    begin = time.perf_counter()
    model = obm.load(bundle)
    np.asarray(model(pixels[:64], ids[:64])["digit"])
    first = time.perf_counter()
    # The last batch is smaller: the batch dimension is symbolic.
    outputs = [model(pixels[i : i + 64], ids[i : i + 64]) for i in range(0, len(ids), 64)]
    merged = {name: np.concatenate([out[name] for out in outputs]) for name in outputs[0]}
    np.savez(results, **merged, first_s=first - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
