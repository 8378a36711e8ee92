"""A diagnosis as text, for a terminal of Python: verdict first, then one line for each check."""

from __future__ import annotations

from orbax_model_lite.runtime.diagnosis.checks import Check, Diagnosis


def test_the_heaviest_verdict_comes_first_then_every_check():
    found = Diagnosis(
        path="m.obm",
        checks=(
            Check(name="jax", verdict="ok", found="0.10.2; written with 0.10.2"),
            Check(
                name="platform",
                verdict="problem",
                found="cpu here; made for tpu",
                advice="pack it for cpu too",
            ),
        ),
    )
    assert str(found).splitlines() == [
        "problem",
        "  ok: jax: 0.10.2; written with 0.10.2",
        "  problem: platform: cpu here; made for tpu; pack it for cpu too",
    ]
