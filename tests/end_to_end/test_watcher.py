"""The watcher beside a serving gateway: begun with it, begun again when it is killed, ended with it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stand import write_config

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def serving(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--config", str(config)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(gateway: asyncio.subprocess.Process, event: str, **fields: Any) -> dict[str, Any]:
    """Return the next line of the operations log that tells *event*."""
    assert gateway.stderr is not None
    async with asyncio.timeout(40):
        while line := await gateway.stderr.readline():
            said: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
            if said.get("event") == event and all(said.get(name) == value for name, value in fields.items()):
                return said
    raise AssertionError(f"{event} was never told")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_serve_has_a_watcher_and_has_it_again_when_it_is_killed(tmp_path: Path) -> None:
    async with serving(write_config(tmp_path, 1)) as process:
        first = await told(process, "process_started", process="audit watcher")
        await told(process, "watch_began")
        os.kill(first["pid"], signal.SIGKILL)
        second = await told(process, "process_started", process="audit watcher")
        assert second["pid"] != first["pid"]
        await told(process, "watch_began")
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        assert not is_running(second["pid"])
        assert (tmp_path / "state" / "watch" / "state.msgpack").exists()


async def test_the_watcher_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    async with serving(write_config(tmp_path, 1)) as process:
        watcher = await told(process, "process_started", process="audit watcher")
        await told(process, "watch_began")
        process.kill()
        async with asyncio.timeout(20):
            while is_running(watcher["pid"]):
                await asyncio.sleep(0.1)


async def test_it_follows_a_reload_and_none_runs_where_it_is_off(tmp_path: Path) -> None:
    path = write_config(tmp_path, 1)
    async with serving(path) as process:
        await told(process, "watch_began")
        text = path.read_text("utf-8")
        path.write_text(text + "signals: {ask_at: 50}\n", "utf-8")
        process.send_signal(signal.SIGHUP)
        await told(process, "configuration_reloaded")
        await told(process, "watch_reloaded")
        path.write_text(text + "signals: {watcher: off}\n", "utf-8")
        process.send_signal(signal.SIGHUP)
        refused = await told(process, "configuration_reload_refused")
        assert refused["faults"] == 1
        await told(process, "watch_reload_not_followed")
        process.terminate()
        await process.wait()
    async with serving(path) as process:
        await told(process, "gateway_ready")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await told(process, "process_started", process="audit watcher")
