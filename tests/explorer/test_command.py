"""`obm view --explorer` where it does not come to a server: misuse, damage, nothing installed."""

from __future__ import annotations

import shutil
import socket
import sys

import pytest

from orbax_model_lite.cli import main

pytestmark = pytest.mark.frameworks


@pytest.mark.parametrize("option", [["--port", "8080"], ["--no-browser"]], ids=["port", "browser"])
def test_options_of_the_server_need_it(bundles, capsys, option):
    assert main(["view", str(bundles("mlp")), *option]) == 2
    assert "means nothing without --explorer" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_misuse(bundles, capsys, port):
    assert main(["view", str(bundles("mlp")), "--explorer", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_page_and_a_server_at_once_are_misuse(bundles, capsys):
    assert main(["view", str(bundles("mlp")), "--explorer", "--html", "x.html"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_missing_model_explorer_is_named_with_what_installs_it(bundles, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_explorer", None)
    assert main(["view", str(bundles("mlp")), "--explorer", "--no-browser"]) == 3
    assert 'pip install "orbax-model-lite[explorer]"' in capsys.readouterr().err


def test_a_taken_port_is_told_before_anything_starts(bundles, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert main(["view", str(bundles("mlp")), "--explorer", "--port", port]) == 3
    assert f"port {port}: expected one to listen on" in " ".join(capsys.readouterr().err.split())


def test_a_damaged_bundle_is_told_before_anything_starts(bundles, tmp_path, capsys):
    path = tmp_path / "mlp.obm"
    shutil.copytree(bundles("mlp"), path)
    (path / "manifest.pb").write_bytes(b"\xff" * 64)
    assert main(["view", str(path), "--explorer", "--no-browser"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "manifest.pb" in said.err


def test_no_bundle_is_misuse(tmp_path, capsys):
    assert main(["view", str(tmp_path / "none"), "--explorer", "--no-browser"]) == 2
    assert "expected a folder" in capsys.readouterr().err
