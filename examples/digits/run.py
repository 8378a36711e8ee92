"""The user's side: loads the bundle and runs it. Knows nothing of the model.

Run: python run.py BUNDLE HELD_OUT.npz RESULTS.npz
"""

from __future__ import annotations

import sys
import time

import numpy as np

import orbax_model_lite as obm


def main(bundle: str, held_out: str, results: str) -> None:
    """Runs the whole held-out set in batches and writes what came out."""
    with np.load(held_out) as data:
        ids, ends = data["ids"].astype(object), np.cumsum(data["png_sizes"])
        blob = data["png_bytes"].tobytes()
    starts = np.concatenate([[0], ends[:-1]])
    png = np.array([blob[a:b] for a, b in zip(starts, ends, strict=True)], object)

    begin = time.perf_counter()
    model = obm.load(bundle)
    model(png[:64], ids[:64])
    first = time.perf_counter()
    # The last batch is smaller: the batch dimension is symbolic.
    outputs = [model(png[i : i + 64], ids[i : i + 64]) for i in range(0, len(png), 64)]
    done = time.perf_counter()

    merged = {name: np.concatenate([out[name] for out in outputs]) for name in outputs[0]}
    np.savez(
        results,
        id=merged["id"].astype("S"),
        word=merged["word"].astype("S"),
        probability=merged["probability"],
        logits=merged["logits"],
        first_s=first - begin,
        all_s=done - first,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
