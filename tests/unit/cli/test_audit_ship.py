"""``ecluse audit ship``: where its metrics stand, and how it ends when they cannot."""

import socket
from pathlib import Path
from typing import Any

import pytest

from gateway import telemetry
from gateway.cli import main
from tests.stand import write_config


def shipped(config: dict[str, Any]) -> None:
    config["gateway"]["metrics"] = {"address": "127.0.0.2", "port": 9_464}
    # Nobody listens there: with a single pass, shipping would end with 1.
    config["audit"]["collector"] = {"url": "tcp://127.0.0.1:9", "format": "ecs"}


def test_a_metrics_port_that_is_taken_ends_it_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda: None)
    path = write_config(tmp_path, 1, shipped)
    with socket.create_server(("127.0.0.2", 0)) as taken, pytest.raises(SystemExit) as leaving:
        port = taken.getsockname()[1]
        main(["audit", "ship", "--once", "--metrics-port", str(port), "--config", str(path)])
    assert leaving.value.code == 2
    told = capsys.readouterr().err
    assert f"metrics cannot be served on 127.0.0.2:{port}: Address already in use" in told
