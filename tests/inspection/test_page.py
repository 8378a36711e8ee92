"""The page of a bundle as text: what is in it, that nothing is outside of it, where it goes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.core.report import Finding, Report
from orbax_model_lite.errors import ObmError, StorageError
from orbax_model_lite.inspection import page_html, write_page
from tests.pages import bundles

CORPUS = Path(__file__).parent.parent / "corpus"
FOLDERS = sorted([*CORPUS.glob("*/model"), *CORPUS.glob("broken/must_*/*")])
FRAMEWORKS = {"jax", "jaxlib", "tensorflow", "orbax", "flax", "pandas", "matplotlib", "PIL"}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> core.Bundle:
    return core.read(bundles.usual(tmp_path_factory.mktemp("page") / "usual"))


@pytest.fixture(scope="module")
def page(usual: core.Bundle) -> str:
    return page_html(usual)


def data(page: str) -> dict:
    (found,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    return json.loads(found)


def policy(page: str) -> dict[str, str]:
    (found,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    parts = found.replace("&#x27;", "'").split("; ")
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


@pytest.mark.parametrize(("tag", "kind"), [("script", "script-src"), ("style", "style-src")])
def test_the_policy_allows_what_is_in_the_page_and_nothing_else(tag, kind, page):
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert policy(page)[kind] == f"'sha256-{digest}'"
    assert policy(page)["default-src"] == "'none'"
    assert policy(page)["img-src"] == "data:"


def test_the_page_names_no_place_in_the_network(page):
    places = re.findall(r"""(?:src|href)=["']?([^"'> ]*)""", page)
    assert [place for place in places if not place.startswith(("#", "data:image/"))] == []
    assert set(re.findall(r"https?://[^\s\"'<)]*", page)) == {"http://www.w3.org/2000/svg"}


def test_all_arrays_are_in_the_data_a_column_a_list(page):
    found = data(page)
    assert len(found["names"]) == 24
    at = found["names"].index("layer_3.kernel")
    assert found["types"][found["type"][at]] == "bfloat16"
    assert (found["shape"][at], found["bytes"][at]) == ("[8, 8]", 128)


def test_operations_are_counted_as_recorded(page):
    assert "75 operations of 18 kinds" in page
    assert "6 rarer kinds" in page


def test_what_needs_tensorflow_is_said(page):
    tile = re.search(r"<li><span class=\"role\">TensorFlow</span>(.*?)</li>", page)
    assert tile is not None
    assert re.findall(r"<code>(.*?)</code>", tile[1]) == ["decode", "label"]


def test_a_bundle_without_findings_says_so(page):
    assert "Files, digests, references and pipelines are as they should be." in page


def test_the_findings_shown_are_those_given(usual):
    report = Report((Finding("error", "file 'x'", "expected <this>; found that"),))
    page = page_html(usual, report=report)
    assert "expected &lt;this&gt;; found that" in page
    assert ">1 error</span>" in page


def test_errors_come_before_all_else_and_lighter_findings_do_not(usual):
    for severity, is_first in (("error", True), ("warning", False)):
        page = page_html(usual, report=Report((Finding(severity, "file 'x'", "is odd"),)))
        order = re.findall(r'<section id="(\w+)"', page)
        assert (order[0] == "findings") is is_first
        assert len(order) == 7


def test_weights_that_cannot_be_read_have_no_size(tmp_path):
    path = bundles.usual(tmp_path / "m")
    (path / "weights.safetensors").write_bytes(b"\xff" * 16)
    page = page_html(core.read(path))
    assert "weights</span><strong>?</strong>" in page
    assert 'params</a>, <span class="number">?</span>' in page


def test_a_changed_file_is_a_finding_without_being_asked_for(tmp_path):
    path = bundles.usual(tmp_path / "m")
    with (path / "net.shlo").open("ab") as file:
        file.write(b"more")
    assert "file &#x27;net.shlo&#x27;" in page_html(core.read(path))


def test_the_same_bundle_gives_the_same_page(usual, page):
    assert page_html(usual) == page


def test_hostile_names_are_nowhere_markup(tmp_path):
    page = page_html(core.read(bundles.hostile(tmp_path / "m")))
    assert bundles.HOSTILE not in page
    assert page.count("<script") == 2
    assert "<img" not in page
    assert bundles.HOSTILE in data(page)["names"]


def test_names_that_turn_the_direction_of_writing_are_spelled_out(tmp_path):
    page = page_html(core.read(bundles.hostile(tmp_path / "m", "safe\u202egnp.exe\u2028\x1b[31m")))
    assert not set("\u202e\u2028\x1b") & set(page)
    assert r"safe\u202egnp.exe\u2028\x1b[31m" in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_bundle_that_can_be_read_has_a_page(folder):
    try:
        bundle = core.read(folder)
    except ObmError:
        return
    assert page_html(bundle).endswith("</html>\n")


def test_a_large_signature_is_cut_and_the_weights_are_not(tmp_path):
    page = page_html(core.read(bundles.many(tmp_path / "m", 3000)))
    assert len(data(page)["names"]) == 3000
    assert len(re.findall("<li>", page)) < 2000
    assert "The first 50 of 3,000 arrays" in page


def test_no_framework_is_imported_to_make_a_page(tmp_path, fresh_python):
    path = bundles.usual(tmp_path / "m")
    code = """
        import sys
        from orbax_model_lite import core
        from orbax_model_lite.inspection import write_page
        write_page(core.read(sys.argv[1]), sys.argv[2])
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    modules = fresh_python(code, path, tmp_path / "m.html").split()
    assert not set(modules) & FRAMEWORKS
    assert (tmp_path / "m.html").stat().st_size > 10_000


def test_a_page_replaces_an_older_one_and_leaves_nothing_else(usual, tmp_path):
    target = tmp_path / "m.html"
    target.write_text("older")
    write_page(usual, target)
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["m.html"]


def test_a_failed_write_leaves_the_older_page(usual, tmp_path, monkeypatch):
    target = tmp_path / "m.html"
    target.write_text("older")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="disk is full"):
        write_page(usual, target)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.html", "older")]


def test_a_folder_is_not_replaced(usual, tmp_path):
    with pytest.raises(StorageError, match="expected the name of a file"):
        write_page(usual, tmp_path)


def test_a_device_is_not_replaced(usual, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="expected the name of a file"):
        write_page(usual, tmp_path / "pipe")


def test_a_page_is_not_written_into_its_bundle(tmp_path):
    path = bundles.usual(tmp_path / "m")
    with pytest.raises(StorageError, match="outside the bundle"):
        write_page(core.read(path), path / "page.html")
    assert not (path / "page.html").exists()
