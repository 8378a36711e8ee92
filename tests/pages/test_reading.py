"""The page in a browser: it loads alone, trees open, themes, paper, keyboard, hostile names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.bundles import HOSTILE

pytestmark = pytest.mark.browser

BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def is_dark(page) -> bool:
    red, green, blue = page.evaluate(f"{BACKGROUND}.match(/\\d+/g).map(Number)")[:3]
    return red + green + blue < 3 * 64


def test_a_page_loads_from_a_file_without_a_request_or_complaint(opened, usual_page):
    page = opened(usual_page)
    assert page.title().startswith("pictures")
    assert page.locator("h2").all_inner_texts()[0] == "Pipeline"


def test_the_page_is_there_without_its_script(opened, usual_page):
    page = opened(usual_page, java_script_enabled=False)
    assert page.locator(".flow .stage").count() == 3
    assert page.locator("table.arrays tbody tr").count() == 24
    assert not page.locator(".controls").is_visible()


def test_the_policy_lets_no_other_script_run_and_nothing_be_fetched(chromium, usual_page, tmp_path):
    foreign = (
        "<script>document.title = 'a script'</script>"
        "<img src='x.png' onerror='document.title = 1'>"
        "<img src='data:,' onerror='document.title = 2'>"
        "<iframe srcdoc='<script>parent.document.title = 3</script>'></iframe>"
        "<style>h1 { display: none }</style>"
    )
    (tmp_path / "x.png").write_bytes(b"")
    changed = tmp_path / "changed.html"
    changed.write_text(usual_page.read_text("utf-8").replace("<h1>", f"{foreign}<h1>"), "utf-8")
    page = chromium.new_page()
    page.goto(changed.as_uri())
    assert page.title().startswith("pictures")
    assert page.locator("h1").is_visible()
    page.close()


def test_a_tree_opens_and_closes_by_a_click(opened, usual_page):
    page = opened(usual_page)
    tree = page.locator(".obm-tree details").filter(has_text="layer_3").last
    kernel = tree.locator("li", has_text="kernel")
    assert not kernel.is_visible()
    tree.locator("summary").click()
    assert kernel.is_visible()
    tree.locator("summary").click()
    assert not kernel.is_visible()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_tree_opens_by_the_keyboard(key, opened, usual_page):
    page = opened(usual_page)
    tree = page.locator(".obm-tree details").filter(has_text="layer_3").last
    tree.locator("summary").focus()
    page.keyboard.press(key)
    assert tree.locator("li", has_text="kernel").is_visible()


def test_all_trees_of_a_function_open_at_once(opened, usual_page):
    page = opened(usual_page)
    card = page.locator("article", has=page.locator(".toggle"))
    card.get_by_role("button", name="Open all").click()
    assert card.locator(".obm-tree details:not([open])").count() == 0
    card.get_by_role("button", name="Close all").click()
    assert card.locator(".obm-tree details[open]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_chosen(scheme, opened, usual_page):
    page = opened(usual_page, color_scheme=scheme)
    assert is_dark(page) is (scheme == "dark")
    page.get_by_role("button", name="Theme").click()
    assert is_dark(page) is (scheme != "dark")
    page.get_by_role("button", name="Theme").click()
    assert is_dark(page) is (scheme == "dark")


@pytest.mark.parametrize("width", [320, 768, 1280, 1920])
def test_a_page_is_never_wider_than_its_window(width, opened, usual_page):
    page = opened(usual_page)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_that_acts_is_reached_by_the_tab_key(opened, usual_page):
    page = opened(usual_page)
    wanted = page.locator("a, button:enabled, input, summary").locator("visible=true").count()
    seen = set()
    for _ in range(2 * wanted):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "[...document.querySelectorAll('a, button, input, summary')]"
                ".indexOf(document.activeElement)"
            )
        )
    assert len(seen - {-1}) == wanted


def test_the_first_key_leads_past_the_contents(opened, usual_page):
    page = opened(usual_page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_every_control_has_a_name_and_every_table_a_caption(opened, usual_page):
    page = opened(usual_page)
    assert page.locator("table:not(:has(> caption))").count() == 0
    assert page.locator("img:not([alt])").count() == 0
    for control in page.locator("button, input").all():
        name = control.evaluate(
            "e => e.ariaLabel || e.textContent || e.labels?.[0]?.textContent || ''"
        )
        assert name.strip()


def test_on_paper_it_is_light_and_all_trees_are_open(opened, usual_page):
    page = opened(usual_page, color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert page.locator("details:not([open])").count() == 0
    assert not page.get_by_role("button", name="Theme").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_recorded_pictures_are_shown_as_pictures(opened, usual_page):
    page = opened(usual_page)
    sizes = page.locator(".items img").evaluate_all(
        "images => images.map(i => [i.naturalWidth, i.naturalHeight])"
    )
    assert sizes == [[16, 16]] * 3
    assert page.locator(".items").get_by_text("not a picture").is_visible()


def test_links_of_a_pipeline_lead_to_its_functions_and_weights(opened, usual_page):
    page = opened(usual_page)
    page.locator(".flow").get_by_role("link", name="net").click()
    assert page.locator("article:target h3 .name").inner_text() == "net"
    page.locator(".flow").get_by_role("link", name="params").click()
    assert page.locator("article:target h3 .name").inner_text() == "params"


def test_hostile_names_are_only_text(opened, hostile_page):
    page = opened(hostile_page)
    assert page.locator("h1").inner_text().startswith(HOSTILE)
    # The recorded call shows the one text that begins like a picture as text too.
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    names = page.locator("table.arrays tbody th").all_inner_texts()
    assert HOSTILE in names


def test_hostile_names_stay_text_when_they_are_searched_and_sorted(opened, hostile_page):
    page = opened(hostile_page)
    page.get_by_label("Search").fill("alert(1)")
    page.locator("table.arrays mark").first.wait_for()
    assert page.locator("table.arrays tbody th").all_inner_texts() == [HOSTILE]
    page.get_by_role("button", name="Name").click()
    assert page.locator("img").count() == 0


CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const parts = color.slice(0, 3).map((part) => {
      part /= 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = rgb(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const pair = [rgb(getComputedStyle(element).color), behind(element)].map(light).sort();
    found.push([(pair[1] + 0.05) / (pair[0] + 0.05), walker.currentNode.data]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(scheme, opened, usual_page):
    """By the measure and the limit of WCAG 2.2, success criterion 1.4.3."""
    contrasts = opened(usual_page, color_scheme=scheme).evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [(ratio, text) for ratio, text in contrasts if ratio < 4.5] == []


def test_a_fragment_of_a_notebook_is_shown_in_both_themes(opened, tmp_path):
    from orbax_model_lite import core
    from tests.pages import bundles

    bundle = core.read(bundles.hostile(tmp_path / "m"))
    for text, back in (("#111", "#fff"), ("#ddd", "#111")):
        file: Path = tmp_path / f"notebook{back[1:]}.html"
        style = f"<!doctype html><meta charset=utf-8><body style='color:{text};background:{back}'>"
        file.write_text(style + bundle._repr_html_(), encoding="utf-8")
        page = opened(file)
        assert page.locator("script, img").count() == 0
        summary = page.locator("summary").first
        color = "e => getComputedStyle(e).color"
        assert summary.evaluate(color) == page.locator("body").evaluate(color)
        inner = page.locator(".obm-tree").first
        assert not inner.is_visible()
        summary.click()
        assert inner.is_visible()
