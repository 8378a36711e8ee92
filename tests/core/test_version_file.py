"""The version marker, written and read."""

from __future__ import annotations

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import version_file
from orbax_model_lite.core.version_file import VersionFile
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"
WHERE = "bundle 'm.obm', 'orbax_model_version.txt'"
LINES = (
    'manifest_file_path: "manifest.pb"',
    'version: "0.0.1"',
    'mime_type: "application/protobuf; type=orbax_model_manifest.Manifest"',
)


def read(*lines: str, end: str = "\n") -> VersionFile:
    return version_file.from_bytes("".join(line + end for line in lines).encode(), WHERE)


def test_a_marker_is_written_as_the_original_writes_it():
    original = (CORPUS / "simple_f32" / "model" / "orbax_model_version.txt").read_bytes()
    assert version_file.to_bytes() == original


values = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)


@given(values, values, values)
def test_a_marker_is_read_as_it_was_written(path, version, mime_type):
    info = VersionFile(
        manifest_file_path=path.replace('"', ""),
        version=version.replace('"', "") or "1",
        mime_type=mime_type.replace('"', "") or "x",
    )
    if info.manifest_file_path:
        assert version_file.from_bytes(version_file.to_bytes(info), WHERE) == info


@pytest.mark.parametrize("value", ["", 'a"b', "a\nb", "a\rb", "a\u2028b"])
def test_a_value_that_would_not_be_read_again_is_not_written(value):
    with pytest.raises(ValueError, match="expected text on one line without quotes"):
        version_file.to_bytes(VersionFile(manifest_file_path=value))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "  \n\n\t\n"])
def test_lines_may_end_in_any_way_and_come_in_any_order(end):
    assert read(*reversed(LINES), end=end) == VersionFile()


def test_blanks_around_keys_and_values_do_not_count():
    assert read('  manifest_file_path :   "a b/m.pb"  ', *LINES[1:]) == VersionFile(
        manifest_file_path="a b/m.pb"
    )


def test_of_a_repeated_key_the_last_counts():
    assert read(*LINES, 'manifest_file_path: "other.pb"').manifest_file_path == "other.pb"


def test_what_stands_between_the_quotes_is_taken_as_it_is():
    assert read('manifest_file_path: "a:\\n"b"', *LINES[1:]).manifest_file_path == 'a:\\n"b'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("# note", "expected lines with the keys manifest_file_path, version, mime_type; found"),
        ('color: "red"', "expected lines with the keys"),
        ("version", "expected lines with the keys"),
        ("version: 0.0.1", "expected the value of 'version' between double quotes; found '0.0.1'"),
        ('version: "', "between double quotes; found '\"'"),
        ('version: "0.0.1', "between double quotes"),
        ("version: '0.0.1'", "between double quotes"),
        ("version:", "between double quotes; found ''"),
        ('version: ""', "expected a value for 'version'; found an empty one"),
    ],
)
def test_a_line_of_another_form_is_damage(line, message):
    with pytest.raises(InvalidBundleError, match=message) as caught:
        read(*LINES, line)
    assert str(caught.value).startswith(WHERE)


@pytest.mark.parametrize("index", range(3))
def test_a_missing_line_is_named(index):
    key = LINES[index].partition(":")[0]
    with pytest.raises(InvalidBundleError, match=f"expected a value for '{key}'; found none"):
        read(*LINES[:index], *LINES[index + 1 :])


def test_bytes_that_are_no_text_are_damage():
    with pytest.raises(InvalidBundleError, match="found bytes that are not UTF-8"):
        version_file.from_bytes(b"\xff\xfe", WHERE)


@pytest.mark.parametrize("version", ["0.9.0", "0.0.2", "1", "0.0.1.1", "0.0.10"])
def test_a_newer_version_says_upgrade(version):
    with pytest.raises(UnsupportedError) as caught:
        version_file.require_supported(VersionFile(version=version), "bundle 'm.obm'")
    assert str(caught.value) == (
        f"bundle 'm.obm': manifest version {version!r} is newer than this reader ('0.0.1'); "
        "upgrade orbax_model_lite"
    )


@pytest.mark.parametrize("version", ["0.0.0", "0", "latest", "9" * 5000, "0.0.1rc1", "²"])
def test_another_version_is_not_called_newer(version):
    with pytest.raises(UnsupportedError, match="which no known writer gives"):
        version_file.require_supported(VersionFile(version=version), "bundle 'm.obm'")


def test_a_manifest_of_another_type_is_refused():
    with pytest.raises(UnsupportedError, match="found 'text/plain'"):
        version_file.require_supported(VersionFile(mime_type="text/plain"), "bundle 'm.obm'")
