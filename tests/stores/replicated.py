"""Three servers, of which one is the primary, and three Sentinels that watch over them: real processes."""

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.valkey.embedded import find_server

GROUP = "ecluse"
PASSWORD = "Ecluse-de-Garonne-3"
SENTINEL_PASSWORD = "Ecluse-de-Dordogne-5"
PATIENCE_S = 30.0
DOWN_AFTER_MS = 1_000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until[Answer](ask: Callable[[], Answer], what: str, within_s: float = PATIENCE_S) -> Answer:
    """Return the first answer of *ask* that is true; a refused connection is none."""
    end = time.monotonic() + within_s
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if answer := ask():
                return answer
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


class Node:
    """One process. *port* stays the same when it is started again; *told_by_file*: the command knows it already."""

    def __init__(
        self, folder: Path, command: list[str], password: str | None = None, *, told_by_file: bool = False
    ) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir()
        self._command = [*command, "--dir", str(folder)]
        self._command += [] if told_by_file else ["--port", str(self.port)]
        self._command += ["--bind", "127.0.0.1", "--logfile", str(folder / "log")]
        self._password = password
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen([*self._command, *options])

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *command: str | int) -> Any:
        """Run one command on a connection of its own."""
        with redis.Redis(
            port=self.port,
            password=self._password,
            protocol=2,
            socket_timeout=2,
            # Whoever waits for a node to live or to die asks again soon enough.
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        ) as client:
            return client.execute_command(*command)

    @property
    def role(self) -> str:
        return str(self.ask("ROLE")[0])


class Replicated:
    """The six of them. *url* is what a gateway is told."""

    def __init__(self, folder: Path) -> None:
        binary = find_server()
        self.servers = [
            Node(
                folder / f"server{number}",
                [
                    *(binary, "--requirepass", PASSWORD, "--masterauth", PASSWORD),
                    *("--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"),
                    *("--maxmemory-policy", "noeviction"),
                ],
                PASSWORD,
            )
            for number in range(3)
        ]
        self.sentinels = []
        for number in range(3):
            home = folder / f"sentinel{number}"
            sentinel = Node(home, [binary, str(home / "conf"), "--sentinel"], SENTINEL_PASSWORD)
            (home / "conf").write_text(
                f"sentinel monitor {GROUP} 127.0.0.1 {self.servers[0].port} 2\n"
                f"sentinel auth-pass {GROUP} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {GROUP} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {GROUP} 2000\n"
                f"requirepass {SENTINEL_PASSWORD}\n"
                f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            )
            self.sentinels.append(sentinel)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.address = f"sentinel://{hosts}/{GROUP}"
        self.url = f"sentinel://:{PASSWORD}@{hosts}/{GROUP}?sentinel_password={SENTINEL_PASSWORD}"

    def __enter__(self) -> Self:
        self.servers[0].start()
        for server in self.servers[1:]:
            server.start(*_following(self.servers[0]))
        # A Sentinel looks for replicas when it starts, and not again for ten seconds.
        until(lambda: len(online(self.servers[0])) == 2, "the replicas do not follow")
        for sentinel in self.sentinels:
            sentinel.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for node in (*self.sentinels, *self.servers):
            node.kill()

    def settle(self) -> None:
        """Bring everybody back, and wait until one primary has two replicas and all Sentinels know."""
        for node in (*self.sentinels, *self.servers):
            if node.process is None or node.process.poll() is not None:
                node.start(*(_following(self.primary()) if node in self.servers else ()))
            node.send(signal.SIGCONT)
        until(self._settled, "the servers and Sentinels do not settle")

    def _settled(self) -> bool:
        primary = self.primary()
        return (
            [server.role for server in self.servers].count("master") == 1
            and primary.role == "master"
            and len(online(primary)) == 2
            and all(self._knows(sentinel, primary) for sentinel in self.sentinels)
        )

    def _knows(self, sentinel: Node, primary: Node) -> bool:
        flat = sentinel.ask("SENTINEL", "MASTER", GROUP)
        told = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return (
            int(told["port"]) == primary.port
            and told["flags"] == "master"
            and int(told["num-slaves"]) == 2
            and int(told["num-other-sentinels"]) == 2
        )

    def primary(self) -> Node:
        """Return who the first Sentinel that answers says is the primary."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError, OSError):
                _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP)
                return next(server for server in self.servers if server.port == int(port))
        raise redis.ConnectionError("no Sentinel answers")

    def replicas(self) -> list[Node]:
        """Return the others."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def cut(self, primary: Node) -> None:
        """Let no replica follow *primary* any more, though everybody lives on."""
        for server in self.replicas():
            server.ask("CONFIG", "SET", "masterauth", "wrong")
        primary.ask("CLIENT", "KILL", "TYPE", "replica")
        until(lambda: not online(primary), "the replicas still follow")

    def mend(self) -> None:
        """Take `cut` back, for those that live."""
        for server in self.servers:
            with contextlib.suppress(redis.ConnectionError):
                server.ask("CONFIG", "SET", "masterauth", PASSWORD)

    def follow(self) -> None:
        """Let those that live follow the primary at once; a Sentinel that missed one looks again after ten seconds."""
        primary = self.primary()
        for server in self.replicas():
            with contextlib.suppress(redis.ConnectionError):
                server.ask("REPLICAOF", "127.0.0.1", primary.port)


def _following(primary: Node) -> tuple[str, str]:
    return "--replicaof", f"127.0.0.1 {primary.port}"


def online(primary: Node) -> list[str]:
    """Return the names of the replicas that follow *primary*."""
    info = primary.ask("INFO", "replication")
    return [name for name, told in info.items() if name.startswith("slave") and told.get("state") == "online"]


@contextmanager
def replicated() -> Iterator[Replicated]:
    """Run the six of them in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="ecluse-ha-") as name, Replicated(Path(name)) as running:
        running.settle()
        yield running
