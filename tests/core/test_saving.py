"""Saving objects in place: what is written, under which names, and read again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orbax_model_lite import core as obm
from orbax_model_lite.core import layout, storage
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.integrity import load_integrity
from orbax_model_lite.errors import (
    BundleExistsError,
)

Make = Callable[..., Any]
Files = Callable[[Path], dict[str, bytes]]


def in_file(path: str, **range_: int) -> obm.Data:
    return obm.Data(content=obm.FileRange(path=path, **range_))


# ------------------------------------------------------------------------------ what is written


def test_the_documented_usage_writes_the_documented_folder(
    tmp_path: Path, module: Make, handle: Make
) -> None:
    (tmp_path / "my_checkpoint").mkdir()
    (tmp_path / "tf_stuff").mkdir()
    objects = {
        "my_model_fn": module(),
        "my_weights": obm.convert_path_to_value("my_checkpoint/", mime_type="orbax_checkpoint"),
        "my_pre_processor": handle(),
    }
    orchestration = obm.Data(content=b"record", mime_type=layout.MIME_SIMPLE_ORCHESTRATION)
    obm.save(
        objects,
        str(tmp_path),
        obm.SaveOptions(
            version=2,
            supplemental_info={
                "orchestration": obm.GlobalSupplemental(orchestration, "my_orchestration.pb"),
                "tensorflow_saved_model": obm.GlobalSupplemental(in_file("tf_stuff/"), None),
            },
        ),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "integrity.pb",
        "manifest.pb",
        "my_checkpoint",
        "my_model_fn.shlo",
        "my_model_fn_jax_specific_info_supplemental.pb",
        "my_orchestration.pb",
        "my_pre_processor.pb",
        "orbax_model_version.txt",
        "tf_stuff",
    ]


def test_objects_come_back_as_they_were_saved(tmp_path: Path, module: Make, handle: Make) -> None:
    objects = {
        "f": module(),
        "g": module(gradient_function_name="f", visibility=obm.Visibility.PRIVATE),
        "h": handle(extension=None),
        "p": obm.PolymorphicFunction(functions=(module("0"), handle("1", None))),
        "t": obm.TupleValue(elements=("f", "h")),
        "n": obm.NamedTupleValue(elements=(("a", "f"), ("b", "t"))),
    }
    obm.save(objects, tmp_path, obm.SaveOptions(save_shlo_to_file=False))
    assert dict(obm.read(tmp_path).objects) == objects


def test_the_marker_is_written_last_after_the_record_and_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handle: Make
) -> None:
    order: list[str] = []
    real = storage.write_file

    def write_file(path: Path, content: bytes, *, beside: Path) -> None:
        order.append(path.name)
        real(path, content, beside=beside)

    monkeypatch.setattr(storage, "write_file", write_file)
    info = {"s": obm.GlobalSupplemental(obm.Data(content="text"), "s.txt")}
    obm.save({"f": handle()}, tmp_path, obm.SaveOptions(supplemental_info=info))
    assert order == ["s.txt", "f.pb", "manifest.pb", "integrity.pb", "orbax_model_version.txt"]


def test_two_folders_get_the_same_bytes(
    tmp_path: Path, module: Make, handle: Make, files: Files
) -> None:
    objects = {"b": module(), "a": handle(), "A": handle("x"), "manifest": handle("y")}
    info = {
        name: obm.GlobalSupplemental(obm.Data(content=name), f"{name}.txt") for name in ("y", "x")
    }
    obm.save(objects, tmp_path / "one", obm.SaveOptions(supplemental_info=info))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    backwards = dict(reversed(objects.items()))
    again = obm.SaveOptions(supplemental_info=dict(reversed(info.items())))
    obm.save(backwards, tmp_path / "deep" / "er" / "two", again)
    assert files(tmp_path / "one") == files(tmp_path / "deep" / "er" / "two")


def test_every_file_but_record_and_marker_is_in_the_record(
    tmp_path: Path, module: Make, files: Files
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a").write_bytes(b"abc")
    obm.save({"f": module()}, tmp_path)
    listed = load_integrity(tmp_path)
    unlisted = {layout.INTEGRITY_FILE, layout.VERSION_FILE}
    expected = {
        path: FileDigest.of(content)
        for path, content in files(tmp_path).items()
        if path not in unlisted
    }
    assert listed == expected


def test_modules_stay_in_the_manifest_on_request(tmp_path: Path, module: Make) -> None:
    obm.save({"f": module("code")}, tmp_path, obm.SaveOptions(save_shlo_to_file=False))
    assert not list(tmp_path.glob("*.shlo"))
    assert obm.read(tmp_path).objects["f"].module.content == b"code"


@pytest.mark.parametrize(
    ("extension", "name"),
    [("txt", "f_k_supplemental.txt"), ("", "f_k_supplemental"), (None, None)],
)
def test_a_supplemental_is_placed_as_its_extension_says(
    tmp_path: Path, extension: str | None, name: str | None, module: Make
) -> None:
    extra = obm.FunctionSupplemental(data=obm.Data(content="größe"), extension=extension)
    obm.save({"f": module(supplementals={"k": extra})}, tmp_path)
    data = obm.read(tmp_path).objects["f"].supplementals["k"].data
    if name is None:
        assert data.content == "größe"
    else:
        assert data.file.path == name
        assert (tmp_path / name).read_bytes() == "größe".encode()


def test_visibility_is_set_by_name_also_of_every_variant(tmp_path: Path, handle: Make) -> None:
    objects = {"f": handle(), "p": obm.PolymorphicFunction(functions=(handle(), handle()))}
    chosen = {"p": obm.Visibility.PRIVATE}
    obm.save(objects, tmp_path, obm.SaveOptions(visibility=chosen))
    found = obm.read(tmp_path).objects
    assert found["f"].visibility == obm.Visibility.PUBLIC
    assert [f.visibility for f in found["p"].functions] == [obm.Visibility.PRIVATE] * 2


def test_devices_are_recorded(tmp_path: Path) -> None:
    devices = (obm.Device(id=0, coords=(0, 0, 0), core_on_chip=1), obm.Device(id=1))
    obm.save({}, tmp_path, obm.SaveOptions(device_assignment_by_coords=devices))
    assert obm.read(tmp_path).device_assignment == devices


def test_progress_is_told_about_the_callers_files(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w" * 5000)
    seen: list[tuple[int, int]] = []
    obm.save({}, tmp_path, progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (5000, 5000)


# ----------------------------------------------------------------------------- names and places


object_names = st.one_of(
    st.text(max_size=12),
    st.text("aAb/._- ", max_size=3),
    st.sampled_from(
        ["manifest", "orchestration", "__p_0", "p", "..", "/x", "x" * 300, "\0", "con"]
    ),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.sets(object_names, max_size=8))
def test_any_names_of_objects_are_kept_apart(names: set[str], module: Make, handle: Make) -> None:
    kinds = {name: module(name) if n % 2 else handle(name) for n, name in enumerate(sorted(names))}
    objects = {**kinds, "p": obm.PolymorphicFunction(functions=(module("p0"), handle("p1")))}
    with tempfile.TemporaryDirectory() as folder:
        obm.save(objects, folder)
        assert obm.check(folder).ok
        bundle = obm.read(folder)
        for name in names - {"p"}:
            found = bundle.objects[name]
            data = found.module if isinstance(found, obm.ShloFunction) else found.body
            assert bundle.read_bytes(data) == name.encode()


@pytest.mark.parametrize("name", ["manifest", "integrity", "orchestration"])
def test_a_function_with_the_name_of_a_file_keeps_its_body(
    tmp_path: Path, name: str, handle: Make
) -> None:
    record = obm.GlobalSupplemental(obm.Data(content=b"record"), "orchestration.pb")
    obm.save({name: handle("body")}, tmp_path, obm.SaveOptions(supplemental_info={"o": record}))
    bundle = obm.read(tmp_path)
    assert bundle.read_bytes(bundle.objects[name].body) == b"body"
    assert (tmp_path / "orchestration.pb").read_bytes() == b"record"


def test_a_callers_file_with_our_name_stays(tmp_path: Path, handle: Make) -> None:
    (tmp_path / "f.pb").write_text("mine")
    (tmp_path / "G.PB").write_text("mine too")
    (tmp_path / "h.pb").mkdir()
    obm.save({"f": handle("f"), "g": handle("g"), "h": handle("h")}, tmp_path)
    assert (tmp_path / "f.pb").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.glob("*-2.pb")) == ["f-2.pb", "g-2.pb", "h-2.pb"]


@pytest.mark.parametrize("name", ["manifest.pb", "integrity.pb", "Manifest.PB"])
def test_a_callers_file_with_a_name_of_the_format_is_not_replaced(
    tmp_path: Path, name: str, files: Files
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(BundleExistsError, match="remove it yourself"):
        obm.save({}, tmp_path)
    assert files(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("marker", ["orbax_model_version.txt", "manifest_version.txt"])
def test_a_folder_that_is_a_bundle_is_refused(tmp_path: Path, marker: str, files: Files) -> None:
    (tmp_path / marker).write_text("anything")
    with pytest.raises(BundleExistsError, match=marker):
        obm.save({}, tmp_path)
    assert files(tmp_path) == {marker: b"anything"}


@pytest.mark.parametrize("is_linked", [False, True])
def test_absolute_paths_inside_the_target_become_relative(tmp_path: Path, is_linked: bool) -> None:
    root = tmp_path / "m"
    (root / "ck").mkdir(parents=True)
    (root / "w.safetensors").write_text("w")
    (tmp_path / "link").symlink_to("m")
    given_as = tmp_path / "link" if is_linked else root
    objects = {
        "folder": obm.convert_path_to_value(str(given_as / "ck"), "orbax_checkpoint"),
        "file": obm.convert_path_to_value(str(root / "w.safetensors"), "safetensors"),
    }
    record = obm.GlobalSupplemental(obm.Data(content="r"), str(root / "sub" / "r.txt"))
    obm.save(objects, given_as, obm.SaveOptions(supplemental_info={"r": record}))
    found = obm.read(root)
    assert found.objects["folder"].data.file.path == "ck/"
    assert found.objects["file"].data.file.path == "w.safetensors"
    assert found.supplementals["r"].file.path == "sub/r.txt"


@pytest.mark.parametrize("path", ["./ck//", "ck/", "ck/./"])
def test_relative_paths_are_written_plainly(tmp_path: Path, path: str) -> None:
    (tmp_path / "ck").mkdir()
    obm.save({"w": obm.convert_path_to_value(path, "orbax_checkpoint")}, tmp_path)
    assert obm.read(tmp_path).objects["w"].data.file.path == "ck/"


def test_a_supplemental_may_refer_to_a_file_of_the_same_save(tmp_path: Path) -> None:
    info = {
        "whole": obm.GlobalSupplemental(obm.Data(content=b"0123456789"), "data.bin"),
        "part": in_file("data.bin", offset=2, size=3),
    }
    obm.save({}, tmp_path, obm.SaveOptions(supplemental_info=info))
    bundle = obm.read(tmp_path)
    assert bundle.read_bytes(bundle.supplementals["part"]) == b"234"


# ------------------------------------------------------------------------------ read-modify-write


def test_a_copy_of_a_bundle_is_saved_again_without_loss_or_litter(
    tmp_path: Path, module: Make, handle: Make, files: Files
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    extra = obm.FunctionSupplemental(data=obm.Data(content="text"), extension="txt")
    objects = {"f": module(supplementals={"note": extra}), "h": handle()}
    info = {"s": obm.GlobalSupplemental(obm.Data(content="s"), "sub/s.txt")}
    options = obm.SaveOptions(
        supplemental_info=info, device_assignment_by_coords=(obm.Device(id=3),)
    )
    obm.save(objects, first, options)
    ours = shutil.ignore_patterns(layout.MANIFEST_FILE, layout.INTEGRITY_FILE, layout.VERSION_FILE)
    shutil.copytree(first, second, ignore=ours)
    bundle = obm.read(first)
    obm.save(bundle.objects, second, obm.SaveOptions.keeping(bundle))
    assert files(second) == files(first)
