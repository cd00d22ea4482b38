"""A server of a test's own, that it may kill, freeze and empty."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.valkey.client import StoreUnavailable
from gateway.valkey.embedded import answers, server_command


class Server:
    """One server process in a directory of its own. *url* stays the same over restarts."""

    def __init__(self, binary: str, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ecluse-own-"))
        self.socket = self.directory / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._command = [*server_command(binary, self.directory), *options]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        until = time.monotonic() + 10
        while not answers(self.socket):
            if time.monotonic() > until:
                raise TimeoutError(f"no store answers at {self.socket}")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """Kill it and lose its disk."""
        self.kill()
        shutil.rmtree(self.directory)
        self.directory.mkdir()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


async def eventually(work: Callable[[], Awaitable[object]], within_s: float = 5.0) -> None:
    """Wait until *work* no longer raises StoreUnavailable."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                await work()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return
