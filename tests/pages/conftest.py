"""Pages in Chromium that watch what they ask for and complain of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orbax_model_lite import core
from orbax_model_lite.inspection import write_page
from tests.pages import bundles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Opened = Callable[..., "Page"]


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Opened]:
    """Returns `open(file, **context options)`: the page of a file, loaded.

    At the end of the test, nothing but the files themselves was asked for, no script failed, the
    console says nothing, and no dialog came up.
    """
    contexts, asked, complaints, files = [], [], [], []

    def open_page(file: Path, **options: Any) -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        files.append(file.as_uri())
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    # A picture that stands in the page is no request to anybody.
    assert [url for url in asked if not url.startswith("data:image/")] == files


def written(path: Path) -> Path:
    """Writes the page of a bundle beside it; returns the page."""
    page = path.with_suffix(".html")
    write_page(core.read(path), page)
    return page


@pytest.fixture(scope="session")
def usual_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(bundles.usual(tmp_path_factory.mktemp("pages") / "usual"))


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(bundles.hostile(tmp_path_factory.mktemp("pages") / "hostile"))


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the page of a bundle with 100,000 parameters."""
    return written(bundles.many(tmp_path_factory.mktemp("pages") / "many", 100_000))
