"""Model Explorer's server on loopback, for one bundle and for the time of one command.

Model Explorer serves any file of the machine to whoever asks, takes uploads, and asks the network
for newer versions of itself; its page takes fonts from the network. What is served here is its page
and one bundle, to this machine's browser, and nothing leaves the machine: see `guard`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from orbax_model_lite import _lazy
from orbax_model_lite.core.reading import read
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.inspection import describe

HOST: Final = "127.0.0.1"
_EXTENSION: Final = "orbax_model_lite.explorer"
_STARTS_WITHIN_S: Final = 60.0


def serve(
    path: str | os.PathLike[str],
    *,
    port: int | None = None,
    announce: Callable[[str], None],
    is_opened: bool = True,
) -> None:
    """Shows a bundle in Model Explorer until Ctrl-C.

    For a process of its own: the server cannot be stopped without ending its process. After Ctrl-C
    it refuses all requests, and the child process that is drawing is ended.

    Args:
      path: The bundle's folder.
      port: To listen on; None takes a free one.
      announce: Called with the address as soon as the server answers.
      is_opened: Whether a browser is opened.

    Raises:
      InvalidBundleError: If it is no bundle, or its manifest is damaged.
      MissingDependencyError: If Model Explorer is not installed.
      UnsupportedError: If the port is taken, or the server does not start.
      StorageError: If the file system refuses.
    """
    pipelines = describe(read(path)).pipelines
    _lazy.load("model_explorer", purpose="obm view --explorer")
    # Both import Model Explorer or Flask.
    from orbax_model_lite.explorer.guard import Guard, on_loopback_only
    from orbax_model_lite.explorer.main import ADAPTER_ID

    port = _free_port(port)
    model = _model_path(Path(path).absolute())
    first = f"pipeline {pipelines[0].name}" if pipelines else ""
    guard = Guard(
        hosts=(f"{HOST}:{port}", f"localhost:{port}"),
        adapter=ADAPTER_ID,
        model=model,
        page=f"/?data={quote(json.dumps(_page(model, ADAPTER_ID, first)))}",
    )
    with on_loopback_only(), guard.installed(), _silenced():
        server = threading.Thread(target=_run, args=(port,), daemon=True)
        server.start()
        _wait_until_ready(server, port)
        address = f"http://{HOST}:{port}/"
        announce(address)
        if is_opened:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.join()
        guard.close()


def _run(port: int) -> None:
    from model_explorer import visualize_from_config

    visualize_from_config(host=HOST, port=port, extensions=[_EXTENSION], no_open_in_browser=True)


def _model_path(folder: Path) -> str:
    """Returns what the front end takes a bundle by: it chooses adapters by the end of the name."""
    return os.fspath(folder if folder.suffix == ".obm" else folder / "manifest.pb")


def _page(model: str, adapter: str, first: str) -> dict[str, Any]:
    """Returns what the page is to show: the bundle, and the default pipeline of it."""
    name = Path(model).name
    label = name if name.endswith(".obm") else f"{name} ({Path(model).parent.name})"
    pane = {
        "deepestExpandedGroupNodeIds": [],
        "selectedNodeId": "",
        "selectedGraphId": first,
        "selectedCollectionLabel": label,
        "widthFraction": 1,
        "selected": True,
    }
    return {
        "models": [{"url": model, "adapterId": adapter}],
        "uiState": {"paneStates": [pane] if first else []},
    }


def _free_port(wanted: int | None) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server itself does: a port whose last connections are only closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as e:
            raise UnsupportedError(
                f"port {wanted}: expected one to listen on; found {e.strerror or e}; choose "
                "another, or leave it out to take a free one"
            ) from e
        return probe.getsockname()[1]


def _wait_until_ready(server: threading.Thread, port: int) -> None:
    # Proxies of the environment are not asked for what is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end and server.is_alive():
        with contextlib.suppress(OSError, urllib.error.URLError):
            if opener.open(f"http://{HOST}:{port}/check_health", timeout=5).status == 200:
                return
        time.sleep(0.05)
    raise UnsupportedError(
        f"port {port}: expected Model Explorer's server to answer; found that it did not start; "
        "try another port"
    )


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Drops what Model Explorer prints: its own address, and tracebacks for errors it hands on."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
