"""`obm bench`: the layout by given numbers, the rest by real bundles; no time is judged."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import orbax_model_lite as obm_package
from orbax_model_lite.cli.commands import bench
from orbax_model_lite.cli.commands.bench import seconds_text, write_measurement
from orbax_model_lite.cli.console import Console
from orbax_model_lite.runtime import measuring
from orbax_model_lite.runtime.measuring import BatchMeasurement, Measurement, Request

REPOSITORY = Path(__file__).parent.parent.parent
OBM = [sys.executable, "-W", "error", "-m", "orbax_model_lite"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def batch(size: int | None, scale: float) -> BatchMeasurement:
    return BatchMeasurement(
        batch_size=size,
        first_call_s=0.9 * scale,
        compile_s=0.8984 * scale,
        calls=1234,
        mean_s=0.0016 * scale,
        p50_s=0.00155 * scale,
        p95_s=0.0021 * scale,
        p99_s=0.01234 * scale,
        examples_per_s=(size or 1) / (0.0016 * scale),
        peak_bytes=812_345_678,
    )


MEASURED = Measurement(
    kind="pipeline",
    name="serving_default",
    platform="gpu",
    device="NVIDIA H100\x1b[31m",
    cores=16,
    versions={"jax": "0.10.2", "jaxlib": "0.10.2", "tensorflow": "2.21.0", "numpy": "2.4.6"},
    load_s=4.2123,
    loaded_bytes=530_100_000,
    peak_bytes=812_345_678,
    device_peak_bytes={"cuda:0": 2_500_000_000},
    batches=(batch(1, 0.01), batch(8, 1), batch(1024, 100)),
    notes=("strings of a recorded call: png, ids", "constraints forbid batches of 3"),
)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_measurement_looks_as_it_did_when_it_was_last_reviewed(columns, golden_text):
    stream = io.StringIO()
    write_measurement(Console(stream, {"COLUMNS": str(columns)}), MEASURED)
    golden_text(f"bench_{columns}.txt", stream.getvalue())
    assert max(map(len, stream.getvalue().splitlines())) <= columns
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("columns", [40, 60])
def test_a_narrow_terminal_gets_every_column_in_tables_below_each_other(columns):
    stream = io.StringIO()
    write_measurement(Console(stream, {"COLUMNS": str(columns)}), MEASURED)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    titles = [line.split() for line in lines if line.split()[:1] == ["batch"]]
    assert len(titles) > 1
    told = [title for row in titles for title in row if title != "batch"]
    assert told == ["compile", "p50", "p95", "p99", "throughput", "calls", "memory"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 us"),
        (1.234e-6, "1.23 us"),
        (99.96e-6, "100 us"),
        (0.0009996, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.00 s"),
        (4321.0, "4,321 s"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(seconds, text):
    assert seconds_text(seconds) == text


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    kernel = np.ones((4, 3), np.float32)
    obm_package.pack(folder / "linear", lambda w, x: x @ w, kernel, "b, 4", platforms=["cpu"])
    obm_package.pack(folder / "fixed", lambda x: x + 1, None, "4, 2", platforms=["cpu"])
    return folder


@pytest.fixture
def asked(monkeypatch) -> list[Request]:
    """Takes the place of the child process; returns the requests that reach it."""
    requests: list[Request] = []

    def measure(request: Request, *, stdin: Any = None, progress: Any = None) -> Measurement:
        requests.append(request)
        progress(0.5, "batch 8")
        return MEASURED

    monkeypatch.setattr(measuring, "measure", measure)
    return requests


@pytest.mark.frameworks
def test_json_has_every_number(obm, bundles):
    said = obm("bench", bundles / "linear", "--batch", "1,3", "--repeats", "5", "--json")
    assert (said.code, said.err) == (0, "")
    found = said.json
    assert found["name"] == "serving_default"
    assert [(b["batch_size"], b["calls"]) for b in found["batches"]] == [(1, 5), (3, 5)]
    assert set(found["batches"][0]) == set(BatchMeasurement.__slots__)


@pytest.mark.frameworks
def test_a_fixed_batch_size_is_measured_alone_and_said(obm, bundles):
    said = obm("bench", bundles / "fixed", "--batch", "1,4,8", "--repeats", "1", columns=100)
    assert said.code == 0
    assert "its batch size is fixed: 4" in said.out
    assert "not measured, since it does not take them: batches of 1, 8" in said.out


@pytest.mark.frameworks
def test_options_reach_the_child(obm, bundles, asked):
    said = obm(
        *("bench", bundles / "linear", "--function", "serving_default", "--batch", "8,1,8"),
        *("--seconds", "0.5", "--seed", "7", "--size", "t=9", "--platform", "cpu"),
        *("--trust-custom-call", "kernel", "--trust-tf-op", "PyFunc", "--quiet"),
    )
    assert (said.code, said.out, said.err) == (0, "", "")
    (request,) = asked
    assert Path(request.path).is_absolute()
    assert request.function == "serving_default"
    assert request.batch_sizes == (8, 1)
    assert (request.seconds, request.repeats) == (0.5, None)
    assert (request.seed, request.sizes, request.platform) == (7, {"t": 9}, "cpu")
    assert (request.custom_calls, request.tf_ops) == (("kernel",), ("PyFunc",))


@pytest.mark.frameworks
def test_inputs_reach_the_child(obm, bundles, asked):
    line = ("--input", "x=a.npy", "--input", "b.npz", "--value", "k=[1]", "--json")
    assert obm("bench", bundles / "linear", *line).json["cores"] == 16
    assert asked[0].files == (("x=a.npy", "x", "a.npy"), ("b.npz", None, "b.npz"))
    assert asked[0].values == (("k=[1]", "k", "[1]"),)


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--batch", "0"), "sizes such as 1,8,32"),
        (("--batch", "1,,2"), "sizes such as 1,8,32"),
        (("--repeats", "0"), "expected 1 or more"),
        (("--seconds", "-1"), "expected a positive number below 1e9"),
        (("--repeats", "3", "--seconds", "1"), "not allowed with"),
        (("--function", "no"), "no function 'no'"),
        (
            ("--value", "x=[[1]]", "--seed", "0"),
            "--seed and --size, which are for inputs at random",
        ),
        (("--value", "[1]"), "expected NAME=JSON"),
        (("--use-weights", "w"), "means nothing without --function"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_misuse_is_told_before_a_process_is_started(line, message, obm, bundles, asked):
    said = obm("bench", bundles / "linear", *line)
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert not asked


@pytest.mark.frameworks
def test_inputs_that_do_not_fit_are_misuse(obm, bundles):
    said = obm("bench", bundles / "linear", "--value", "x=[1]")
    assert said.code == 2
    assert "input 'x': expected float32 [b, 4]; found [1]" in said.err


@pytest.mark.frameworks
def test_a_changed_program_is_a_finding(obm, tmp_path):
    obm_package.pack(tmp_path / "m", lambda x: x, None, "b", platforms=["cpu"])
    program = tmp_path / "m" / "serving_default.shlo"
    program.write_bytes(program.read_bytes()[:-1] + b"\0")
    said = obm("bench", tmp_path / "m")
    assert said.code == 1
    assert "serving_default.shlo" in said.err


@pytest.mark.frameworks
def test_the_progress_bar_says_what_is_measured(bundles, asked, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    from orbax_model_lite.cli.parser import parse

    options = parse(["bench", str(bundles / "linear")])
    assert bench.run(options, Console(io.StringIO())) == 0
    assert "bench [" in terminal.getvalue()
    assert " 50% batch 8" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def children_of(pid: int) -> list[int]:
    """Returns those that have begun to import, so that whoever started them knows that they run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if "numpy" in Path(f"/proc/{child}/maps").read_text()]


@pytest.mark.frameworks
def test_ctrl_c_ends_the_real_child_too(bundles, tmp_path):
    process = subprocess.Popen(
        [*OBM, "bench", str(bundles / "linear"), "--seconds", "100000"],
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (found := children_of(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    (child,) = found
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"obm: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.frameworks
def test_it_works_in_pipes(bundles):
    stream = io.BytesIO()
    np.save(stream, np.ones((1, 4), np.float32))
    done = subprocess.run(
        [*OBM, "bench", str(bundles / "linear"), "--input", "-", "--repeats", "2", "--json"],
        input=stream.getvalue(),
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [b["batch_size"] for b in json.loads(done.stdout)["batches"]] == [1, 8, 32]
