"""What changed since the last bundle, will it load here, and a page to send around."""

import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


def apply_fn(params, x):
    return {"scores": jnp.tanh(x @ params["kernel"])}


def apply_fn_with_best(params, x):
    scores = jnp.tanh(x @ params["kernel"])
    return {"scores": scores, "best": scores.argmax(-1)}


params = {"kernel": np.eye(4, 3, dtype=np.float32)}
obm.pack(folder / "first.obm", apply_fn, params, "4, 4", platforms=["cpu"])
trained = {"kernel": params["kernel"] * np.float32(1.5)}
obm.pack(folder / "second.obm", apply_fn_with_best, trained, "b, 4", platforms=["cpu"])

# A batch of any size and one more key in the output break no caller; the way back does.
print(obm.diff(folder / "first.obm", folder / "second.obm"))
back = obm.diff(folder / "second.obm", folder / "first.obm")
print(f"\nthe way back: {len(back.breaking)} breaking changes, such as")
print(f"  {back.breaking[0]}")

# Versions, platform, devices, custom calls, memory: compiled in a child process, without weights.
diagnosis = obm.diagnose(folder / "second.obm")
print(f"\nwill it load here: {diagnosis.verdict}")
print(next(check.found for check in diagnosis.checks if check.name == "memory"))

obm.write_page(folder / "second.obm", folder / "second.html")
print(f"\na page of {(folder / 'second.html').stat().st_size:,} bytes, which needs no network")
