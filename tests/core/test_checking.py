"""Damaged bundles and what the check says of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orbax_model_lite import core as obm
from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import digests, integrity, layout

SPEC = obm.Spec(shape=(None,), dtype=obm.DType.FLOAT32)


def function(**changes: object) -> obm.ShloFunction:
    fields: dict = {
        "signature": obm.Signature.of_call((SPEC,), {}, SPEC),
        "module": obm.Data(content=b"code", mime_type=layout.MIME_STABLEHLO),
        "calling_convention_version": 10,
        "platforms": ("cpu",),
        "kept_inputs": (0,),
    }
    return obm.ShloFunction(**fields | changes)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "weights").mkdir(parents=True)
    (root / "weights" / "chunk").write_bytes(b"0123456789")
    objects = {
        "f": function(),
        "vjp": function(),
        "w": obm.convert_path_to_value("weights/", "orbax_checkpoint"),
        "t": obm.TupleValue(elements=("f", "w")),
        "n": obm.NamedTupleValue(elements=(("a", "f"),)),
    }
    obm.save(objects, root)
    return root


def edit(root: Path, change: Callable[[manifest_pb2.Manifest], object]) -> None:
    """Changes the manifest as somebody would who also makes the digests right again."""
    path = root / layout.MANIFEST_FILE
    proto = manifest_pb2.Manifest.FromString(path.read_bytes())
    change(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    integrity.write_integrity(root)


def found(root: Path) -> list[tuple[str, str]]:
    return [(f.severity, f"{f.where}: {f.message}") for f in obm.check(root).findings]


def has(root: Path, severity: str, *parts: str) -> bool:
    return any(s == severity and all(p in text for p in parts) for s, text in found(root))


def test_a_sound_bundle_has_no_findings(bundle: Path) -> None:
    assert obm.check(bundle).findings == ()


def test_what_was_read_can_be_checked_as_well(bundle: Path) -> None:
    assert obm.check(obm.read(bundle)).ok


def test_a_moved_bundle_is_as_sound_as_before(bundle: Path) -> None:
    assert obm.check(bundle.rename(bundle.with_name("elsewhere"))).ok


@pytest.mark.parametrize("name", ["f.shlo", "weights/chunk", "manifest.pb"])
def test_a_missing_file_is_an_error(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert has(bundle, "error", f"file {name!r}", "found nothing")


def test_a_changed_file_is_an_error(bundle: Path) -> None:
    (bundle / "weights" / "chunk").write_bytes(b"9876543210")
    assert has(bundle, "error", "file 'weights/chunk'", "SHA-256", "changed or damaged")


def test_a_file_of_another_size_is_an_error_that_says_both_sizes(bundle: Path) -> None:
    (bundle / "weights" / "chunk").write_bytes(b"0123456789x")
    assert has(bundle, "error", "file 'weights/chunk'", "expected 10 bytes; found 11")


@pytest.mark.parametrize("name", ["evil", "weights/evil", "weights/integrity.pb", "deep/er/evil"])
def test_a_file_that_was_added_is_an_error(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("x")
    assert has(bundle, "error", f"file {name!r}", "added afterwards")


def test_without_digests_names_and_sizes_are_compared(bundle: Path) -> None:
    path = bundle / "weights" / "chunk"
    path.write_bytes(b"9876543210")
    assert obm.check(bundle, with_digests=False).ok
    path.write_bytes(b"9876543210 and more")
    assert obm.check(bundle, with_digests=False).has_errors


def test_a_link_that_leads_out_is_an_error(bundle: Path) -> None:
    (bundle / "weights" / "chunk").unlink()
    (bundle / "weights" / "chunk").symlink_to("/etc/hostname")
    assert has(bundle, "error", "file 'weights/chunk'", "leads out of the folder")


def test_a_circle_of_links_is_an_error(bundle: Path) -> None:
    (bundle / "a").symlink_to("b")
    (bundle / "b").symlink_to("a")
    assert has(bundle, "error", "file 'a'", "in a circle")


def test_everything_is_found_at_once(bundle: Path) -> None:
    (bundle / "f.shlo").unlink()
    (bundle / "weights" / "chunk").write_bytes(b"")
    (bundle / "evil").write_text("x")
    os.mkfifo(bundle / "pipe")
    errors = [text for severity, text in found(bundle) if severity == "error"]
    for name in ("f.shlo", "weights/chunk", "evil", "pipe"):
        assert any(f"file {name!r}" in text for text in errors), (name, errors)
    assert any("function 'f', module" in text for text in errors), errors


def test_a_bundle_without_digests_is_inconclusive(bundle: Path) -> None:
    (bundle / layout.INTEGRITY_FILE).unlink()
    report = obm.check(bundle)
    assert not report.ok
    assert not report.has_errors
    assert has(bundle, "inconclusive", "expected 'integrity.pb'", "found none")


def test_a_damaged_record_of_digests_is_an_error(bundle: Path) -> None:
    (bundle / layout.INTEGRITY_FILE).write_bytes(b"\xff\xff")
    assert has(bundle, "error", "do not parse")


def test_digests_of_an_unknown_algorithm_are_inconclusive(bundle: Path) -> None:
    record = (bundle / layout.INTEGRITY_FILE).read_bytes()
    (bundle / layout.INTEGRITY_FILE).write_bytes(record.replace(b"sha256", b"blake3"))
    assert has(bundle, "inconclusive", "blake3")


def test_an_unfinished_save_is_an_error(bundle: Path) -> None:
    (bundle / layout.VERSION_FILE).unlink()
    assert has(bundle, "error", "the save did not finish")


@pytest.mark.parametrize("kind", ["nothing", "file"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "x").write_text("x")
    assert has(tmp_path / "x", "error", "expected a folder", f"found {'a ' * (kind == 'file')}")


def test_a_journal_that_a_kill_left_is_only_mentioned(bundle: Path) -> None:
    (bundle / layout.JOURNAL_FILE).write_text("{}")
    assert obm.check(bundle).ok
    assert has(bundle, "info", layout.JOURNAL_FILE, "killed")


# ------------------------------------------------------------------------------------- references


def test_a_gradient_function_that_does_not_exist_is_an_error(bundle: Path) -> None:
    edit(bundle, lambda m: setattr(m.objects["f"].function, "gradient_function_name", "vpj"))
    assert has(bundle, "error", "function 'f'", "gradient function 'vpj'", "'vjp'?")


def test_a_gradient_function_that_is_a_value_is_an_error(bundle: Path) -> None:
    edit(bundle, lambda m: setattr(m.objects["f"].function, "gradient_function_name", "w"))
    assert has(bundle, "error", "function 'f'", "gradient function 'w'")


def test_elements_that_do_not_exist_are_errors(bundle: Path) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        m.objects["t"].value.tuple.elements.append("gone")
        m.objects["n"].value.named_tuple.elements.add(name="x", value="also gone")

    edit(bundle, change)
    assert has(bundle, "error", "value 't'", "'gone'")
    assert has(bundle, "error", "value 'n'", "'also gone'")


def test_tuples_in_a_circle_are_an_error(bundle: Path) -> None:
    edit(bundle, lambda m: m.objects["t"].value.tuple.elements.append("t"))
    assert has(bundle, "error", "value 't'", "found itself inside")


@pytest.mark.parametrize(
    ("deep", "wide"), [(40, 2), (5000, 1)], ids=["more parts than any memory", "a long chain"]
)
def test_tuples_in_tuples_without_end_are_an_error(bundle: Path, deep: int, wide: int) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        for i in range(deep):
            names = wide * ["w" if i == 0 else f"t{i - 1}"]
            m.objects[f"t{i}"].value.tuple.elements.extend(names)

    edit(bundle, change)
    assert has(bundle, "error", "value 't", "expected tuples of at most", "found more")


@pytest.mark.parametrize("kept", [[1], [0, 0]])
def test_kept_inputs_that_the_signature_lacks_are_an_error(bundle: Path, kept: list[int]) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        m.objects["f"].function.body.stable_hlo_body.module_kept_var_idx[:] = kept

    edit(bundle, change)
    assert has(bundle, "error", "function 'f'", "kept inputs")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a\\b", "", "gone", "f.shlo/"])
def test_a_path_that_leads_out_or_nowhere_is_an_error(bundle: Path, path: str) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        m.objects["w"].value.external.data.file_system_location.string_path = path

    edit(bundle, change)
    assert has(bundle, "error", "value 'w'")


def test_a_range_past_the_end_of_its_file_is_an_error(bundle: Path) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        location = m.objects["f"].function.body.stable_hlo_body.stable_hlo.file_system_location
        location.size_in_byte = 5

    edit(bundle, change)
    assert has(bundle, "error", "function 'f', module", "found a file of 4 bytes")


def test_a_body_without_content_is_an_error(bundle: Path) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        data = m.objects["f"].function.body.stable_hlo_body.stable_hlo
        data.ClearField("file_system_location")

    edit(bundle, change)
    assert has(bundle, "error", "function 'f', module", "neither content nor a file")


def test_a_signature_without_a_type_is_an_error(bundle: Path) -> None:
    edit(bundle, lambda m: m.objects["f"].function.signature.input.tuple.elements.add())
    assert has(bundle, "error", "function 'f'")


def test_a_name_that_stands_twice_is_an_error(bundle: Path) -> None:
    path = bundle / layout.MANIFEST_FILE
    twice = manifest_pb2.Manifest()
    twice.objects["t"].value.tuple.elements.append("w")
    path.write_bytes(path.read_bytes() + twice.SerializeToString())
    integrity.write_integrity(bundle)
    assert has(bundle, "error", "manifest, object 't'", "found it 2 times")


# ----------------------------------------------------------------------------- what is not known


def test_an_element_type_that_is_not_recorded_is_inconclusive(bundle: Path) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        m.objects["f"].function.signature.output.leaf.tensor_type.dtype = 0

    edit(bundle, change)
    assert has(bundle, "inconclusive", "function 'f', output", "element type")


def test_an_object_of_an_unknown_kind_is_inconclusive(bundle: Path) -> None:
    edit(bundle, lambda m: m.objects["new"].MergeFromString(b"\xa2\x06\x01x"))
    assert not obm.check(bundle).has_errors
    assert has(bundle, "inconclusive", "object 'new'", "upgrade")


def test_a_program_of_an_unknown_type_is_inconclusive(bundle: Path) -> None:
    def change(m: manifest_pb2.Manifest) -> None:
        m.objects["f"].function.body.stable_hlo_body.stable_hlo.mime_type = "application/x.new"

    edit(bundle, change)
    assert has(bundle, "inconclusive", "function 'f'", "application/x.new")


def test_records_of_others_are_only_mentioned(tmp_path: Path) -> None:
    readme = obm.FunctionSupplemental(data=obm.Data(content="text"), extension="md")
    info = {"theirs": obm.Data(content=b"x", mime_type="application/x.theirs")}
    objects = {
        "f": function(supplementals={"readme": readme}),
        "v": obm.ExternalValue(data=obm.Data(content=b"x", mime_type="application/x.new")),
    }
    obm.save(objects, tmp_path, obm.SaveOptions(supplemental_info=info))
    assert obm.check(tmp_path).ok
    assert has(tmp_path, "info", "function 'f', supplemental 'readme'")
    assert has(tmp_path, "info", "supplemental 'theirs'", "application/x.theirs")
    assert has(tmp_path, "info", "value 'v'", "application/x.new")


# Root may read everything, so the refusals come from the functions that the check calls.


def test_a_file_that_cannot_be_read_is_inconclusive_and_the_rest_is_checked(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = digests.digest_file

    def digest_file(path: Path, progress: Callable[[int], None] | None = None) -> object:
        if path.name == "chunk":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, progress)

    (bundle / "f.shlo").write_bytes(b"edoc")
    monkeypatch.setattr(digests, "digest_file", digest_file)
    assert has(bundle, "inconclusive", "file 'weights/chunk'", "Permission denied")
    assert has(bundle, "error", "file 'f.shlo'")


def test_a_folder_that_cannot_be_listed_is_inconclusive_and_its_files_are_not_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: object) -> object:
        if os.fspath(path).endswith("weights"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert has(bundle, "inconclusive", "file 'weights'", "Permission denied")
    assert not has(bundle, "error", "weights/chunk")


def test_progress_counts_the_bytes_of_all_files(bundle: Path) -> None:
    seen: list[tuple[int, int]] = []
    obm.check(bundle, progress=lambda *numbers: seen.append(numbers))
    total = sum(d.size_bytes for d in integrity.load_integrity(bundle).values())
    assert seen[-1] == (total, total)
