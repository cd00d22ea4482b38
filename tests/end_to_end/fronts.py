"""A gateway with an edge in a process of its own, and real front proxies before them."""

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.configuration import Loaded, load
from gateway.edge.front import WRITERS, Site
from gateway.edge.front.site import Times
from gateway.policy.policy import Upstream
from gateway.vocabulary.records import RouteKind
from tests.attacks.harness import Authority
from tests.attacks.test_upgrades import frame, read_frame
from tests.end_to_end.test_deployment import free_port
from tests.people import DR_MARTIN, Person
from tests.stand import HOST, Browser, MiniApp, Said, Seen, Stand, mini_config, stand

STALE_HOST = "ancien.example"
"""An app whose front configuration was written when its records were thought to be pages."""
HURRIED = "hurried"
"""A class that may ask eight times in ten seconds."""
SECRET = "5e2f" * 10
PLANTED = ("Set-Cookie", "sid=planted; Path=/"), ("Set-Cookie", "__Host-ecluse=planted; Path=/; Secure")


class EdgeApp(MiniApp):
    """The app of most tests, which tries to plant cookies from one of its pages, and has a socket that echoes."""

    def __call__(self, seen: Seen) -> Said:
        if seen.path == "/direct":
            return self._socket(seen)
        said = super().__call__(seen)
        return replace(said, headers=PLANTED) if seen.path == "/annuaire" else said

    @staticmethod
    def _socket(seen: Seen) -> Said:
        key = f"{seen.header('sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        proof = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        lines = [
            "HTTP/1.1 101 X",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {proof}",
            "",
            "",
        ]

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while (got := await read_frame(reader))[0] == 1:
                    writer.write(frame(b"recu " + got[1], masked=False))
                    await writer.drain()

        return Said(raw="\r\n".join(lines).encode(), then=echo)


_given: set[int] = set()


def _port_of_its_own() -> int:
    """Return a free port that no other proxy was given: several may begin at once."""
    while (port := free_port()) in _given:
        pass
    _given.add(port)
    return port


def to_be_locked(proxy: str) -> Person:
    """Return somebody who logs in through *proxy* alone: a code is taken once."""
    return Person(f"ben.{proxy}", "Canal-du-Nord-7")


class Relay:
    """Stands between the front proxies and the check, and hangs up when it is told to."""

    def __init__(self, target: Path) -> None:
        self.target, self.up = target, True
        self.path = target.with_name("relay.sock")
        self.port = 0
        self.record: list[tuple[bytearray, bytearray]] = []
        """What each connection asked and was answered."""
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._servers.append(await asyncio.start_unix_server(self._serve, self.path))
        self._servers.append(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._servers[1].sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        self.up = False
        for writer in list(self._writers):
            writer.close()

    async def stop(self) -> None:
        self.hang_up()
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.close()
            return
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_unix_connection(self.target)
            self._writers |= {writer, back}
            asked, answered = bytearray(), bytearray()
            self.record.append((asked, answered))
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back, asked))
                group.create_task(_pump(there, writer, answered))
            self._writers -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            record += data
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class House:
    """The gateway, its edge, and the way to it."""

    gate: Stand
    relay: Relay
    authority: Authority
    folder: Path
    loaded: Loaded
    cookies: dict[Person, dict[str, str]] = field(default_factory=dict)
    """What people's browsers hold once they have logged in."""

    def site(self, straight: int | None = None, times: Times | None = None) -> Site:
        """Return what a proxy is written from: ports of its own, and one app as it once was.

        *straight* is the port where it finds the app, when that is not where the inspector does.
        """
        settings, policy = self.loaded.settings, self.loaded.policy
        assert settings.edge is not None
        assert settings.edge.front is not None
        front = replace(settings.edge.front, https_port=_port_of_its_own(), http_port=_port_of_its_own())
        edge = replace(settings.edge, socket=self.relay.path, port=self.relay.port, front=front)
        old = policy.apps["ancien"]
        routes = tuple(
            replace(route, kind=RouteKind.PAGE, extraction=None)
            if route.name in {"record", "list"}
            else route
            for route in old.routes
        )
        apps = policy.apps | {"ancien": replace(old, routes=routes)}
        if straight is not None:
            upstream = Upstream("http", "127.0.0.1", straight)
            apps = {name: replace(app, upstream=upstream) for name, app in apps.items()}
        loaded = Loaded(replace(policy, apps=apps), replace(settings, edge=edge))
        return replace(Site.of(loaded), times=times or Times())


@dataclass
class Front:
    """A proxy that listens."""

    house: House
    name: str
    site: Site
    folder: Path
    pid: int
    browsers: list[Browser] = field(default_factory=list)

    def browser(self, host: str = HOST, accept: str = "text/html") -> Browser:
        made = Browser(self.site.front.https_port, host, accept)
        made.tls = self.house.authority.client()
        self.house.gate.browsers.append(made)
        return made

    def plain(self) -> Browser:
        made = Browser(self.site.front.http_port)
        self.house.gate.browsers.append(made)
        return made


def _configured(folder: Path, port: int, certificate: tuple[Path, Path]) -> Callable[[dict[str, Any]], None]:
    secret = folder / "edge.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)

    def change(config: dict[str, Any]) -> None:
        config["gateway"]["trusted_proxies"] = ["127.0.0.1/32"]
        config["gateway"]["listen"]["port"] = port
        config["gateway"]["edge"] = {
            "socket": str(folder / "edge.sock"),
            "port": free_port(),
            "secret_file": str(secret),
            "front": {"certificate": str(certificate[0]), "key": str(certificate[1]), "address": "127.0.0.1"},
        }
        live = {"name": "live", "kind": "page", "path": "/direct", "websocket": True}
        config["apps"]["parcours"]["routes"].append(live)
        classes = config["realms"]["region"]["classes"]
        # One person plays for all proxies; how fast the machine is must not decide anything.
        classes["standard"]["requests_10s"] = {"hard": 100_000}
        classes[HURRIED] = {"soft_share": 1, "requests_10s": {"hard": 8}}
        config["apps"]["ancien"] = {
            **mini_config(),
            "hosts": [STALE_HOST],
            "upstream": config["apps"]["parcours"]["upstream"],
        }

    return change


@asynccontextmanager
async def house(folder: Path, waits: Mapping[str, float] | None = None) -> AsyncIterator[House]:
    """Run app, inspector and edge, and the relay before the edge; *waits* is as in stand."""
    authority = Authority(folder)
    certificate = authority.leaf(HOST, STALE_HOST)
    people = (DR_MARTIN, *map(to_be_locked, COMMANDS))
    async with stand(folder, EdgeApp(people), _configured(folder, free_port(), certificate), waits) as gate:
        loaded = load(folder / "ecluse.yaml")
        with (folder / "edge.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "edge", "serve", "--config", str(folder / "ecluse.yaml")),
                stderr=log,
            )
        relay = Relay(folder / "edge.sock")
        try:
            await until(lambda: answers(relay.target), process)
            await relay.start()
            yield House(gate, relay, authority, folder, loaded)
        finally:
            await relay.stop()
            if process.returncode is None:
                process.terminate()
            assert await process.wait() == 0, (folder / "edge.log").read_text()


async def answers(path: Path) -> bool:
    """Tell whether somebody listens on the socket *path*."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def until(
    holds: Callable[[], Any], process: asyncio.subprocess.Process, patience_s: float = 30.0
) -> None:
    """Wait until the asynchronous *holds* is true, while *process* runs."""
    end_s = time.monotonic() + patience_s
    while not await holds():
        assert process.returncode is None, "it ended"
        assert time.monotonic() < end_s, "it took too long"
        await asyncio.sleep(0.05)


def _nginx(folder: Path) -> list[str]:
    around = (
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nworker_processes 1;\nevents {{}}\n"
        "http {\naccess_log off;\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"include {folder}/ecluse.conf;\n}}\n"
    )
    (folder / "nginx.conf").write_text(around)
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "nginx": _nginx,
    "traefik": lambda folder: ["traefik", f"--configFile={folder}/traefik.yaml"],
    "caddy": lambda folder: ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"],
    "envoy": lambda folder: [
        "envoy",
        "-c",
        f"{folder}/envoy.yaml",
        "--disable-hot-restart",
        "--concurrency",
        "1",
    ],
    "haproxy": lambda folder: ["haproxy", "-db", "-f", f"{folder}/ecluse.cfg"],
}


def program(name: str) -> str | None:
    """Return where the program *name* is: beside this Python or on the path."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


@asynccontextmanager
async def front(
    around: House, name: str, folder: Path, straight: int | None = None, times: Times | None = None
) -> AsyncIterator[Front]:
    """Run the proxy *name* with the configuration that is written for it; the rest is as in House.site."""
    site = around.site(straight, times)
    for file, text in WRITERS[name](site).items():
        (folder / file).write_text(text)
    command = COMMANDS[name](folder)
    with (folder / "out.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program(command[0]) or "", *command[1:], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    running = Front(around, name, site, folder, process.pid)
    try:
        await until(lambda: _serves(running), process)
        yield running
    except AssertionError:
        print((folder / "out.log").read_text()[-3_000:])
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _serves(running: Front) -> bool:
    try:
        return (await running.browser().get("/static/app.css")).status == 200
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError):
        return False
