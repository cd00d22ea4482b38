"""A gateway with several workers, run as an operator runs it, and people who use it without a pause."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp

from gateway.assembly.services import open_services
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.verify import Broken, verify_log
from gateway.cli import main
from gateway.configuration import load as load_configuration
from gateway.configuration import load_keys
from gateway.disclosure import pseudonym
from tests.attacks.witness import LAVISH
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN, Person
from tests.stand import HOST, App, Browser, Change, MiniApp, Said, Seen, Stand, form_token, write_config

ROOT = Path(__file__).parents[2]
CROWD = tuple(Person(f"garde.{number}", f"Ecluse-{number}-Nord") for number in range(4))
NARROW_CAP = 6
START_S = 90
WAIT_S = 60


class SlowApp(MiniApp):
    """An app that can be made to think before it shows patient 2999."""

    def __init__(self) -> None:
        super().__init__((DR_MARTIN, NURSE_BEN, CLERK_LEA, *CROWD))
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    def __call__(self, seen: Seen) -> Any:
        return self.think(seen) if seen.path == "/dossiers/2999" else super().__call__(seen)

    async def think(self, seen: Seen) -> Said:
        """Answer after *go_on*."""
        self.asked.set()
        await self.go_on.wait()
        return MiniApp.__call__(self, seen)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_alive(pid: int) -> bool:
    """Tell whether process *pid* runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Site:
    """The configuration, its app, and whoever is enrolled."""

    folder: Path
    config: Path
    app: App
    handler: SlowApp
    metrics_port: int
    secrets: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def journals(self) -> dict[str, list[dict[str, Any]]]:
        """Return every whole entry of each worker's log, by writer."""
        found: dict[str, list[dict[str, Any]]] = {}
        for folder in sorted((self.folder / "audit").glob("gateway*")):
            for file in sorted(folder.glob("*.jsonl")):
                lines = file.read_bytes().splitlines(keepends=True)
                found.setdefault(folder.name, []).extend(
                    json.loads(line) for line in lines if line[-1:] == b"\n"
                )
        return found

    def missing(self, received: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return who of *received*, a login and a patient each, has no access in any log."""
        keys = load_keys(self.folder / "keys")
        recorded = {
            (entry["account"], text)
            for entries in self.journals().values()
            for entry in entries
            if entry["kind"] == "access"
            for text in entry["patients"]
        }
        return [
            (login, number)
            for login, number in received
            if (login, pseudonym(keys, "parcours", number).text) not in recorded
        ]

    def assert_sound(self) -> None:
        """Assert that every log is whole, by its files alone."""
        ring = files.verifier_keys(load_keys(self.folder / "keys").checkpoint, LOG_NAME)
        for name in self.journals():
            verdict = verify_log(self.folder / "audit" / name, ring)
            assert not isinstance(verdict, Broken), (name, verdict)

    def change(self, old: str, new: str) -> None:
        """Edit the configuration by hand."""
        text = self.config.read_text("utf-8")
        assert old in text, old
        self.config.write_text(text.replace(old, new, 1), "utf-8")

    async def types(self, *words: str) -> int:
        """Type ``ecluse`` and *words*; return the exit code."""

        def run() -> int:
            try:
                main([*words, "--config", str(self.config)])
            except SystemExit as leaving:
                return leaving.code if isinstance(leaving.code, int) else 1
            return 0

        return await asyncio.to_thread(run)


@asynccontextmanager
async def a_site(folder: Path, more: Change | None = None) -> AsyncIterator[Site]:
    """Write a configuration, changed by *more*, and enrol people; no gateway runs yet."""
    handler, metrics_port = SlowApp(), free_port()
    windows = {f"patients_{window}": 1_000_000 for window in ("10min", "1h", "24h", "7d")}

    def changes(config: dict[str, Any]) -> None:
        config["gateway"]["metrics"] = {"port": metrics_port}
        config["gateway"]["drain_s"] = 20
        # Who opens records without a pause would be asked for a code, and rightly.
        config["signals"] = {"watcher": "off"}
        lavish = {**LAVISH, **windows}
        narrow = {**lavish, "patients_10min": NARROW_CAP}
        config["realms"]["region"] = {"classes": {"standard": lavish, "narrow": narrow}}
        if more is not None:
            more(config)

    async with App(handler) as app:
        config = write_config(folder, app.port, changes)
        site = Site(folder, config, app, handler, metrics_port)
        loaded = load_configuration(config)
        async with open_services(loaded) as services:
            gate = Stand(loaded, services, None, 0, app, folder)  # type: ignore[arg-type]
            for person in (DR_MARTIN, NURSE_BEN, *CROWD):
                site.secrets[person.login] = await gate.enrol(person)
            site.secrets[CLERK_LEA.login] = await gate.enrol(CLERK_LEA, "narrow")
        yield site


@dataclass
class Gateway:
    """A gateway that is ready. *said* is its operations log so far."""

    site: Site
    process: asyncio.subprocess.Process
    port: int
    said: list[dict[str, Any]]
    reader: asyncio.Task[None]

    @property
    def children(self) -> list[int]:
        """Return every process that it began: workers, store, keeper, watcher."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in found.read_text("ascii").split()]

    def workers(self, file: str = "workers.json") -> dict[int, int]:
        """Return the processes of the workers that serve, by their numbers, as *file* tells."""
        told = json.loads((self.site.folder / "state" / file).read_text("utf-8"))
        return {each["worker"]: each["pid"] for each in told["workers"] if each["state"] == "serving"}

    async def log_in(self, person: Person) -> dict[str, str]:
        """Log *person* in, code and all, and return the cookies; once for all tests, since a code works once."""
        known = self.site.cookies.get(person.login)
        if known is None:
            browser = Browser(self.port)
            await browser.get("/login")
            got = await browser.post("/login", {"user": person.login, "password": person.password})
            assert got.status == 303, got.text[:500]
            page = await browser.get("/.ecluse/code")
            code = pyotp.TOTP(self.site.secrets[person.login]).now()
            got = await browser.post("/.ecluse/code", {"code": code, "token": form_token(page)})
            assert got.status == 303, got.text[:500]
            known = self.site.cookies[person.login] = dict(browser.cookies)
            await browser.close()
        return known

    async def told(self, event: str, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Return the first line of the operations log, from line *after* on, that tells *event*."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    for line in self.said[after:]:
                        if line.get("event") == event and fields.items() <= line.items():
                            return line
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{event} was never told: {self.said[after:]}") from None

    async def probe(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Return status and body of *path* on the listener for probes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.site.metrics_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split(" ")[1]), body

    async def until_probe(self, path: str, status: int) -> None:
        """Wait until *path* answers *status*."""
        async with asyncio.timeout(WAIT_S):
            while (await self.probe(path))[0] != status:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(
    site: Site, *words: str, environment: dict[str, str] | None = None
) -> AsyncIterator[Gateway]:
    """Run ``ecluse serve`` with *words* until the block ends; whatever is left then is killed."""
    async with running(site, "serve", *words, ready="gateway_ready", environment=environment) as found:
        yield found


@asynccontextmanager
async def running(
    site: Site, *words: str, ready: str, environment: dict[str, str] | None = None
) -> AsyncIterator[Gateway]:
    """Run ``ecluse`` with *words* until the block ends, which begins once it has said *ready*."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words, "--config", str(site.config)),
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stderr=asyncio.subprocess.PIPE,
    )
    said: list[dict[str, Any]] = []
    stderr = process.stderr
    assert stderr is not None

    async def read() -> None:
        while line := await stderr.readline():
            said.append(json.loads(line) if line.startswith(b"{") else {"event": line.decode()})

    reader = asyncio.ensure_future(read())
    gateway = Gateway(site, process, 0, said, reader)
    try:
        async with asyncio.timeout(START_S):
            while not any(line["event"] == ready for line in said):
                assert process.returncode is None, said
                await asyncio.sleep(0.02)
        gateway.port = next(line.get("port", 0) for line in said if line["event"] == ready)
        yield gateway
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader


@dataclass
class Steady:
    """Somebody who opens one record after another on a kept connection. Nothing is tried twice.

    *received* are login and patient of each right answer; *failed* tells of every other outcome.
    """

    port: int
    login: str
    cookies: dict[str, str]
    first: int
    think_s: float = 0.0
    received: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Go on until *stopping*, or until the first failure."""
        browser = Browser(self.port)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        number = self.first
        while not self.stopping and not self.failed:
            # Patients come round again: what an answer must say is known for each.
            number = self.first + (number - self.first + 1) % 200
            try:
                if browser._writer is None:
                    browser._reader, browser._writer = await asyncio.open_connection("127.0.0.1", self.port)
                browser._writer.write(
                    f"GET /dossiers/{number} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookies}\r\n\r\n".encode()
                )
                got = await browser._read("GET")
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(f"{number}: {error!r}")
                break
            if got.status == 200 and f"Patient{number} NOM{number}," in got.text:
                self.received.append((self.login, str(number)))
            else:
                self.failed.append(f"{number}: {got.status} {got.text[:200]}")
            await asyncio.sleep(self.think_s)
        await browser.close()


@asynccontextmanager
async def load(gateway: Gateway) -> AsyncIterator[list[Steady]]:
    """Have the crowd open records on three connections each meanwhile."""
    steady = [
        Steady(gateway.port, person.login, await gateway.log_in(person), 1001 + 300 * place, think_s)
        for place, person in enumerate(CROWD)
        for think_s in (0.02, 0.1, 0.5)
    ]
    tasks = [asyncio.ensure_future(one.run()) for one in steady]
    try:
        yield steady
    finally:
        for one in steady:
            one.stopping = True
        await asyncio.gather(*tasks)


@dataclass
class Systemd:
    """What systemd was told, line by line, and what the environment of a unit says of it."""

    environment: dict[str, str]
    told: list[str] = field(default_factory=list)

    def heard(self) -> list[str]:
        """Return what was told since this was last asked."""
        found, self.told = self.told, []
        return found


@asynccontextmanager
async def as_systemd() -> AsyncIterator[Systemd]:
    """Listen as systemd does for one unit."""
    address = f"ecluse-test-{os.getpid()}-{free_port()}"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address)
        listening.setblocking(False)
        unit = Systemd({"NOTIFY_SOCKET": "@" + address, "WATCHDOG_USEC": "1000000"})
        loop.add_reader(listening, lambda: unit.told.extend(listening.recv(4_096).decode().split("\n")))
        try:
            yield unit
        finally:
            loop.remove_reader(listening)


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
