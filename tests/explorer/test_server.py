"""The command as a process: what its server answers, what it refuses, how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.explorer.servers import ADAPTER, REPOSITORY, Server, viewing

pytestmark = pytest.mark.frameworks


@pytest.fixture(scope="module")
def server(bundles):
    with viewing(bundles("words")) as running:
        yield running


def test_the_server_has_loaded_our_adapter(server):
    status, body, _ = server.ask("api/v1/get_extensions")
    (ours,) = (e for e in json.loads(body) if e["id"] == ADAPTER)
    assert (status, ours["type"], ours["fileExts"]) == (200, "adapter", ["obm", "pb"])


def test_the_graphs_of_the_bundle_are_served(server):
    (collection,) = server.convert()["graphCollections"]
    assert [graph["id"] for graph in collection["graphs"]] == [
        "pipeline serving_default",
        "function after",
        "function before",
        "function serving_default",
    ]


def test_the_bare_address_leads_to_the_default_pipeline(server):
    with urllib.request.urlopen(server.address) as answer:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.url).query)
    data = json.loads(query["data"][0])
    assert data["models"] == [{"url": str(server.bundle), "adapterId": ADAPTER}]
    assert data["uiState"]["paneStates"][0]["selectedGraphId"] == "pipeline serving_default"


def test_the_page_names_no_other_host_to_load_from_and_may_load_from_none(server):
    _, page, headers = server.ask("?data=%7B%22models%22%3A%5B%5D%7D")
    assert b"fonts.gstatic.com" not in page
    assert "default-src 'self'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "api/v1/read_text_file?path=/etc/hostname",
        "api/v1/send_command?json={}",
        "api/v1/load_graphs_json?graph_index=0",
    ],
)
def test_other_files_of_the_machine_are_not_served(server, path):
    assert server.ask(path)[0] == 403


@pytest.mark.parametrize(
    "path", ["apipost/v1/upload", "apipost/v1/update_config", "apipost/v1/refresh_page"]
)
def test_nothing_is_taken_in(server, path):
    assert server.ask(path, {"name": "x"})[0] == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"modelPath": "/etc/hostname"},
        {"extensionId": "builtin_mlir"},
        {"cmdId": "__init__"},
        {"deleteAfterConversion": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_one_bundle_is_converted_and_by_our_adapter(server, changes):
    assert server.ask("apipost/v1/send_command", server.command)[0] == 200
    assert server.ask("apipost/v1/send_command", server.command | changes)[0] == 403


def test_a_request_by_another_name_is_refused(server):
    assert server.ask("check_health")[0] == 200
    assert server.ask("check_health", Host="rebound.example")[0] == 403


def test_no_newer_version_is_asked_for(server):
    status, body, _ = server.ask("api/v1/check_new_version")
    assert (status, json.loads(body)["version"]) == (200, "")


def test_it_listens_on_loopback_only(server):
    port = urllib.parse.urlsplit(server.address).port
    with socket.socket() as other:
        # Taken, if it listened on every address.
        other.bind(("127.0.0.2", port))


def test_damage_done_while_it_runs_is_told_as_an_error_without_a_traceback(bundles, tmp_path):
    path = tmp_path / "mlp.obm"
    shutil.copytree(bundles("mlp"), path)
    with viewing(path) as running:
        (path / "manifest.pb").write_bytes(b"\xff" * 64)
        answer = running.convert()
        assert list(answer) == ["error"]
        assert answer["error"].startswith("InvalidBundleError: ")
        assert "expected" in answer["error"]
    assert running.errors == [""]


def test_ctrl_c_ends_it_well_and_leaves_nothing_behind(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with viewing(bundles("words")) as running:
        running.convert()
        port = urllib.parse.urlsplit(running.address).port
    assert running.process.returncode == 0
    assert running.errors == [""]
    assert [*tmp_path.glob("obm-*")] == []
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", port)) != 0


def test_ctrl_c_while_a_graph_is_drawn_leaves_nothing_behind(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def ask() -> None:
        # Whether the answer is still sent is left open.
        with contextlib.suppress(OSError, http.client.HTTPException):
            running.convert()

    with viewing(bundles("words")) as running:
        asking = threading.Thread(target=ask)
        asking.start()
        while asking.is_alive() and not [*tmp_path.glob("obm-*")]:
            time.sleep(0.01)
    asking.join()
    assert running.process.returncode == 0
    assert running.errors == [""]
    assert [*tmp_path.glob("obm-*")] == []


def test_the_port_can_be_chosen(bundles):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with viewing(bundles("words"), "--port", str(port)) as running:
        assert running.address == f"http://127.0.0.1:{port}/"


def test_a_bundle_of_another_name_is_opened_by_its_manifest(bundles, tmp_path):
    path = tmp_path / "words"
    path.symlink_to(bundles("words"), target_is_directory=True)
    with viewing(path) as running:
        running.bundle = path / "manifest.pb"
        (collection,) = running.convert()["graphCollections"]
        assert collection["label"] == "words"


def test_model_explorer_itself_takes_our_extension(bundles, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from model_explorer.cmdline import main; main()"]
    options = ["--extensions=orbax_model_lite.explorer", "--no_open_in_browser"]
    place = [f"--port={port}", "--host=127.0.0.1", str(bundles("mlp"))]
    # By itself it looks for newer versions of itself; here, where there is nobody.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    with Path(tmp_path, "said.txt").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command + options + place,
            stdout=said,
            stderr=said,
            cwd=REPOSITORY,
            env=os.environ | nowhere,
        )
        try:
            server = Server(f"http://127.0.0.1:{port}/", bundles("mlp"))
            wait_for(server)
            (collection,) = server.convert()["graphCollections"]
            assert "pipeline serving_default" in [graph["id"] for graph in collection["graphs"]]
        finally:
            process.kill()
            process.wait()


def wait_for(server: Server) -> None:
    for _ in range(300):
        try:
            if server.ask("check_health")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")
