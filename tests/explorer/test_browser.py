"""Model Explorer's page in Chromium: the bundle's graphs are there to be seen, and nothing leaves.

The graph itself is drawn on a canvas; what it shows is read from the list of graphs, from the panel
of the node that is found by a search, and from the canvas not being blank.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.explorer.servers import Server, viewing

pytestmark = pytest.mark.frameworks

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def server(bundles):
    with viewing(bundles("words")) as running:
        yield running


class Visit:
    """One page, with everything that it asked for and complained about."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on(
            "request", lambda request: self.hosts.add(urllib.parse.urlsplit(request.url).netloc)
        )
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(server.address)

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def see(self, text: str) -> None:
        """Waits until a text is to be seen."""
        found = self.page.get_by_text(text, exact=True).filter(visible=True)
        expect(found.first).to_be_visible(timeout=PATIENCE_MS)

    def see_drawing(self, file: Path) -> None:
        """Waits until something is drawn, and leaves a picture of it."""
        for _ in range(100):
            self.page.wait_for_timeout(300)
            self.page.screenshot(path=file)
            if colours_of_the_graph(file) > 10:
                return
        raise AssertionError(f"nothing is drawn; see {file}")

    def choose(self, shown: str, wanted: str) -> None:
        """Chooses another graph in the list."""
        self.page.get_by_text(shown, exact=True).first.click()
        self.page.get_by_text(wanted, exact=True).first.click()
        expect(self.page.get_by_text("Processing graph")).to_be_hidden(timeout=PATIENCE_MS)

    def find(self, pattern: str, label: str) -> None:
        """Searches for a node and selects it."""
        self.page.get_by_placeholder("Search nodes/layers by regex").fill(pattern)
        results = self.page.locator(".search-results-container")
        results.get_by_text(label, exact=True).first.click(modifiers=["Alt"])


@pytest.fixture
def visit(chromium, server):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    yield Visit(page, server)
    page.close()


def colours_of_the_graph(file: Path) -> int:
    """Returns how many colours are where the graph is drawn."""
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))[100:780, 150:1000]
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_the_pipeline_is_shown_and_no_request_leaves_this_machine(visit, server, tmp_path):
    page = visit.page
    visit.see("pipeline serving_default")
    expect(page.get_by_text("Processing graph")).to_be_hidden(timeout=PATIENCE_MS)
    visit.see("words.obm")
    visit.see_drawing(tmp_path / "pipeline.png")
    assert visit.hosts == {urllib.parse.urlsplit(server.address).netloc}
    assert visit.complaints == []


def test_the_list_has_the_pipeline_and_its_functions(visit):
    visit.page.get_by_text("pipeline serving_default", exact=True).first.click()
    for name in ("function before", "function serving_default", "function after"):
        visit.see(name)


def test_a_function_is_shown_with_its_named_ends_and_operations(visit, server, tmp_path):
    visit.choose("pipeline serving_default", "function serving_default")
    visit.see("StableHLO")
    visit.find("weight kernel", "weight kernel")
    visit.see("float32 [4, 3]")
    visit.see_drawing(tmp_path / "function.png")
    assert visit.hosts == {urllib.parse.urlsplit(server.address).netloc}
    assert visit.complaints == []
