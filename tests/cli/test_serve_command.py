"""`opensam serve` and `opensam annotate` as processes and as commands."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from opensam.cli import app
from opensam.cli.annotate import has_screen
from opensam.cli.serve import server_config


def test_a_server_for_others_has_a_token_and_one_for_this_machine_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSAM_TOKEN", raising=False)
    assert server_config("127.0.0.1", None, [], []).token is None
    tokens = {server_config("0.0.0.0", None, [], []).token for _ in range(2)}
    assert len(tokens) == 2
    assert all(token and len(token) >= 24 for token in tokens)
    monkeypatch.setenv("OPENSAM_TOKEN", "from-the-environment")
    assert server_config("127.0.0.1", None, [], []).token == "from-the-environment"
    assert server_config("0.0.0.0", "from-the-option", [], []).token == "from-the-option"


def test_limits_are_set_by_name() -> None:
    assert server_config("127.0.0.1", None, ["sam.example"], ["queue=3"]).queue == 3
    with pytest.raises(ValueError, match="queue"):
        server_config("127.0.0.1", None, [], ["queue=0"])


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--port", str(port)])
    assert result.exit_code == 2
    assert f"127.0.0.1:{port} is taken by another program" in result.stderr


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "none"), "--port", "0"])
    assert result.exit_code == 2
    assert "expected a folder of pictures" in result.stderr


def test_without_a_screen_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_screen()


@pytest.mark.slow
def test_ctrl_c_ends_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "opensam", "serve", "--port", "0"]
    environment = os.environ | {"OPENSAM_HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stderr.readline()
        assert "answers at http://127.0.0.1:" in line
        with urllib.request.urlopen(line.split(" at ")[1].split()[0] + "healthz") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
