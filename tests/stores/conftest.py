"""The stores that every suite of this folder runs on: the embedded Valkey, and Debian's redis-server."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.valkey.client import Store
from gateway.valkey.embedded import answers, find_server, server_command
from gateway.valkey.library import product_sources


@pytest.fixture(scope="session", params=["valkey", pytest.param("redis", marks=pytest.mark.redis_server)])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A running server of each kind, for the whole session."""
    binary = find_server() if request.param == "valkey" else shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="ecluse-store-") as name:
        directory = Path(name)
        with subprocess.Popen(server_command(binary, directory)) as server:
            try:
                wait_until_answers(directory / "valkey.sock")
                yield f"unix://{directory / 'valkey.sock'}"
            finally:
                server.terminate()
                server.wait(10)


@pytest.fixture
async def store(store_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store with the product's functions, as a gateway sees it after its first start."""
    await emptied(store_url)
    opened = await Store.open(
        store_url, libraries=product_sources(), state_dir=tmp_path / "state", timeout_ms=8_000
    )
    yield opened
    await opened.close()


async def emptied(store_url: str) -> None:
    """Remove every key of the server."""
    _reader, writer = await asyncio.open_unix_connection(store_url.removeprefix("unix://"))
    writer.write(b"FLUSHALL\r\n")
    await _reader.readline()
    writer.close()
    await writer.wait_closed()


def wait_until_answers(path: Path, timeout_s: float = 10.0) -> None:
    """Wait for a server that was just started."""
    until = time.monotonic() + timeout_s
    while not answers(path):
        if time.monotonic() > until:
            raise TimeoutError(f"no store answers at {path}")
        time.sleep(0.01)
