"""Saves a small bundle while the n-th step on the file system kills the process or fails.

Run as a program, it tries one step after the other, each in a process of its own, and looks at what
is left: the target must be the old bundle, the new one, or unmarked; the caller's files must be as
they were; and the same save, repeated, must succeed and leave nothing of the killed one behind.

    python fault_injection.py FOLDER SCENARIO MODE FIRST STRIDE
    python fault_injection.py                                      every step of every scenario

The tests run a slice of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orbax_model_lite.core import layout, syscalls
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.data import Data, FunctionSupplemental, GlobalSupplemental
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    JaxInfo,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.saving import SaveOptions, save
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.staging import staged
from orbax_model_lite.core.value import Object, convert_path_to_value
from orbax_model_lite.errors import BundleExistsError, StorageError

STEPS = ("write", "fsync", "ftruncate", "rename", "replace", "unlink", "rmdir", "mkdir", "chmod")
SCENARIOS = ("place", "changed", "staged", "exchange", "two-steps")
MODES = ("kill", "after", "torn", "interrupt", "full")
OUT_OF_ROOM = ("write", "fsync", "mkdir", "open")


class Faults:
    """Counts the steps on the file system; at one of them, something happens.

    Modes: "kill" before the step, "after" it, "torn" half-way through a write; "interrupt" raises
    KeyboardInterrupt, "full" an OSError (ENOSPC) in steps that need room.
    """

    def __init__(self, mode: str = "", at: int = -1) -> None:
        self.mode = mode
        self.at = at
        self.count = 0
        self._lock = threading.Lock()

    def install(self, replace: Callable[[Any, str, Any], None] = setattr) -> None:
        """Puts itself in front of the functions of `os` and the exchange of folders."""
        for name in STEPS:
            replace(os, name, self._wrap(name, getattr(os, name)))
        replace(os, "open", self._wrap_open(os.open))
        replace(syscalls, "exchange", self._wrap("exchange", syscalls.exchange))

    def _wrap_open(self, function: Callable[..., int]) -> Callable[..., int]:
        making = self._wrap("open", function)

        def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            chosen = making if flags & os.O_CREAT else function
            return chosen(path, flags, *rest, **options)

        return opened

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            with self._lock:
                if self.mode == "full" and name not in OUT_OF_ROOM:
                    return function(*args, **options)
                is_now = self.count == self.at
                self.count += 1
            if not is_now:
                return function(*args, **options)
            if self.mode == "torn" and name == "write":
                function(args[0], args[1][: len(args[1]) // 2])
            if self.mode == "after":
                with contextlib.suppress(OSError):
                    function(*args, **options)
            if self.mode == "interrupt":
                raise KeyboardInterrupt
            if self.mode == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("killed")

        return step


def objects(note: str) -> dict[str, Object]:
    """Returns one object of each kind that makes files; `note` makes bundles differ."""
    static = Spec(shape=(None, 2), dtype=DType.FLOAT32)
    symbolic = Spec(shape=("b", 2), dtype=DType.FLOAT32)
    module = ShloFunction(
        signature=Signature.of_call((symbolic,), {}, symbolic),
        module=Data(content=f"module {note}".encode(), mime_type=layout.MIME_STABLEHLO),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(0,),
        jax=JaxInfo(name="f"),
        supplementals={"note": FunctionSupplemental(data=Data(content=note), extension="txt")},
    )
    handle = OpaqueFunction(
        signature=Signature.of_call((static,), {}, static),
        body=Data(content=note.encode(), mime_type=layout.MIME_TF_FUNCTION),
        extension="pb",
    )
    return {
        "f": module,
        "manifest": handle,
        "p": PolymorphicFunction(functions=(module, handle)),
        "w": convert_path_to_value("weights/", "orbax_checkpoint"),
    }


def fill(folder: Path, note: str) -> None:
    """Writes the caller's files."""
    (folder / "weights").mkdir()
    (folder / "weights" / "chunk").write_bytes(note.encode() * 1000)
    # A file that has the name of one of ours is the caller's all the same.
    (folder / "f.shlo").write_text("mine")


def save_bundle(folder: Path, note: str) -> None:
    """Saves in place, over what the caller put there."""
    text = Data(content=note, mime_type="text/plain")
    info = {"text": GlobalSupplemental(text, "notes/text.txt")}
    save(objects(note), folder, SaveOptions(supplemental_info=info))


def begin(target: Path, scenario: str) -> None:
    """Makes what is there before the save: the caller's files, or an old bundle."""
    if scenario in {"place", "changed"}:
        target.mkdir()
        fill(target, "new")
    elif scenario != "staged":
        with staged(target) as folder:
            fill(folder, "old")
            save_bundle(folder, "old")


def act(target: Path, scenario: str, note: str = "new") -> None:
    """Saves the new bundle in the way of a scenario."""
    if scenario in {"place", "changed"}:
        save_bundle(target, note)
        return
    with staged(target, overwrite=scenario != "staged") as folder:
        fill(folder, note)
        save_bundle(folder, note)


def content(folder: Path) -> dict[str, bytes]:
    """Returns every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def require_sound(target: Path, scenario: str, expected: dict[str, dict[str, bytes]]) -> None:
    """Checks what is there after something went wrong."""
    if scenario in {"place", "changed"}:
        now = content(target)
        assert now["f.shlo"] == b"mine"
        assert now["weights/chunk"] == b"new" * 1000
        if layout.VERSION_FILE in now:
            assert all(now[path] == data for path, data in expected["new"].items())
            assert set(now) - set(expected["new"]) <= {layout.JOURNAL_FILE}
    elif target.exists():
        allowed = [expected["new"]] if scenario == "staged" else [expected["old"], expected["new"]]
        assert content(target) in allowed
    else:
        # Between two renames the old bundle lies beside its place.
        aside = [content(path) for path in target.parent.glob(".m.obm-old-*")]
        assert scenario == "staged" or (scenario == "two-steps" and aside == [expected["old"]])


def require_repeatable(target: Path, scenario: str, expected: dict[str, dict[str, bytes]]) -> None:
    """Repeats the save and checks that it leaves the new bundle and nothing else."""
    if scenario == "changed":
        # The author thought better of it: another bundle after the killed one.
        act_or_find(target, scenario, "newer")
        allowed = [expected["newer"], expected["new"]]
    else:
        act_or_find(target, scenario, "new")
        allowed = [expected["new"]]
    found = content(target)
    found.pop(layout.JOURNAL_FILE, None)
    assert found in allowed, sorted(found)
    assert check(target).ok, str(check(target))
    if scenario != "staged":
        assert [path.name for path in target.parent.iterdir()] == [target.name]


def act_or_find(target: Path, scenario: str, note: str) -> None:
    """Saves again, unless the save had finished and may not be repeated."""
    try:
        act(target, scenario, note)
    except BundleExistsError:
        assert (target / layout.VERSION_FILE).exists()
        assert scenario in {"place", "changed", "staged"}


def in_child(function: Callable[[], None]) -> int:
    """Runs a function in a forked process and returns how that ended, as `waitpid` says it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def attempt(
    target: Path, scenario: str, mode: str, step: int, expected: dict[str, dict[str, bytes]]
) -> None:
    """Saves with a fault at one step; runs in a process of its own."""
    faults = Faults(mode, step)
    if scenario == "two-steps":
        syscalls.exchange = lambda first, second: False
    before = content(target.parent)
    faults.install()
    try:
        act(target, scenario)
    except KeyboardInterrupt:
        assert mode == "interrupt"
        is_done = (target / layout.VERSION_FILE).exists() and scenario in {"place", "changed"}
        is_done |= content(target) not in ({}, expected["old"])
        assert is_done or content(target.parent) == before, "something is left"
    except StorageError as refusal:
        number = refusal.errno
        assert (mode, number) == ("full", errno.ENOSPC)
        assert content(target.parent) == before, "something is left of the refused save"
    else:
        # Steps after the one that finishes the save may fail without harm.
        assert faults.count <= faults.at or mode in {"full", "interrupt", "torn"}


def expected_bundles(folder: Path, scenario: str) -> dict[str, dict[str, bytes]]:
    """Returns what undisturbed saves give, by note."""
    bundles: dict[str, dict[str, bytes]] = {}
    is_in_place = scenario in {"place", "changed"}
    for note in ("old", "new", "newer"):
        target = folder / note / "m"
        target.parent.mkdir(parents=True)
        if is_in_place:
            begin(target, scenario)
        act(target, scenario if is_in_place else "staged", note)
        bundles[note] = content(target)
    return bundles


def count_steps(folder: Path, scenario: str, mode: str) -> int:
    """Returns how many steps an undisturbed save takes."""
    target = folder / "count" / "m"
    target.parent.mkdir()
    begin(target, scenario)
    read_end, write_end = os.pipe()

    def counted() -> None:
        faults = Faults(mode)
        if scenario == "two-steps":
            syscalls.exchange = lambda first, second: False
        write = os.write
        faults.install()
        act(target, scenario)
        write(write_end, str(faults.count).encode())

    assert in_child(counted) == 0
    return int(os.read(read_end, 20))


def sweep(folder: Path, scenario: str, mode: str, first: int, stride: int) -> None:
    """Tries every `stride`-th step from `first` on and prints how many there were.

    A negative `first` counts from the last step.
    """
    expected = expected_bundles(folder, scenario)
    count = count_steps(folder, scenario, mode)
    steps = range(first % count, count, stride)
    for step in steps:
        target = folder / f"step{step}" / "m"
        target.parent.mkdir()
        begin(target, scenario)
        ended = in_child(lambda t=target, s=step: attempt(t, scenario, mode, s, expected))
        is_killed = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        assert is_killed if mode in {"kill", "after", "torn"} else ended == 0, (step, ended)
        require_sound(target, scenario, expected)
        assert in_child(lambda t=target: require_repeatable(t, scenario, expected)) == 0, step
        shutil.rmtree(target.parent)
    print(f"{scenario}, {mode}: {len(steps)} steps")


def sweep_everything() -> None:
    """Tries every step of every scenario in every mode."""
    for scenario in SCENARIOS:
        for mode in MODES:
            with tempfile.TemporaryDirectory() as folder:
                sweep(Path(folder), scenario, mode, 0, 1)


if __name__ == "__main__":
    if sys.argv[1:]:
        sweep(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        sweep_everything()
