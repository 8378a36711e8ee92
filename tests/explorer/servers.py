"""The command that shows a bundle in Model Explorer, as a process, and asked as a page asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
ADAPTER = "orbax_model_lite"


@dataclass
class Server:
    """A running server, asked as the front end asks."""

    address: str
    bundle: Path
    process: subprocess.Popen[str] | None = None
    errors: list[str] = field(default_factory=list)

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, Any]:
        """Returns status, body and headers."""
        data = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, kind | headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as e:
            return e.code, e.read(), e.headers

    @property
    def command(self) -> dict[str, Any]:
        """What a page asks for."""
        return {
            "cmdId": "convert",
            "extensionId": ADAPTER,
            "modelPath": str(self.bundle),
            "settings": {"const_element_count_limit": 16},
            "deleteAfterConversion": False,
        }

    def convert(self) -> Any:
        """Returns the graphs of the bundle, or the error."""
        status, body, _ = self.ask("apipost/v1/send_command", self.command)
        assert status == 200, body
        return json.loads(body)


@contextmanager
def viewing(path: Path, *options: str) -> Iterator[Server]:
    """Runs `obm view PATH --explorer` until the block ends, then presses Ctrl-C."""
    command = [sys.executable, "-m", "orbax_model_lite", "view", str(path), "--explorer"]
    with subprocess.Popen(
        [*command, "--no-browser", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            said = "".join(process.stdout.readline() for _ in range(3))
            server = Server(json.loads(said)["address"], path, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        server.errors.append(errors)
