"""What a notebook shows, through IPython's own formatter: also of damaged and huge bundles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orbax_model_lite import core
from orbax_model_lite.core.report import Finding, Report
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.page.notebook import MOST_BYTES
from tests.pages import bundles

BROKEN = sorted((Path(__file__).parent.parent / "corpus/broken").glob("must_*/*"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> core.Bundle:
    return core.read(bundles.usual(tmp_path_factory.mktemp("notebook") / "usual.obm"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns `shown(value)`: what a notebook's kernel sends, by MIME type."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    # A history would be a database in the home folder.
    config = Config({"HistoryManager": {"enabled": False}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        shell = InteractiveShell.instance(config=config)

    def show(value: Any) -> dict[str, str]:
        data, _ = shell.display_formatter.format(value)
        return data

    yield show
    # The shell has put a module of its own in the place of `__main__`.
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


def signature() -> core.Signature:
    weights = {"kernel": bundles.spec(4, 3), "bias": bundles.spec(3)}
    return core.Signature.of_call((weights, bundles.spec("b", 4)), {}, bundles.spec("b", 3))


def test_a_bundle_is_short_as_text_and_whole_as_html(usual, shown):
    data = shown(usual)
    assert data["text/plain"] == "<Bundle 'usual.obm': 3 functions, 1 value, layout 2025-09>"
    for text in ("decode", "net", "label", "layer_0", "bfloat16", "SafeTensors: 24 arrays"):
        assert text in data["text/html"]


def test_a_signature_is_a_tree(shown):
    data = shown(signature())
    assert data["text/plain"] == (
        "<Signature ({kernel: float32 [4, 3], bias: float32 [3]}, float32 [b, 4]) "
        "-> float32 [b, 3]>"
    )
    assert data["text/html"].count("<details open>") == 1
    assert "<b>b</b>" in data["text/html"]


def test_a_report_shows_its_verdict_and_findings(shown):
    findings = [Finding("warning", f"file '{i}'", "is <odd>") for i in range(7)]
    data = shown(Report((Finding("error", "weights 'w'", "are gone"), *findings)))
    lines = data["text/plain"].splitlines()
    assert lines[0] == "<Report: not ok: something is wrong"
    assert lines[1] == "  error: weights 'w': are gone"
    assert lines[-1] == "  and 3 more>"
    assert data["text/html"].count("<li>") == 8
    assert "is &lt;odd&gt;" in data["text/html"]


def test_a_report_without_findings_is_one_word(shown):
    assert shown(Report())["text/plain"] == "<Report: ok>"


@pytest.mark.frameworks
def test_a_model_shows_its_pipeline(shown, tmp_path):
    import orbax_model_lite as obm

    obm.pack(tmp_path / "m.obm", lambda x: 2 * x, None, "b", platforms=["cpu"])
    with obm.load(tmp_path / "m.obm") as model:
        data = shown(model)
        function = next(iter(model.functions))
    assert data["text/plain"] == f"<Model 'm.obm': serving_default = {function}>"
    assert "Model <code>m.obm</code>" in data["text/html"]
    assert "obm-stage" in data["text/html"]


@pytest.mark.frameworks
def test_a_changed_model_shows_its_own_pipelines(shown, tmp_path):
    import orbax_model_lite as obm

    obm.pack(
        tmp_path / "m.obm",
        lambda x: 2 * x,
        None,
        "b",
        postprocess=lambda y: y + 1,
        platforms=["cpu"],
    )
    fused = obm.load(tmp_path / "m.obm").fuse()
    assert shown(fused)["text/html"].count('class="obm-stage"') == 1


@pytest.mark.frameworks
def test_a_closed_model_still_shows_itself(shown, tmp_path):
    import orbax_model_lite as obm

    obm.pack(tmp_path / "m.obm", lambda x: 2 * x, None, "b", platforms=["cpu"])
    model = obm.load(tmp_path / "m.obm")
    model.close()
    data = shown(model)
    assert data["text/plain"].startswith("<Model 'm.obm' (closed): ")
    assert "serving_default" in data["text/html"]


def test_a_fragment_has_no_script_and_styles_only_itself(usual):
    html = usual._repr_html_()
    assert "<script" not in html
    style = html.partition("<style>")[2].partition("</style>")[0]
    selectors = [rule.partition("{")[0] for rule in style.split("}") if rule.strip()]
    parts = [part.strip() for selector in selectors for part in selector.split(",")]
    assert [part for part in parts if not part.startswith(".obm-lite")] == []


def test_a_bundle_whose_folder_is_gone_still_shows_itself(tmp_path, shown):
    bundle = core.read(bundles.usual(tmp_path / "m"))
    shutil.rmtree(tmp_path / "m")
    data = shown(bundle)
    assert "damaged: " in data["text/html"]
    assert "decode" in data["text/html"]


@pytest.mark.parametrize("folder", BROKEN, ids=lambda path: path.name)
def test_damage_is_no_error_in_a_notebook(folder, shown):
    try:
        bundle = core.read(folder)
    except ObmError:
        return
    assert len(shown(bundle)["text/html"]) < MOST_BYTES


def test_hostile_names_are_text_in_a_notebook(tmp_path):
    html = core.read(bundles.hostile(tmp_path / "m"))._repr_html_()
    assert bundles.HOSTILE not in html
    assert "<script" not in html
    assert "<img" not in html


def test_many_parameters_are_counted(tmp_path):
    html = core.read(bundles.many(tmp_path / "m", 20_000))._repr_html_()
    assert len(html) < MOST_BYTES
    assert "20,000 arrays" in html
    assert "more</li>" in html


def test_long_names_and_many_functions_are_cut(tmp_path):
    long = {f"{'n' * 500}{i}": bundles.spec("b") for i in range(100)}
    wide = bundles.function(long, long, long)
    path = tmp_path / "m"
    path.mkdir()
    core.save({f"{'f' * 150}_{i}": wide for i in range(60)}, path)
    html = core.read(path)._repr_html_()
    assert len(html.encode()) < MOST_BYTES
    assert "more</li>" in html


def test_text_of_many_escapes_is_cut(tmp_path):
    names = {f"{'<' * 4000}{i}": bundles.spec("b") for i in range(300)}
    signature = core.Signature.of_call((names,), {}, names)
    assert len(signature._repr_html_()) < MOST_BYTES
    report = Report(tuple(Finding("error", '"' * 9000, "<" * 9000) for _ in range(2000)))
    assert len(report._repr_html_()) < MOST_BYTES
    assert len(repr(report)) < MOST_BYTES
