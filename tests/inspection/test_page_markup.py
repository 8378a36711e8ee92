"""Markup: what a stranger may name things, and how little of it reaches HTML or a script."""

from __future__ import annotations

import html.parser
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from orbax_model_lite.inspection.page.markup import Html, data_script, element, joined

TEXTS = st.text() | st.sampled_from(
    ["</script><script>", "<!--", "]]>", "\u2028", "\u202e", "&amp;", "'\"", "\x00", "\ud800"]
)


class Parsed(html.parser.HTMLParser):
    """What a reader of HTML takes a text for."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@hypothesis.given(TEXTS, TEXTS)
def test_no_text_makes_an_element_or_an_attribute(inside, value):
    parsed = Parsed(element("p", inside, title=value))
    assert [tag for tag, _ in parsed.tags] == ["p"]
    assert [name for name, _ in parsed.tags[0][1]] == ["title"]


@hypothesis.given(TEXTS)
def test_printable_text_is_shown_as_it_is(inside):
    hypothesis.assume(inside.isprintable())
    assert Parsed(element("p", inside)).text == inside


@pytest.mark.parametrize("character", ["\u202e", "\x1b", "\x00", "\ud800", "\u2028"])
def test_what_cannot_be_seen_is_spelled_out(character):
    parsed = Parsed(element("p", f"a{character}b"))
    assert parsed.text == f"a{character!r}b".replace("'", "")


@hypothesis.given(st.recursive(TEXTS | st.none() | st.integers(), st.lists))
def test_data_in_a_script_comes_back_as_it_was(value):
    parsed = Parsed(data_script("d", value))
    assert json.loads(parsed.text) == value
    assert [tag for tag, _ in parsed.tags] == ["script"]


@hypothesis.given(TEXTS)
def test_data_in_a_script_cannot_end_it(value):
    source = data_script("d", {value: [value]})
    inside = source.partition(">")[2].removesuffix("</script>")
    assert not set("<>&\u2028\u2029") & set(inside)


def test_data_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_script("d", float("nan"))


def test_a_script_of_data_is_none_that_runs():
    (_, attributes), *_ = Parsed(data_script("d", 1)).tags
    assert dict(attributes)["type"] == "application/json"


def test_markup_is_taken_as_it_is_and_text_is_not():
    assert joined([Html("<b>"), "<b>", None, 3]) == "<b>&lt;b&gt;3"


def test_attributes_without_a_value_are_written_without_one():
    assert element("input", hidden=True, disabled=False, title=None) == "<input hidden>"
