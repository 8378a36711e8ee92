"""What keeps Model Explorer's server to one bundle and to this machine.

It watches the server from outside, by Flask's signals and Python's audit hooks, and changes nothing
in it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import flask

ENDED: Final = "ended"
"""What a request knows the event by that ends its drawing."""

_COMMAND: Final = "/apipost/v1/send_command"
_VERSION: Final = "/api/v1/check_new_version"
_ALLOWED: Final = frozenset(
    {
        "/api/v1/get_extensions",
        "/api/v1/notify_user_provided_model_path",
        "/apistream/server_director",
        "/check_health",
    }
)
# The page's own scripts and styles, what it makes of them in memory, and nothing from elsewhere.
_POLICY: Final = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'"
)
# Fonts that the page has a copy of. The policy would refuse them one by one, but not keep the page
# from announcing the connection.
_FROM_ELSEWHERE: Final = re.compile(
    rb'<link rel="preconnect"[^>]*>|@font-face\s*\{[^}]*url\(https?://[^}]*\}'
)
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Guard:
    """Refuses every request but those for the page and for one bundle."""

    def __init__(self, *, hosts: tuple[str, ...], adapter: str, model: str, page: str) -> None:
        """Takes what is allowed.

        Args:
          hosts: What a request may call this server, so that no other site's name leads here.
          adapter: Id of the one adapter.
          model: The one path.
          page: What the bare address leads to.
        """
        self._hosts = hosts
        self._page = page
        self._command = {"cmdId": "convert", "extensionId": adapter, "modelPath": model}
        self._changed = threading.Condition()
        self._busy = 0
        self._ended = threading.Event()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Watches the requests of this process's Flask server."""
        with (
            flask.request_started.connected_to(self._begin),
            flask.request_finished.connected_to(self._finish),
            flask.request_tearing_down.connected_to(self._end),
        ):
            yield

    def close(self) -> None:
        """Refuses every further request, and ends what is being drawn."""
        with self._changed:
            self._ended.set()
            self._changed.wait_for(lambda: self._busy == 0)

    def _begin(self, sender: flask.Flask, **_: Any) -> None:
        request = flask.request
        if request.path == _VERSION:
            flask.abort(flask.jsonify(version="", runningVersion="", releaseUrl=""))
        if request.host not in self._hosts or not self._is_allowed(request):
            flask.abort(403)
        if request.path == "/" and not request.args:
            flask.abort(flask.redirect(self._page))
        with self._changed:
            if self._ended.is_set():
                flask.abort(503)
            if request.path == _COMMAND:
                setattr(flask.g, ENDED, self._ended)
                self._busy += 1

    def _is_allowed(self, request: flask.Request) -> bool:
        if request.path == _COMMAND:
            asked = request.get_json(silent=True)
            return (
                request.method == "POST"
                and isinstance(asked, dict)
                and all(asked.get(key) == value for key, value in self._command.items())
                and not asked.get("deleteAfterConversion")
            )
        is_page = not request.path.startswith("/api")
        return request.method == "GET" and (is_page or request.path in _ALLOWED)

    def _finish(self, sender: flask.Flask, response: flask.Response, **_: Any) -> None:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        if flask.request.path == "/" and response.status_code == 200:
            response.direct_passthrough = False
            response.set_data(_FROM_ELSEWHERE.sub(b"", response.get_data()))

    def _end(self, sender: flask.Flask, **_: Any) -> None:
        if flask.g.pop(ENDED, None):
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


@contextlib.contextmanager
def on_loopback_only() -> Iterator[None]:
    """Lets this process look up and connect to nothing but this machine.

    A hook cannot be taken away again; afterwards it does nothing.
    """
    is_over = threading.Event()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _LOOK_UPS and not is_over.is_set():
            host = _LOOK_UPS[event](arguments)
            if host is not None and host not in _LOOPBACK:
                raise PermissionError(f"expected a host of this machine; found {host!r}")

    sys.addaudithook(hook)
    try:
        yield
    finally:
        is_over.set()


def _connected(arguments: tuple[Any, ...]) -> Any:
    # The address of a Unix socket is a path.
    address = arguments[1]
    return address[0] if isinstance(address, tuple) else None


def _looked_up(arguments: tuple[Any, ...]) -> Any:
    host = arguments[0]
    return host.decode(errors="replace") if isinstance(host, bytes) else host


_LOOK_UPS: Final = {
    "socket.connect": _connected,
    "socket.getaddrinfo": _looked_up,
    "socket.gethostbyname": _looked_up,
}
