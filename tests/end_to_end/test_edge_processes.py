"""``ecluse edge serve`` itself: several processes, their sockets, their logs, and their end."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.configuration import load
from tests.end_to_end.sites import SECRET, configured
from tests.end_to_end.test_deployment import free_port

PATIENCE_S = 60.0


def children(pid: int) -> list[int]:
    """Return the processes that *pid* began and that answer, by the kernel's own list."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def journal(folder: Path, writer: str) -> list[dict[str, Any]]:
    """Return what *writer* has written."""
    files = sorted((folder / "audit" / writer).glob("*.jsonl"))
    return [
        json.loads(line)
        for file in files
        for line in file.read_bytes().splitlines(keepends=True)
        if b"\n" in line
    ]


def kinds(folder: Path, number: int) -> list[str]:
    return [entry["kind"] for entry in journal(folder, f"edge-{number}")]


def wait_until(holds: Any, what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


async def ask(place: Path | int, secret: str | None) -> int:
    """Ask about a stranger's page, and return the status."""
    if isinstance(place, Path):
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", place)
    lines = [
        "GET /check HTTP/1.1", "Host: ecluse", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /annuaire",
        "X-Forwarded-Host: parcours.example", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.9",
        "Accept: text/html", "Connection: close",
    ]  # fmt: skip
    if secret is not None:
        lines.append(f"X-Ecluse-Front: {secret}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1])


def test_processes_answer_are_begun_again_and_end_together(tmp_path: Path) -> None:
    """O01 O03: a faulty configuration changes nothing, in any process, and each tells which policy is in force."""
    port = free_port()

    def change(config: dict[str, Any]) -> None:
        config["gateway"]["edge"] |= {"processes": 2, "port": port}

    path = configured(tmp_path, change)
    in_force = load(path).policy.policy_id
    with (tmp_path / "edge.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "edge", "serve", "--config", str(path)], stderr=log
        )
    try:
        for number in (1, 2):
            wait_until(
                lambda number=number: "started" in kinds(tmp_path, number), f"process {number} never began"
            )
        sock = tmp_path / "edge.sock"
        assert stat.S_IMODE(sock.stat().st_mode) == 0o660
        for place in (sock, port):
            assert asyncio.run(ask(place, SECRET)) == 303
            assert asyncio.run(ask(place, None)) == 403
            assert asyncio.run(ask(place, SECRET[:-1])) == 403
        # One is killed: the other answers, and the first comes back to the log it had.
        workers = [
            pid for pid in children(process.pid) if b"edge" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        for _ in range(20):
            assert asyncio.run(ask(sock, SECRET)) == 303
        wait_until(
            lambda: sum(kinds(tmp_path, number).count("started") for number in (1, 2)) == 3,
            "the one that was killed never came back",
        )
        # All of them read the configuration again.
        loaded = [kinds(tmp_path, number).count("config-loaded") for number in (1, 2)]
        process.send_signal(signal.SIGHUP)
        for index, number in enumerate((1, 2)):
            wait_until(
                lambda index=index, number=number: (
                    kinds(tmp_path, number).count("config-loaded") > loaded[index]
                ),
                "a process did not reload",
            )
        # A faulty one is refused, told, and changes nothing.
        sound = path.read_text()
        path.write_text(sound.replace("kind: page", "kind: pages"))
        process.send_signal(signal.SIGHUP)
        for number in (1, 2):
            wait_until(
                lambda number=number: "config-refused" in kinds(tmp_path, number), "a fault was not told"
            )
        for place in (sock, port):
            assert asyncio.run(ask(place, SECRET)) == 303
        told = [entry for number in (1, 2) for entry in journal(tmp_path, f"edge-{number}")]
        wanted = {"started", "config-loaded", "config-refused"}
        assert {entry["policy_id"] for entry in told if entry["kind"] in wanted} == {in_force}
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, (tmp_path / "edge.log").read_text()
    finally:
        process.kill()
        process.wait()
    assert not sock.exists()
    assert [kinds(tmp_path, number)[-1] for number in (1, 2)] == ["stopped", "stopped"]
    path.write_text(sound)
    with pytest.raises(SystemExit) as verified:
        main(["audit", "verify", "--config", str(path)])
    assert verified.value.code == 0


def test_a_place_that_is_taken_is_said(tmp_path: Path) -> None:
    path = configured(tmp_path)
    (tmp_path / "edge.sock").write_text("somebody's file")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "edge", "serve", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert "the check cannot listen on" in done.stderr
    assert "edge.sock" in done.stderr
    assert (tmp_path / "edge.sock").read_text() == "somebody's file"
