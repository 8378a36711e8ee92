"""A measurement in a child process: what it finds, errors, crashes and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
)
from orbax_model_lite.runtime.measuring import Measurement, Request, measure, process


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("bundles") / "linear"
    kernel = np.ones((4, 3), np.float32)
    obm.pack(path, lambda w, x: x @ w, kernel, "b, 4", platforms=["cpu"])
    return str(path)


def child(monkeypatch, code: str) -> None:
    """Lets a program of ours take the place of the child."""
    monkeypatch.setattr(process, "_CHILD", code)


@pytest.mark.frameworks
def test_each_batch_size_is_measured_as_often_as_asked(bundle):
    told: list[tuple[float, str]] = []
    request = Request(path=bundle, batch_sizes=(1, 4), repeats=7)
    found = measure(request, progress=lambda *step: told.append(step))
    assert (found.kind, found.name, found.platform) == ("pipeline", "serving_default", "cpu")
    assert [(batch.batch_size, batch.calls) for batch in found.batches] == [(1, 7), (4, 7)]
    assert found.versions["jax"]
    assert found.load_s > 0
    assert found.peak_bytes >= found.loaded_bytes > 2**20
    for batch in found.batches:
        assert 0 < batch.p50_s <= batch.p95_s <= batch.p99_s
        assert batch.first_call_s >= batch.compile_s
        assert batch.examples_per_s == pytest.approx(batch.batch_size / batch.mean_s)
        assert batch.peak_bytes <= found.peak_bytes
    assert told[0] == (0.0, "loading")
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert {doing for _, doing in told} >= {"loading", "batch 1", "batch 4"}


@pytest.mark.frameworks
def test_without_a_number_calls_fill_the_time_and_are_never_few(bundle):
    found = measure(Request(path=bundle, batch_sizes=(1,), seconds=1e-6))
    assert found.batches[0].calls == 10


@pytest.mark.frameworks
def test_given_inputs_come_from_files_values_and_standard_input(bundle, tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.ones((1, 4), np.float32))
    stream.seek(0)
    request = Request(path=bundle, batch_sizes=(2,), repeats=1)
    piped = measure(replace(request, files=(("-", None, "-"),)), stdin=stream)
    valued = measure(replace(request, values=(("x=...", "x", "[[1, 2, 3, 4]]"),)))
    assert [found.batches[0].batch_size for found in (piped, valued)] == [2, 2]


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"function": "no"}, UnknownNameError, "no function 'no'"),
        ({"sizes": {"t": 3}}, UnknownNameError, "no open dimension 't'"),
        (
            {"values": (("x=1", "x", "1"),)},
            SignatureMismatchError,
            "input 'x': expected float32 [b, 4]; found []",
        ),
        ({"platform": "tpu"}, UnsupportedError, "platform 'tpu'"),
    ],
    ids=["function", "size", "input", "platform"],
)
def test_errors_of_the_child_are_raised_here(change, error, message, bundle):
    with pytest.raises(error) as caught:
        measure(replace(Request(path=bundle, repeats=1), **change))
    assert message in str(caught.value)


def test_what_a_program_prints_does_not_reach_the_answer(monkeypatch):
    code = """
        import os, sys
        sys.path[:] = __import__("json").loads(sys.argv[1])
        from orbax_model_lite.runtime.measuring import child
        stream = child._own_stdout()
        print("noise")
        os.write(1, b"more noise")
        os.system("echo loud")
        stream.write("noise of a thread {\\n")
        child._teller(stream)({"error": "UnsupportedError", "message": "quiet"})
    """
    child(monkeypatch, "\n".join(line[8:] for line in code.splitlines()))
    with pytest.raises(UnsupportedError, match=r"^quiet$"):
        measure(Request(path="m"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import sys; print('broken pipes', file=sys.stderr); sys.exit(7)", "'broken pipes'"),
        ("pass", "exit code 0"),
    ],
    ids=["signal", "exit", "silence"],
)
def test_a_child_that_dies_is_told_with_its_last_words(code, said, monkeypatch):
    child(monkeypatch, code)
    with pytest.raises(UnsupportedError, match=said):
        measure(Request(path="m"))


@pytest.mark.parametrize(
    "answer",
    [
        {"result": {}},
        {"result": [1]},
        {"result": None},
        {"error": "SystemExit", "message": "x"},
        {"error": "__builtins__", "message": "x"},
    ],
    ids=str,
)
def test_an_answer_of_somebody_else_is_told(answer, monkeypatch):
    child(monkeypatch, f"print({json.dumps(answer)!r})")
    with pytest.raises(InvalidBundleError, match="a program of the bundle meddles"):
        measure(Request(path="m"))


def test_ctrl_c_ends_the_child_and_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
        import json, os, time
        print(json.dumps({"progress": 0, "doing": str(os.getpid())}), flush=True)
        time.sleep(100)
    """
    child(monkeypatch, "\n".join(line[8:] for line in code.splitlines()))
    pids: list[int] = []

    def interrupted(_: float, doing: str) -> None:
        pids.append(int(doing))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Request(path="m"), progress=interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], signal.SIG_DFL)
    assert list(Path(tmp_path).iterdir()) == []


def test_a_measurement_is_itself_again_after_json():
    found = Measurement(
        kind="function",
        name="f",
        platform="cpu",
        device="cpu",
        cores=2,
        versions={"jax": "0"},
        load_s=1.0,
        loaded_bytes=1,
        peak_bytes=2,
        device_peak_bytes={},
        batches=(),
        notes=("a",),
    )
    assert Measurement.from_json(json.loads(json.dumps(asdict(found)))) == found
