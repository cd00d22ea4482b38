"""``ecluse edge serve`` as operators run it: no question is lost, whatever is replaced, reloaded or ended."""

import asyncio
import json
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.end_to_end.sites import SECRET, configured
from tests.end_to_end.workers_site import (
    WAIT_S,
    Gateway,
    Site,
    Systemd,
    a_site,
    as_systemd,
    free_port,
    is_alive,
    kill,
    running,
    serving,
)
from tests.people import DR_MARTIN
from tests.stand import HOST

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

WORKERS = "edge-workers.json"


@dataclass
class Edge:
    """A check of two processes that is ready, beside an inspector, and a professional's cookies."""

    gateway: Gateway
    inspector: Gateway
    socket: Path
    port: int
    metrics_port: int
    cookies: str

    @property
    def site(self) -> Site:
        return self.gateway.site

    def workers(self) -> dict[int, int]:
        """Return the processes that answer, by their seats."""
        return self.gateway.workers(WORKERS)

    async def counted(self) -> float:
        """Return how many questions were decided, as the metrics of the whole door tell it."""
        status, text = await self.gateway.probe("/metrics", self.metrics_port)
        assert status == 200
        return sum(
            float(value) for value in re.findall(r"^ecluse_requests_total\{.*\} (.*)$", text, re.MULTILINE)
        )

    def kinds(self) -> dict[str, list[str]]:
        """Return the kinds of the entries of each process's log."""
        return {
            folder.name: [
                json.loads(line)["kind"]
                for file in sorted(folder.glob("*.jsonl"))
                for line in file.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n")
            ]
            for folder in sorted((self.site.folder / "audit").glob("edge-*"))
        }


@dataclass
class Asker:
    """A front proxy's connections: one question after another. Nothing is tried twice.

    *kept*: on one connection for as long as the check lets it; else each on a fresh one.
    """

    place: Path | int
    cookies: str
    kept: bool = True
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    stopping: bool = False
    ending: bool = False
    """The check is being ended: that nobody listens any more is its right."""

    async def run(self, think_s: float = 0.01) -> None:
        """Go on until *stopping*, until the first failure, or until nobody listens when that may be."""
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self.stopping and not self.failed:
            try:
                if streams is None:
                    streams = await connected(self.place)
            except OSError as error:
                if not self.ending:
                    self.failed.append(f"nobody listens: {error!r}")
                return
            try:
                status, lines = await asked(*streams, self.cookies)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(f"after {self.answered}: {error!r}")
                break
            if status != 200 or not any(line.startswith("cookie: ") for line in lines):
                self.failed.append(f"after {self.answered}: {status} {lines}")
                break
            self.answered += 1
            if "connection: close" in lines or not self.kept:
                streams[1].close()
                streams = None
            await asyncio.sleep(think_s)
        if streams is not None:
            streams[1].close()


async def connected(place: Path | int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(place, Path):
        return await asyncio.open_unix_connection(place)
    return await asyncio.open_connection("127.0.0.1", place)


async def asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cookies: str, secret: str | None = SECRET
) -> tuple[int, list[str]]:
    """Ask whether the directory may be seen; return the status and the lines of the answer's head."""
    lines = [
        "GET /check HTTP/1.1", "Host: ecluse", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /annuaire",
        f"X-Forwarded-Host: {HOST}", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.9",
        "Accept: text/html",
    ]  # fmt: skip
    lines += [f"Cookie: {cookies}"] * bool(cookies)
    lines += [f"X-Ecluse-Front: {secret}"] * (secret is not None)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next((int(line[16:]) for line in head if line.lower().startswith("content-length: ")), 0)
    await reader.readexactly(length)
    return int(head[0].split(" ")[1]), [line.lower() for line in head[1:]]


async def once(place: Path | int, cookies: str = "", secret: str | None = SECRET) -> int:
    """Ask once, on a connection of its own, and return the status."""
    reader, writer = await connected(place)
    try:
        return (await asked(reader, writer, cookies, secret))[0]
    finally:
        writer.close()


@asynccontextmanager
async def load(edge: Edge) -> AsyncIterator[list[Asker]]:
    """Have front proxies ask meanwhile, on kept and on fresh connections, by socket and by port."""
    askers = [
        *(Asker(place, edge.cookies) for place in (edge.socket, edge.port) for _ in range(3)),
        *(Asker(edge.socket, edge.cookies, kept=False) for _ in range(2)),
    ]
    tasks = [asyncio.ensure_future(one.run()) for one in askers]
    try:
        yield askers
    finally:
        for one in askers:
            one.stopping = True
        await asyncio.gather(*tasks)


async def more(askers: list[Asker], questions: int = 20) -> None:
    """Wait until every one of *askers* has had so many *questions* more answered."""
    goal = [one.answered + questions for one in askers]
    async with asyncio.timeout(WAIT_S):
        while any(one.answered < each and not one.failed for one, each in zip(askers, goal, strict=True)):
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unit() -> AsyncIterator[Systemd]:
    async with as_systemd() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory, unit: Systemd) -> AsyncIterator[Edge]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    port, metrics_port, sock = free_port(), free_port(), folder / "edge.sock"

    def changes(config: dict[str, Any]) -> None:
        config["audit"]["keeper"] = "off"
        config["gateway"]["edge"] = {
            "socket": str(sock),
            "port": port,
            "secret_file": str(folder / "secret"),
            "processes": 2,
            "metrics": {"port": metrics_port},
        }

    async with a_site(folder, changes) as site, serving(site) as inspector:
        cookies = "; ".join(f"{name}={value}" for name, value in (await inspector.log_in(DR_MARTIN)).items())
        async with running(
            site, "edge", "serve", ready="edge_serves", environment=unit.environment
        ) as gateway:
            yield Edge(gateway, inspector, sock, port, metrics_port, cookies)


async def test_it_answers_who_knows_the_secret_and_tells_systemd_and_probes(
    edge: Edge, unit: Systemd
) -> None:
    assert len(edge.workers()) == 2
    async with asyncio.timeout(WAIT_S):
        while "WATCHDOG=1" not in unit.told:
            await asyncio.sleep(0.05)
    told = unit.heard()
    assert told.count("READY=1") == 1
    assert any(line.startswith("STATUS=2 of 2 workers serve, policy ") for line in told)
    assert await edge.gateway.probe("/healthz", edge.metrics_port) == (200, "alive\n")
    assert await edge.gateway.probe("/readyz", edge.metrics_port) == (200, "ready\n")
    assert stat.S_IMODE(edge.socket.stat().st_mode) == 0o660
    for place in (edge.socket, edge.port):
        assert await once(place, edge.cookies) == 200
        assert await once(place) == 303
        assert await once(place, edge.cookies, None) == 403
        assert await once(place, edge.cookies, SECRET[:-1]) == 403
    assert await edge.site.types("edge", "status") == 0
    # Only those who answer have the keys' rooms in their memory, and none of them speaks in the unit's name.
    maps = Path(f"/proc/{edge.gateway.process.pid}/maps").read_text("ascii")
    assert "cryptography" not in maps
    assert "pydantic" not in maps
    for pid in edge.workers().values():
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_what_the_processes_counted_is_summed_and_stays_when_one_is_killed(edge: Edge) -> None:
    """Connections fall to both: what one has counted is not all, and is not lost with it."""
    before = await edge.counted()
    several = [await connected(edge.socket) for _ in range(6)]
    for _ in range(5):
        for streams in several:
            assert (await asked(*streams, edge.cookies))[0] == 200
    assert await edge.counted() == before + 30
    held = {
        pid: len([None for file in Path(f"/proc/{pid}/fd").iterdir() if "socket:" in str(file.readlink())])
        for pid in edge.workers().values()
    }
    assert max(held.values()) - min(held.values()) <= 2
    for _, writer in several:
        writer.close()
    gone = edge.workers()[1]
    begun = len(edge.gateway.said)
    kill(gone)
    # The other goes on, and another one comes to the first one's seat and log.
    assert [await once(edge.socket, edge.cookies) for _ in range(10)] == [200] * 10
    await edge.gateway.told("edge_ready", begun, process=1)
    async with asyncio.timeout(WAIT_S):
        while len(edge.workers()) < 2:
            await asyncio.sleep(0.02)
    assert edge.workers()[1] != gone
    assert await edge.counted() >= before + 30


async def test_a_reload_reaches_both_doors_and_tells_what_each_answered(
    edge: Edge, capfd: pytest.CaptureFixture[str]
) -> None:
    """O01 O03: what a door does not take changes nothing there, and each tells which policy is in force."""
    site = edge.site
    old = site.config.read_text("utf-8")

    async def reload(*words: str) -> tuple[int, dict[str, Any], set[str]]:
        capfd.readouterr()
        code = await site.types("config", "reload", "--wait-s", "60", "--json", *words)
        told = json.loads(capfd.readouterr().out)
        return code, told, {answer["policy_id"] for answer in told["doors"].values()}

    code, before, policies = await reload()
    assert (code, list(before["doors"]), policies) == (0, ["inspector", "edge"], {before["policy_id"]})
    # Another page than before: neither door takes that unless somebody accepts it, and then both do.
    site.change("path: /annuaire", "path: /ailleurs")
    code, told, policies = await reload()
    assert (code, told["loaded"], policies) == (1, False, {before["policy_id"]})
    assert await once(edge.socket, edge.cookies) == 200
    code, told, policies = await reload("--accept-weakening")
    assert (code, told["loaded"], len(policies)) == (0, True, 1)
    assert policies != {before["policy_id"]}
    assert [await once(edge.socket, edge.cookies) for _ in range(6)] == [403] * 6
    # The edge alone refuses what only it cannot change; it keeps what it has, and is told apart.
    site.change("processes: 2", "processes: 3")
    assert await site.types("config", "reload", "--wait-s", "60") == 1
    shown = capfd.readouterr()
    assert "The configuration is in force at the gateway: policy " in shown.out
    assert "needs a restart: edge.processes" in shown.err
    assert f"the check refused the configuration and keeps the old one: policy {policies.pop()}" in shown.err
    site.config.write_text(old, "utf-8")
    code, told, policies = await reload("--accept-weakening")
    assert (code, policies) == (0, {before["policy_id"]})
    assert await once(edge.socket, edge.cookies) == 200


async def test_every_process_is_replaced_and_no_question_fails(edge: Edge) -> None:
    async with load(edge) as askers:
        await more(askers)
        before = edge.workers()
        assert await edge.site.types("edge", "restart") == 0
        await more(askers)
    assert [one.failed for one in askers if one.failed] == []
    after = edge.workers()
    assert len(after) == 2
    assert not set(after.values()) & set(before.values())
    assert not any(is_alive(pid) for pid in before.values())


async def test_its_end_under_load_answers_every_question_and_leaves_nothing(
    edge: Edge, unit: Systemd
) -> None:
    """SIGTERM: what was asked is answered, and only who comes later finds nobody."""
    unit.heard()
    children = edge.gateway.children
    async with load(edge) as askers:
        await more(askers)
        for one in askers:
            one.ending = True
        edge.gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            assert await edge.gateway.process.wait() == 0
    assert [one.failed for one in askers if one.failed] == []
    assert not any(is_alive(pid) for pid in children)
    assert "STOPPING=1" in unit.heard()
    assert not edge.socket.exists()
    for name in ("edge.pid", WORKERS):
        assert not (edge.site.folder / "state" / name).exists()
    assert {kinds[-1] for kinds in edge.kinds().values()} == {"stopped"}
    # The inspector has noticed nothing.
    assert (await edge.inspector.probe("/readyz"))[0] == 200
    assert await edge.site.types("audit", "verify") == 0


async def test_a_place_that_is_taken_is_said(tmp_path: Path) -> None:
    path = configured(tmp_path)
    (tmp_path / "edge.sock").write_text("somebody's file")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "edge", "serve", "--config", str(path)),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert "the check does not start: listener " in said.decode()
    assert "edge.sock" in said.decode()
    assert (tmp_path / "edge.sock").read_text() == "somebody's file"
