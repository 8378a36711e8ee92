"""The table of weights in a browser: sorted, searched, paged through, also with 100,000 rows."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.browser


def names(page) -> list[str]:
    return page.locator("table.arrays tbody th").all_inner_texts()


def sizes(page) -> list[str]:
    return page.locator("table.arrays tbody .number").all_inner_texts()


def state(page) -> str:
    return page.locator(".controls output").inner_text()


def sort(page, title: str) -> str | None:
    page.locator("table.arrays thead").get_by_role("button", name=title).click()
    head = page.locator("table.arrays thead th", has_text=title)
    return head.get_attribute("aria-sort")


def search(page, text: str, expected: str) -> None:
    page.get_by_label("Search").fill(text)
    begins = re.compile("^" + re.escape(expected))
    page.locator(".controls output", has_text=begins).wait_for()


def test_a_column_sorts_up_then_down_then_as_it_was(opened, usual_page):
    page = opened(usual_page)
    before = names(page)
    assert sort(page, "Name") == "ascending"
    first = names(page)
    assert first[:4] == ["layer_0.bias", "layer_0.kernel", "layer_1.bias", "layer_1.kernel"]
    assert sort(page, "Name") == "descending"
    assert names(page) == first[::-1]
    assert sort(page, "Name") == "none"
    assert names(page) == before


def test_numbers_inside_names_sort_as_numbers(opened, usual_page):
    page = opened(usual_page)
    sort(page, "Name")
    layers = [int(name.split(".")[0].removeprefix("layer_")) for name in names(page)[::2]]
    assert layers == list(range(12))


def test_sizes_sort_largest_first(opened, usual_page):
    page = opened(usual_page)
    assert sort(page, "Size") == "descending"
    assert sizes(page) == ["128 B"] * 12 + ["32 B"] * 12
    assert sort(page, "Size") == "ascending"
    assert sizes(page) == ["32 B"] * 12 + ["128 B"] * 12


def test_a_column_sorts_by_the_keyboard_too(opened, usual_page):
    page = opened(usual_page)
    page.locator("table.arrays thead").get_by_role("button", name="Size").focus()
    page.keyboard.press("Enter")
    assert sizes(page)[0] == "128 B"


def test_only_one_column_is_said_to_be_sorted(opened, usual_page):
    page = opened(usual_page)
    sort(page, "Name")
    sort(page, "Type")
    sorted_by = page.locator("table.arrays th:not([aria-sort=none])[aria-sort]")
    assert sorted_by.all_inner_texts() == ["Type"]


def test_a_search_keeps_what_has_all_words(opened, usual_page):
    page = opened(usual_page)
    search(page, "LAYER_1 bfloat16", "3 of 24 arrays, 384 B")
    assert names(page) == ["layer_1.kernel", "layer_10.kernel", "layer_11.kernel"]
    assert page.locator("table.arrays mark").all_inner_texts() == ["layer_1"] * 3
    search(page, "[8, 8]", "12 of 24")
    search(page, "", "24 arrays, 1.9 kB")


def test_a_search_without_a_result_says_so(opened, usual_page):
    page = opened(usual_page)
    search(page, "embedding", "nothing found in 24 arrays")
    assert names(page) == []


def test_a_group_is_searched_by_its_button(opened, usual_page):
    page = opened(usual_page)
    page.locator(".groups").get_by_role("button", name="layer_3").click()
    assert names(page) == ["layer_3.bias", "layer_3.kernel"]


def test_bars_are_as_long_as_arrays_are_large(opened, usual_page):
    page = opened(usual_page)
    sort(page, "Size")
    widths = page.locator("table.arrays tbody rect").evaluate_all(
        "bars => bars.map(bar => Math.round(bar.getAttribute('width')))"
    )
    assert widths == [100] * 12 + [25] * 12


def test_few_rows_have_no_pages(opened, usual_page):
    assert not opened(usual_page).locator(".pager").is_visible()


def test_100_000_parameters_are_paged_through(opened, large_page):
    page = opened(large_page)
    assert len(names(page)) == 50
    assert state(page).startswith("100,000 arrays")
    sort(page, "Name")
    page.get_by_role("button", name="Next page").click()
    assert names(page)[0] == "decoder.layer_5.part_0.kernel"
    page.get_by_role("button", name="Last page").click()
    assert names(page)[-1] == "decoder.layer_9999.part_9.kernel"
    page.get_by_label("Page", exact=True).fill("3")
    page.keyboard.press("Enter")
    assert names(page)[0] == "decoder.layer_10.part_0.kernel"


def test_100_000_parameters_are_searched_and_sorted(opened, large_page):
    page = opened(large_page)
    search(page, "layer_777.", "10 of 100,000 arrays")
    assert sort(page, "Size") == "descending"
    assert sizes(page)[0] == "28 B"
    search(page, "", "100,000 arrays")
    assert names(page)[0] == "decoder.layer_0.part_6.kernel"
    assert set(sizes(page)) == {"28 B"}
    # However many there are, the browser holds the rows of one page.
    assert page.locator("table.arrays tr").count() == 51


def test_the_signature_of_100_000_parameters_is_cut_and_counted(opened, large_page):
    page = opened(large_page)
    page.get_by_role("button", name="Open all").click()
    lines = page.locator("article").first.locator(".obm-tree li").count()
    assert lines < 1100
    assert page.locator("article").first.get_by_text("more").first.is_visible()
