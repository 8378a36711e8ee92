"""Where a bundle comes from, and what is in its folder: versions, metadata, records, files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.inspection.description import Description
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.parts import badge, bar, code, facts, section, table
from orbax_model_lite.inspection.wording import counted, size_text

_IN_HEAD: Final = ("name", "version", "description")  # where `document` shows them
_MOST_FILES: Final = 100
_MOST_RECORDS: Final = 100


def origin(found: Description) -> Html:
    """Returns the section on who wrote the bundle, with what."""
    versions = [badge(f"{name} {version}", "quiet") for name, version in found.versions.items()]
    records = [
        element("li", code(name), f" {mime_type.rpartition('type=')[2] or 'untyped'}")
        for name, mime_type in list(found.supplementals.items())[:_MOST_RECORDS]
    ]
    others = [
        element("li", code(name), f" {kind}")
        for name, kind in list(found.other_objects.items())[:_MOST_RECORDS]
    ]
    rows = [(key, text) for key, text in found.metadata.items() if key not in _IN_HEAD]
    return section(
        "origin",
        "Origin",
        element(
            "div",
            facts(
                [
                    *rows,
                    ("written by", versions or "not recorded"),
                    ("layout", found.layout),
                    ("content hash", _hash(found)),
                    ("device assignment", _devices(found)),
                ]
            ),
            _listed("records of the whole bundle", records, len(found.supplementals)),
            _listed("other objects", others, len(found.other_objects)),
            class_="card",
        ),
    )


def files(bundle: Bundle, found: Description) -> Html:
    """Returns the section of the folder's files, largest first."""
    ranked = sorted(_sizes(bundle.path), key=lambda entry: (-entry[1], entry[0]))
    most = max((size for _, size in ranked), default=0) or 1
    rows = [
        (code(path), element("span", size_text(size), class_="number"), bar(size / most))
        for path, size in ranked[:_MOST_FILES]
    ]
    shown = table("Files by their size", ("file", "size", ""), rows, "histogram files")
    more = None
    if len(ranked) > _MOST_FILES:
        more = element("p", f"{len(ranked) - _MOST_FILES:,} smaller ones", class_="dim")
    note = f"{counted(found.file_count, 'file')}, {size_text(found.size_bytes)}"
    return section(
        "files",
        "Files",
        element(
            "details",
            element("summary", "All files" if more is None else "The largest files"),
            shown,
            more,
            class_="card",
        ),
        note=note,
    )


def _hash(found: Description) -> Content:
    return code(found.content_hash) if found.content_hash else "none: no digests are recorded"


def _devices(found: Description) -> str | None:
    return counted(found.device_count, "device") if found.device_count else None


def _listed(title: str, items: list[Html], count: int) -> Html | None:
    if not items:
        return None
    if count > len(items):
        items = [*items, element("li", f"and {count - len(items):,} more", class_="dim")]
    return element(
        "details",
        element("summary", f"{count:,} {title}"),
        element("ul", items, class_="plain"),
    )


def _sizes(root: Path) -> Iterator[tuple[str, int]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            yield path.relative_to(root).as_posix(), path.lstat().st_size
