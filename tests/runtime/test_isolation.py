"""Limits of a child process: what counts, and what its answer may be."""

from __future__ import annotations

import pytest

from orbax_model_lite.core.report import Finding
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.isolation import Isolation, ask

CODE = (
    "import json, mmap, sys\nsys.path[:] = json.loads(sys.argv[1])\n"
    "from orbax_model_lite.runtime import isolation_child as child\n"
    "kept = []\n"
    "def map_3_gib(request): kept.append(mmap.mmap(-1, 3 << 30))\n"
    "def take(request): return {{'taken': len(bytes(request['bytes']))}}\n"
    "child._TASKS['take'] = take\n"
    "{start}\n"
    "child.answer(sys.argv[2])\n"
)


@pytest.mark.parametrize("start", ["", "child._STARTS['take'] = map_3_gib"], ids=["no", "a"])
def test_what_a_start_takes_does_not_count_and_what_a_task_takes_does(start, monkeypatch):
    monkeypatch.setattr(isolating, "_CHILD", CODE.format(start=start))
    limits = Isolation(memory_bytes=1 << 30)
    assert ask({"task": "take", "bytes": 10**8}, limits) == {"taken": 10**8}
    refused = ask({"task": "take", "bytes": 2 << 30}, limits)
    assert isinstance(refused, Finding)
    assert refused.message.endswith("allow more memory if the bundle is to be trusted")


def test_a_child_has_further_variables(monkeypatch):
    code = CODE.format(start="import os; child._TASKS['take'] = lambda r: {'v': os.environ['VAR']}")
    monkeypatch.setattr(isolating, "_CHILD", code)
    assert ask({"task": "take"}, Isolation(), environment={"VAR": "x"}) == {"v": "x"}
