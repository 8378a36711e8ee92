"""`obm view`: where the page goes, what is said of it, and the exit codes."""

from __future__ import annotations

import shutil
import stat
import tempfile
import urllib.parse
import webbrowser
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent.parent / "corpus"
FRAMEWORKS = {"jax", "jaxlib", "tensorflow", "orbax", "flax", "pandas", "matplotlib"}
BROKEN = sorted((CORPUS / "broken").glob("must_*/*"))


@pytest.fixture
def browser(monkeypatch, tmp_path) -> list[Path]:
    """Returns the files that a browser was told to open; pages go below the test's folder."""
    seen: list[Path] = []

    def open_file(url: str) -> bool:
        parts = urllib.parse.urlsplit(url)
        assert parts.scheme == "file"
        seen.append(Path(urllib.parse.unquote(parts.path)))
        return True

    monkeypatch.setattr(webbrowser, "open", open_file)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return seen


def test_a_page_is_written_to_a_file(obm, bundle):
    said = obm("view", bundle, "--html", "page.html")
    assert (said.code, said.err) == (0, "")
    size = f"{Path('page.html').stat().st_size / 1000:.1f} kB"
    assert said.out == f"page.html: {size}, no findings\n"
    assert Path("page.html").read_text("utf-8").startswith("<!doctype html>")


def test_without_a_file_the_page_opens_in_a_browser(obm, bundle, browser):
    said = obm("view", bundle)
    assert said.code == 0
    (page,) = browser
    assert page.name == "words.obm.html"
    assert said.out.startswith(f"{page}: ")
    assert "<title>words" in page.read_text("utf-8")


def test_a_page_that_opens_by_itself_is_for_its_owner_only(obm, bundle, browser):
    obm("view", bundle)
    (page,) = browser
    assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700


def test_without_a_browser_nothing_is_left_and_a_way_out_is_said(
    obm, bundle, browser, monkeypatch, tmp_path
):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    said = obm("view", bundle)
    assert said.code == 3
    assert "--html FILE" in said.err
    assert list((tmp_path / "temporary").iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(obm, bundle, browser, monkeypatch, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orbax_model_lite.cli.commands.view.write_page", interrupted)
    assert obm("view", bundle).code == 130
    assert list((tmp_path / "temporary").iterdir()) == []


def test_json_says_where_the_page_is(obm, bundle):
    said = obm("view", bundle, "--html", "page.html", "--json")
    size_bytes = Path("page.html").stat().st_size
    assert said.json == {
        "page": "page.html",
        "size_bytes": size_bytes,
        "is_ok": True,
        "findings": 0,
    }


def test_quiet_prints_nothing(obm, bundle):
    said = obm("view", bundle, "--html", "page.html", "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_findings_are_exit_code_1_and_in_the_page(obm, bundle):
    (bundle / "extra.bin").write_bytes(b"")
    said = obm("view", bundle, "--html", "page.html")
    assert said.code == 1
    assert said.out.endswith("1 finding\n")
    assert "extra.bin" in Path("page.html").read_text("utf-8")


def test_what_cannot_be_judged_is_exit_code_3(obm, bundle):
    (bundle / "integrity.pb").unlink()
    said = obm("view", bundle, "--html", "page.html")
    assert said.code == 3
    assert "integrity.pb" in Path("page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("target", "message"),
    [(".", "found the folder '.'"), ("nowhere/page.html", "no folder 'nowhere'")],
)
def test_a_target_that_cannot_be_a_file_is_misuse(target, message, obm, bundle):
    said = obm("view", bundle, "--html", target)
    assert said.code == 2
    assert message in said.err


def test_a_page_inside_the_bundle_is_refused(obm, bundle):
    said = obm("view", bundle, "--html", bundle / "page.html")
    assert said.code == 3
    assert "choose another folder" in said.err
    assert obm("verify", bundle).code == 0


def test_a_page_beside_others_replaces_only_itself(obm, bundle):
    Path("page.html").write_text("older")
    before = set(Path().iterdir())
    obm("view", bundle, "--html", "page.html")
    assert set(Path().iterdir()) == before


def test_a_path_that_does_not_exist_is_misuse_and_leaves_no_page(obm, tmp_path):
    said = obm("view", tmp_path / "nowhere.obm", "--html", tmp_path / "page.html")
    assert said.code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", BROKEN, ids=lambda path: path.name)
def test_damage_ends_in_a_page_or_a_line(folder, obm, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    page = tmp_path / "page.html"
    said = obm("view", copy, "--html", page)
    assert "Traceback" not in said.out + said.err
    assert "unexpected" not in said.err
    assert "\x1b" not in said.out + said.err
    if page.exists():
        assert said.code in {0, 1, 3}
    else:
        assert said.code in {1, 3}
        assert said.err.startswith("obm: ")
        assert said.err.count("\n") == 1


def test_no_framework_is_imported_to_view(bundle, fresh_python):
    code = """
        import sys
        from orbax_model_lite.cli import main
        assert main(["view", sys.argv[1], "--html", "page.html", "--quiet"]) == 0
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    assert not set(fresh_python(code, bundle).split()) & FRAMEWORKS
