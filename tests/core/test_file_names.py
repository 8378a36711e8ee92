"""Names of files made from names of objects: safe everywhere, never twice."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core.file_names import RESERVED, FileNames, require_extension, safe_stem
from orbax_model_lite.errors import InvalidModelError

ENDINGS = (".shlo", ".pb", "_jax_specific_info_supplemental.pb", "")
TRICKY = (
    "manifest", "MANIFEST", "Manifest.pb", "orchestration", "integrity", "orbax_model_version.txt",
    "__p_0", "p", "a/b", "a_b", "../x", "..", ".", "", "/etc/passwd", "C:\\x", "a\0b", "x" * 400,
    "é", "e\u0301", "É", "\u017f", "ß", "ss", "SS", "con", "NUL.txt", "COM1", "f", "F", "f-2",
    "f.", "f ", " f", "-rf", "~", "\u202egpj", "日本語" * 60, "🦊", "\ud800", ".obm-save", "नमस्ते",
)  # fmt: skip
names = st.one_of(st.sampled_from(TRICKY), st.text(max_size=40), st.text("aA.b/ _", max_size=4))


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold()).rstrip(" .")


@given(st.lists(st.tuples(names, st.sampled_from(ENDINGS)), max_size=40))
def test_no_two_names_of_a_bundle_are_one_on_any_file_system(wanted: list[tuple[str, str]]) -> None:
    taken = FileNames(["Weights.PB", "folder/inside.pb", "empty/"])
    given_out = [taken.allot(stem, ending) for stem, ending in wanted]
    everything = [*given_out, *RESERVED, "weights.pb", "folder", "empty"]
    assert len({folded(name) for name in everything}) == len(everything)


@given(names, st.sampled_from(ENDINGS))
def test_every_name_can_be_written_on_every_file_system(name: str, ending: str) -> None:
    found = FileNames().allot(name, ending)
    assert 0 < len(found.encode()) <= 200
    assert found.isprintable()
    assert not set(found) & set('/\\<>:"|?*')
    assert found[0] not in ". -"
    assert found[-1] not in ". "
    assert found.partition(".")[0].strip().casefold() not in {"con", "nul", "aux", "prn", "com1"}


@given(st.sets(names, max_size=20), st.randoms())
def test_names_depend_on_the_set_of_objects_when_asked_in_order(wanted: set, random) -> None:
    shuffled = sorted(wanted)
    random.shuffle(shuffled)
    first, second = FileNames(), FileNames()
    in_order = [first.allot(stem, ".pb") for stem in sorted(wanted)]
    assert in_order == [second.allot(stem, ".pb") for stem in sorted(shuffled)]


@pytest.mark.parametrize("name", ["encode", "my fn v1.2", "a-b_c", "größe", "日本", "f(x)=[y]"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert FileNames().allot(name, ".shlo") == f"{name}.shlo"


def test_a_function_called_manifest_does_not_get_the_manifests_file() -> None:
    assert FileNames().allot("manifest", ".pb") == "manifest-2.pb"


def test_many_objects_with_one_stem_are_numbered_in_little_time() -> None:
    taken = FileNames()
    assert len({taken.allot("/" * (i + 1), ".pb") for i in range(3000)}) == 3000


@pytest.mark.parametrize("path", ["x.pb", "sub/x.pb", "a/b/c", "my file.txt", "größe.txt"])
def test_a_chosen_name_is_kept(path: str) -> None:
    assert FileNames().claim(path, "supplemental 's'") == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/x", "../x", "a/../x", "a//b", "./x", "x/", "a\\b", "C:x", "a\0b", "nul", "con.txt",
        "x.", "x ", " x", "a?b", "a\nb", "\ud800", "y" * 256, "é" * 200,
    ],
)  # fmt: skip
def test_a_chosen_name_that_some_file_system_refuses_is_refused(path: str) -> None:
    with pytest.raises(InvalidModelError, match="supplemental 's': expected"):
        FileNames().claim(path, "supplemental 's'")


@pytest.mark.parametrize("path", [*RESERVED, "Manifest.PB", "used.pb", "USED.PB", "d/x/y", "e"])
def test_a_chosen_name_that_is_in_use_is_refused(path: str) -> None:
    taken = FileNames(["used.pb", "d/x", "e/f"])
    with pytest.raises(InvalidModelError, match="choose another name"):
        taken.claim(path, "supplemental 's'")


@pytest.mark.parametrize("extension", ["pb", "", "tar.gz", "x-1_y"])
def test_ordinary_extensions_pass(extension: str) -> None:
    require_extension(extension, "function 'f'")


@pytest.mark.parametrize("extension", [".pb", "a/b", "..", "pb.", "p b", "x" * 33, "ü", "a\0"])
def test_other_extensions_are_refused(extension: str) -> None:
    with pytest.raises(InvalidModelError, match="without its dot"):
        require_extension(extension, "function 'f'")


def test_a_long_name_is_cut_between_characters() -> None:
    assert safe_stem("日" * 100) == "日" * 32
