"""Saves that are refused, and what is left of them and of killed ones."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orbax_model_lite import core as obm
from orbax_model_lite.core import layout
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.integrity import load_integrity
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidModelError,
    StorageError,
    UnsupportedError,
)

Make = Callable[..., Any]
Files = Callable[[Path], dict[str, bytes]]


def in_file(path: str, **range_: int) -> obm.Data:
    return obm.Data(content=obm.FileRange(path=path, **range_))


def problems(objects: dict[str, object], folder: Path, **options: object) -> str:
    with pytest.raises(InvalidModelError) as caught:
        obm.save(objects, folder, obm.SaveOptions(**options))
    assert not (folder / layout.VERSION_FILE).exists()
    return str(caught.value)


# -------------------------------------------------------------------------------- what is refused


def test_everything_that_is_wrong_is_named_at_once(
    tmp_path: Path, module: Make, handle: Make, files: Files
) -> None:
    objects = {
        "f": module(gradient_function_name="vpj", kept_inputs=(1, 0)),
        "vjp": module(),
        "t": obm.TupleValue(elements=("gone", "u")),
        "u": obm.NamedTupleValue(elements=(("x", "t"),)),
        "w": obm.convert_path_to_value("missing/", "orbax_checkpoint"),
        "x": obm.convert_path_to_value("/etc", "orbax_checkpoint"),
        "y": replace(handle(), body=in_file("../secret")),
        "z": handle(extension="../../pb"),
    }
    info = {"s": obm.GlobalSupplemental(obm.Data(content="s"), "manifest.pb")}
    text = problems(objects, tmp_path, supplemental_info=info, visibility={"g": 0, "t": 1})
    for place, hint in {
        "function 'f'": "'vpj' to be in the bundle; found nothing of that name; did you mean 'vjp'",
        "function 'f': ": "kept inputs to be rising positions among its 1 inputs; found 1, 0",
        "value 't'": "its element 'gone' to be in the bundle",
        "value 't': ": "found itself inside: 't' in 'u' in 't'",
        "value 'w'": "write it there before the save",
        "value 'x'": "found '/etc'; copy the data into the folder first",
        "function 'y', body": "found '../secret'",
        "function 'z', body": "an extension without its dot",
        "supplemental 's'": "found 'manifest.pb', a name of the format itself",
        "visibility": "no function 'g'",
        "visibility of 't'": "expected a function; found TupleValue",
    }.items():
        assert any(place in line and hint in line for line in text.splitlines()), (place, text)
    assert files(tmp_path) == {}


def test_a_refused_save_makes_no_folder(tmp_path: Path) -> None:
    problems({"t": obm.TupleValue(elements=("gone",))}, tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("offset", "size"), [(11, None), (0, 11), (-11, None), (5, 6), (-1, 2)])
def test_a_range_outside_its_file_is_refused(tmp_path: Path, offset: int, size: int | None) -> None:
    (tmp_path / "data").write_bytes(b"0123456789")
    place = obm.Data(content=obm.FileRange(path="data", offset=offset, size=size))
    assert "found a file of 10 bytes" in problems({}, tmp_path, supplemental_info={"s": place})


def test_a_leaf_that_is_no_spec_is_named_with_its_path(tmp_path: Path, module: Make) -> None:
    signature = obm.Signature.of_call(({"x": [3.0]},), {}, None)
    text = problems({"f": module(signature=signature)}, tmp_path)
    assert "function 'f', input '0.0.x.0': expected a Spec or a Token; found float" in text


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passwords").symlink_to("/etc/passwd")
    assert "'passwords': a link that leads out" in problems({}, tmp_path)


@pytest.mark.parametrize("place", ["object", "text", "key"])
def test_text_that_utf8_cannot_hold_is_refused(tmp_path: Path, place: str, handle: Make) -> None:
    bad = "\ud800"
    objects = {bad if place == "object" else "f": handle()}
    text = obm.Data(content=bad if place == "text" else "x")
    info = {bad if place == "key" else "s": obm.GlobalSupplemental(text, "s.txt")}
    assert "surrogate" in problems(objects, tmp_path, supplemental_info=info)


def test_a_manifest_that_no_reader_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(obm.ReadLimits, manifest_bytes=100)
    monkeypatch.setattr(sys.modules["orbax_model_lite.core.saving"], "ReadLimits", small)
    info = {"s": obm.Data(content=b"x" * 200)}
    assert "give large supplementals" in problems({}, tmp_path, supplemental_info=info)


@pytest.mark.parametrize("version", [0, 1, 3, "2"])
def test_another_version_of_the_layout_is_refused(version: object) -> None:
    with pytest.raises(UnsupportedError, match="expected version 2"):
        obm.SaveOptions(version=version)


def test_an_object_of_a_foreign_type_is_refused(tmp_path: Path) -> None:
    assert "object 'f'" in problems({"f": print}, tmp_path)


@pytest.mark.parametrize("found", [{"x": obm.Data(content=b"")}, b"bytes", None])
def test_a_supplemental_of_another_type_is_refused(tmp_path: Path, found: object) -> None:
    text = problems({}, tmp_path, supplemental_info={"s": found})
    assert (
        f"supplemental 's': expected a GlobalSupplemental or Data; found {type(found).__name__}"
        in text
    )


def test_digests_of_their_writer_are_taken(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    known = {"w": FileDigest(size_bytes=3, sha256=b"k" * 32)}
    obm.save({}, tmp_path, obm.SaveOptions(digests=known))
    assert load_integrity(tmp_path)["w"] == known["w"]


def test_digests_of_another_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    known = {"w": FileDigest.of(b"ab"), "gone": FileDigest.of(b"")}
    text = problems({}, tmp_path, digests=known)
    assert "expected a file of 2 bytes; found 3" in text
    assert "'gone': expected a file of 0 bytes; found nothing" in text


# --------------------------------------------------------------------------- journals and refusals


def journal_of(folder: Path, listed: dict[str, bytes]) -> Path:
    digests = {path: FileDigest.of(content) for path, content in listed.items()}
    path = folder / layout.JOURNAL_FILE
    entries = {p: [d.size_bytes, d.sha256.hex()] for p, d in digests.items()}
    path.write_text(json.dumps({"files": entries}))
    return path


def test_files_of_a_killed_save_are_removed_and_others_stay(tmp_path: Path, files: Files) -> None:
    for name in ("ours.pb", "changed.pb", "callers.pb"):
        (tmp_path / name).write_text(name)
    (tmp_path / layout.UNFINISHED_FILE).write_text("half")
    journal_of(tmp_path, {"ours.pb": b"ours.pb", "changed.pb": b"before", "gone.pb": b""})
    obm.save({}, tmp_path)
    assert sorted(files(tmp_path)) == [
        "callers.pb",
        "changed.pb",
        "integrity.pb",
        "manifest.pb",
        "orbax_model_version.txt",
    ]


def test_a_finished_bundle_with_a_journal_is_left_as_it_is(
    tmp_path: Path, handle: Make, files: Files
) -> None:
    obm.save({"f": handle()}, tmp_path)
    journal_of(tmp_path, files(tmp_path))
    before = files(tmp_path)
    with pytest.raises(BundleExistsError):
        obm.save({"f": handle()}, tmp_path)
    assert files(tmp_path) == before
    assert obm.check(tmp_path).ok


@pytest.mark.parametrize("path", ["../victim", "link/victim", "alias", "/victim"])
def test_a_strangers_journal_reaches_nothing_outside(tmp_path: Path, path: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    root = tmp_path / "m"
    root.mkdir()
    if path.startswith("link"):
        (root / "link").symlink_to(tmp_path)
    if path == "alias":
        (root / "alias").symlink_to(victim)
    named = str(victim) if path == "/victim" else path
    journal_of(root, {named: b"precious"})
    if path in {"../victim", "/victim"}:
        obm.save({}, root)
    else:
        problems({}, root)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("content", [b"", b'{"files": {"f.pb": [1', b"[]", b'{"files": {"a": 1}}'])
def test_a_torn_journal_lists_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.pb").write_text("mine")
    (tmp_path / layout.JOURNAL_FILE).write_bytes(content)
    obm.save({}, tmp_path)
    assert (tmp_path / "f.pb").read_text() == "mine"


def test_a_second_save_of_one_folder_is_kept_out(tmp_path: Path) -> None:
    with (tmp_path / layout.JOURNAL_FILE).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BundleExistsError, match="wait for it"):
            obm.save({}, tmp_path)
    obm.save({}, tmp_path)


TOO_LARGE = """
import resource, sys
from orbax_model_lite import core as obm
from orbax_model_lite.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
data = obm.GlobalSupplemental(obm.Data(content=b"x" * 100_000), "large.bin")
try:
    obm.save({}, sys.argv[1], obm.SaveOptions(supplemental_info={"large": data}))
except StorageError as e:
    print(e)
"""


def test_when_the_system_takes_no_more_bytes_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, str(tmp_path / "m")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "does not take files this big; choose a target on another one" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(StorageError, match="choose another target"):
        obm.save({}, tmp_path / "m")
    assert (tmp_path / "m").read_text() == "mine"
