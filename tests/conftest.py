"""What all tests share: a quiet and offline environment, fresh interpreters, golden files.

Imports no framework, so that the tests of the core run where only the base is installed.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = pathlib.Path(__file__).parent.parent

# Frameworks read these when they are first imported. Eight CPU devices stand in for a mesh.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Compiling takes as long as it takes; a deadline would only measure the machine.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the flag that rewrites golden text files."""
    parser.addoption(
        "--update-goldens",
        action="store_true",
        help="write the expected text files in tests/golden instead of comparing with them",
    )


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """Fails a test that connects to anything but this machine."""
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            raise PermissionError(f"a test tried to connect to {address!r}; tests run offline")


sys.addaudithook(_refuse_network)

FreshPython = Callable[..., str]


@pytest.fixture(scope="session")
def fresh_python() -> FreshPython:
    """Returns `run(code, *arguments, env={}, timeout_s=300)`: a new interpreter's standard output.

    The package is importable there wherever it is started, and warnings are errors. A failure shows
    what the process wrote to standard error.
    """

    def run(
        code: str, *arguments: object, env: dict[str, str] | None = None, timeout_s: float = 300
    ) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Returns Debian's Chromium, driven by Playwright.

    Not for the whole session: as long as it lives, nothing else in this process can run a loop of
    asyncio, which reading a checkpoint does, and no second Playwright can be started.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no 'chromium' on PATH, in which pages are tested; apt-get install chromium"
    with sync_playwright() as playwright:
        # The sandbox asks for what root has not; what is opened here is made by the tests.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def golden_text(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Returns `check(name, text)`: compares with tests/golden/NAME, or writes it when asked to."""

    def check(name: str, text: str) -> None:
        path = REPOSITORY / "tests" / "golden" / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run pytest with --update-goldens and review it"
        assert text == path.read_text(encoding="utf-8")

    return check
