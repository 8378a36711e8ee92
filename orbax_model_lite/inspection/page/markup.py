"""HTML that is escaped unless it was made here: elements, and data inside a script element.

A string becomes text of the page; only `Html` is taken as it is, and only this module makes it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any, Final, TypeAlias, final

from orbax_model_lite.inspection.wording import clean


@final
class Html(str):
    """Markup that is safe to be put into a page."""

    __slots__ = ()


Content: TypeAlias = "Html | str | int | Iterable[Content] | None"
"""What an element may hold: markup, text (escaped), nothing, or several of these."""

_VOID: Final = frozenset({"img", "input", "meta", "wbr"})


def element(tag: str, *content: Content, **attributes: Any) -> Html:
    """Returns an element.

    Args:
      tag: Its name.
      *content: What is inside.
      **attributes: By name; `class_` is "class", and any other underscore is a hyphen. True is an
        attribute without a value; False and None leave it out.

    >>> element("a", "1 < 2", href="#x", class_="link", hidden=False)
    '<a href="#x" class="link">1 &lt; 2</a>'
    """
    parts = [f"<{tag}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{text(str(value))}"')
    parts.append(">")
    if tag in _VOID:
        return Html("".join(parts))
    parts.append(joined(content))
    parts.append(f"</{tag}>")
    return Html("".join(parts))


def joined(content: Content) -> Html:
    """Returns several contents, one after the other."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, (str, int)):
        return text(str(content))
    return Html("".join(map(joined, content)))


def text(value: str) -> Html:
    """Returns text with everything escaped that HTML or an eye could take for something else.

    A character that cannot be seen, such as one that turns the direction of writing, is shown as
    `repr` shows it.
    """
    return Html(html.escape(clean(value)))


def data_script(name: str, value: Any) -> Html:
    """Returns a script element that holds a value as JSON and never runs.

    Args:
      name: The element's id.
      value: Of lists, dicts, strings, numbers and None; NaN is no JSON and is refused.
    """
    raw = json.dumps(value, separators=(",", ":"), allow_nan=False)
    # ASCII by now; without these three, no text inside can end the element or begin a comment.
    for character in "<>&":
        raw = raw.replace(character, f"\\u{ord(character):04x}")
    return element("script", Html(raw), type="application/json", id=name)
