"""Memory: what is there, what a bundle takes, and what is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.runtime.diagnosis import machine as machines
from orbax_model_lite.runtime.diagnosis.asking import Device, Estimate, Jax, Judged, TensorFlow
from orbax_model_lite.runtime.diagnosis.machine import Machine
from orbax_model_lite.runtime.diagnosis.memory import memory_check
from orbax_model_lite.runtime.diagnosis.needs import Needs, Program

GB = 10**9
WEIGHTS = core.Spec(shape=(1_000_000_000,), dtype=core.DType.FLOAT32)
ROW = core.Spec(shape=("b", 4), dtype=core.DType.FLOAT32)


def program(name: str, weights: str | None = "weights") -> Program:
    function = core.ShloFunction(
        signature=core.Signature.of_call((WEIGHTS, ROW), {}, ROW),
        module=core.Data(content=b"", mime_type=layout.MIME_STABLEHLO),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(0, 1),
    )
    return Program(name=name, where=f"function {name!r}", function=function, weights=weights)


def judged(temporary: int = GB, devices: int = 1) -> Judged:
    return Judged(
        estimate=Estimate(
            device_count=devices,
            sizes={"b": 1},
            argument_bytes=4 * GB + 16,
            weights_bytes=4 * GB,
            output_bytes=16,
            temporary_bytes=temporary,
            code_bytes=1000,
        )
    )


def check(memory: int | None, *programs: Program, jax: Jax | None = None, **answers: Any):
    here = Machine(python="3.11", system="Linux", versions={}, memory_bytes=memory)
    wanted = Needs(
        programs=programs or (program("f"),),
        tensorflow=(),
        partly_tensorflow=(),
        unknown_kinds={},
        weights={},
        written_with={},
    )
    judgement = answers or {"f": judged()}
    found = {f"function {name!r}": answer for name, answer in judgement.items()}
    return memory_check(here, wanted, jax or jax_on("cpu", GB), found, TensorFlow())


def jax_on(platform: str, resident: int = 0, **memory: int) -> Jax:
    return Jax(
        version="0.10.2",
        platform=platform,
        devices=(Device(kind="x", **memory),),
        conventions=(9, 10),
        stablehlo_version="1.17.0",
        peak_bytes=resident,
    )


def test_weights_arguments_temporaries_and_frameworks_are_summed():
    found = check(10 * GB)
    assert found.verdict == "ok"
    assert "6.0 GB needed" in found.found
    assert "weights 4.0 GB" in found.found
    assert "f with b=1" in found.found
    assert "temporaries 1.0 GB" in found.found
    assert "frameworks 1.0 GB" in found.found


def test_what_is_short_is_said_in_numbers():
    found = check(4 * GB)
    assert found.verdict == "problem"
    assert "4.0 GB left by the system; 2.0 GB too little" in found.found
    assert found.advice


@pytest.mark.parametrize(("left", "verdict"), [(6, "problem"), (7, "note"), (10, "ok")])
def test_what_only_just_fits_is_told(left, verdict):
    assert check(left * GB).verdict == verdict


def test_weights_that_programs_share_are_counted_once_and_calls_do_not_overlap():
    found = check(10 * GB, program("f"), program("g"), f=judged(GB), g=judged(2 * GB))
    assert "7.0 GB needed" in found.found
    assert "g with b=1" in found.found


def test_weights_of_different_values_are_summed():
    found = check(99 * GB, program("f"), program("g", "other"), f=judged(), g=judged())
    assert "10.0 GB needed" in found.found


def test_devices_of_a_cpu_share_the_memory_of_the_machine():
    assert "11.0 GB needed" in check(99 * GB, f=judged(devices=2)).found


def test_weights_alone_decide_where_they_do_not_fit_and_nothing_was_compiled():
    found = check(4 * GB, f=Judged(problem="expected this; found that; do something"))
    assert found.verdict == "problem"
    assert "1.0 GB too little" in found.found


def test_weights_that_fit_say_nothing_of_a_call_that_was_not_compiled():
    found = check(99 * GB, f=Judged(problem="expected this; found that; do something"))
    assert found.verdict == "unknown"
    assert found.found.startswith("at least 5.0 GB needed")


def test_an_accelerator_is_asked_for_its_own_memory():
    small = jax_on("cuda", GB, memory_bytes=8 * GB, memory_in_use_bytes=4 * GB)
    found = check(999 * GB, jax=small)
    assert found.verdict == "problem"
    assert "5.0 GB needed on each device" in found.found
    assert "4.0 GB left there; 1.0 GB too little" in found.found
    assert check(0, jax=jax_on("cuda", memory_bytes=80 * GB)).verdict == "ok"
    assert check(0, jax=jax_on("tpu")).verdict == "unknown"


def test_a_system_that_does_not_tell_its_memory_leaves_it_open():
    assert check(None).verdict == "unknown"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "5000", "memory.current": "2000"}, 3000),
        (
            {
                "memory.max": "5000",
                "memory.current": "4500",
                "memory.stat": "anon 500\nfile 4000\ninactive_file 3500",
            },
            4000,
        ),
        (
            {
                "memory.limit_in_bytes": "5000",
                "memory.usage_in_bytes": "4000",
                "memory.stat": "inactive_file 1\ntotal_inactive_file 3000",
            },
            4000,
        ),
        ({"memory.max": "max", "memory.current": "2000"}, None),
        ({"memory.limit_in_bytes": "5000", "memory.usage_in_bytes": "6000"}, 0),
        ({"memory.limit_in_bytes": str(2**63 - 4096), "memory.usage_in_bytes": "5"}, None),
        ({}, None),
    ],
)
def test_a_control_group_tells_what_it_has_left(files, left, tmp_path: Path):
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert machines._left_in(tmp_path) == left


def test_the_lowest_limit_counts(monkeypatch):
    limits = [("the system", 9000), ("the control group", 5000), ("the address space", 7000)]
    monkeypatch.setattr(machines, "_memory_limits", lambda: iter(limits))
    here = machines.this_machine()
    assert (here.memory_bytes, here.memory_limit) == (5000, "the control group")
