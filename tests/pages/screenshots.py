"""Pictures of pages for eyes: each bundle in both themes, wide and narrow.

    python -m tests.pages.screenshots FOLDER [BUNDLE ...]

Without bundles: a usual one, one with 100,000 parameters and a hostile one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from orbax_model_lite import core
from orbax_model_lite.inspection import write_page
from tests.pages import bundles

WIDTHS = {"wide": 1280, "narrow": 400}


def take(browser: Browser, bundle: core.Bundle, name: str, folder: Path) -> None:
    """Writes NAME.html, NAME_THEME_WIDTH.png and NAME_print.pdf."""
    page_file = folder / f"{name}.html"
    write_page(bundle, page_file)
    for theme in ("light", "dark"):
        for width, pixels in WIDTHS.items():
            size = {"width": pixels, "height": 900}
            page = browser.new_page(viewport=size, color_scheme=theme)
            page.goto(page_file.as_uri())
            page.screenshot(path=folder / f"{name}_{theme}_{width}.png", full_page=True)
            page.close()
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.pdf(path=folder / f"{name}_print.pdf", format="A4")
    page.close()


def main(folder: Path, paths: list[Path]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        paths = paths or [
            bundles.usual(Path(scratch, "usual")),
            bundles.many(Path(scratch, "many"), 100_000),
            bundles.hostile(Path(scratch, "hostile")),
        ]
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for path in paths:
            name = path.parent.name if path.name == "model" else path.stem
            take(browser, core.read(path), name, folder)
            print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
