"""Containment on two nodes under load: two gateways, two processes, two logs, one store."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
import pytest_asyncio

from gateway.accounts.invitation import new_invitation
from gateway.accounts.names import account_ref
from gateway.accounts.sealing import seal
from gateway.accounts.store import Labels
from gateway.accounts.verification import SEALED_FACTOR
from gateway.assembly.office import open_for_operator
from gateway.clock import SystemClock
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.sessions import device
from gateway.valkey.embedded import answers, find_server, server_command
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN, Person
from tests.stand import App, Browser, MiniApp, Said, Seen, form_token, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

THIEF, HER_OTHER, HONEST = DR_MARTIN, CLERK_LEA, NURSE_BEN
PATIENCE_S, AT_ONCE = 60.0, 3
_SHOWN = b"NOM1001"


class LiveApp(MiniApp):
    """The app in miniature, with a stream that goes on and on."""

    def __call__(self, seen: Seen) -> Said:
        if seen.path == "/evenements":
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            return Said(raw=head, then=_tell)
        return super().__call__(seen)


async def _tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"6\r\ndata:a\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        await writer.wait_closed()


@dataclass
class Site:
    """The nodes' configurations and ports."""

    configs: list[Path]
    ports: list[int]
    secrets: dict[str, str] = field(default_factory=dict)

    async def log_in(self, person: Person, known: Browser | None = None) -> list[Browser]:
        """Log *person* in through the first node, on the device of *known*; return the session at every node."""
        browser = Browser(self.ports[0])
        if known is not None:
            browser.cookies[device.COOKIE] = known.cookies[device.COOKIE]
        await browser.get("/login")
        got = await browser.post("/login", {"user": person.login, "password": person.password})
        assert got.status == 303, got.text[:300]
        page = await browser.get("/.ecluse/code")
        code = pyotp.TOTP(self.secrets[person.login]).now()
        got = await browser.post("/.ecluse/code", {"code": code, "token": form_token(page)})
        assert got.status == 303, got.text[:300]
        others = [Browser(port) for port in self.ports[1:]]
        for other in others:
            other.cookies = browser.cookies
        return [browser, *others]

    async def command(self, *words: str) -> tuple[int, Any]:
        """Run a command as an operator of the first node does, in a process of its own."""
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *words, "--config", str(self.configs[0]), "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
        )  # fmt: skip
        out, err = await done.communicate()
        assert out, err.decode()
        return done.returncode or 0, json.loads(out)


@contextmanager
def _store(folder: Path) -> Iterator[str]:
    folder.mkdir(mode=0o700)
    with subprocess.Popen(server_command(find_server(), folder)) as server:
        try:
            until_s = SystemClock().now_ms() / 1000 + PATIENCE_S
            while not answers(folder / "valkey.sock"):
                assert SystemClock().now_ms() / 1000 < until_s
            yield f"unix://{folder / 'valkey.sock'}"
        finally:
            server.terminate()


async def _enrol(site: Site) -> None:
    async with open_for_operator(site.configs[0]) as office:
        realm, keys = office.policy.realms["region"], office.keys
        for number, person in enumerate((THIEF, HER_OTHER, HONEST), 1):
            ref = account_ref(person.login, realm.name, realm.mapping, keys.names)
            made = new_invitation(keys.names, ref.id, number.to_bytes(10, "big"))
            await office.accounts.invite(ref, made.hash, office.clock.now_ms() + 3_600_000, Labels("busy"))
            secret = site.secrets[person.login] = pyotp.random_base32(32)
            sealed = seal(keys.sealing, secret.encode(), purpose=SEALED_FACTOR, account_id=ref.id)
            assert await office.accounts.enrol(ref.id, "0" * 32, made.id, sealed, 0, ())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folders = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
    site = Site([], [free_port() for _ in folders])
    nodes: list[Child] = []
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(App(LiveApp((THIEF, HER_OTHER, HONEST))))
        url = stack.enter_context(_store(Path(str(folders[0])) / "valkey"))
        for name, folder, port in zip(("a", "b"), folders, site.ports, strict=True):
            if name == "b":
                shutil.copytree(folders[0] / "keys", folder / "keys")

            def change(config: dict[str, Any], name: str = name, port: int = port) -> None:
                config["gateway"]["listen"]["port"] = port
                config["store"]["url"] = url
                config["audit"] |= {"node": name, "keeper": "off"}
                config["signals"] = {"watcher": "off"}
                config["realms"]["region"]["classes"]["busy"] = {"soft_share": 1, "requests_10s": 1_000_000}
                route = {"name": "events", "kind": "page", "path": "/evenements", "stream": True}
                config["apps"]["parcours"]["routes"].append(route)

            site.configs.append(write_config(folder, app.port, change))
            arguments = ["-m", "gateway", "serve", "--config", str(site.configs[-1])]
            child = start(f"node {name}", arguments, folder / "gateway.log")
            stack.callback(child.stop, 10.0)
            nodes.append(child)
        for child, port in zip(nodes, site.ports, strict=True):
            await asyncio.to_thread(wait_until_listening, child, port)
        await _enrol(site)
        yield site


@dataclass
class Load:
    """What people got: when each request was sent and whether it showed a patient."""

    told: list[tuple[float, bool]] = field(default_factory=list)
    over: bool = False

    async def hammer(self, browser: Browser) -> None:
        """Ask for a record again and again, whatever comes."""
        loop, mine = asyncio.get_running_loop(), Browser(browser.port)
        mine.cookies = dict(browser.cookies)
        while not self.over:
            sent_s = loop.time()
            got = await mine.request("GET", "/dossiers/1001", cookies=mine.cookies)
            self.told.append((sent_s, _SHOWN in got.raw))
            await asyncio.sleep(0)
        await mine.close()

    def shown_since(self, since_s: float) -> int:
        """Return how many requests sent after *since_s* showed a patient."""
        return sum(shown for sent_s, shown in self.told if sent_s > since_s)

    async def until(self, count: int, since_s: float) -> None:
        """Wait until *count* requests that were sent after *since_s* are answered."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(sent_s > since_s for sent_s, _ in self.told) < count:
                await asyncio.sleep(0.01)


async def _stream_ends(browser: Browser, began: asyncio.Event) -> float:
    """Read a stream until it is cut, and return when that was."""
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    writer.write(f"GET /evenements HTTP/1.1\r\nHost: {browser.host}\r\nCookie: {cookies}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        assert b" 200 " in await reader.readline()
        while data := await reader.read(4_096):
            if b"data:a" in data:
                began.set()
    ended_s = asyncio.get_running_loop().time()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return ended_s


async def test_a_locked_account_and_its_cluster_are_out_on_both_nodes_under_load(site: Site) -> None:
    """Lock on one node, under load on both: nothing sent after it shows a patient, streams are cut, others go on."""
    loop = asyncio.get_running_loop()
    thiefs = await site.log_in(THIEF)
    others, honest = await site.log_in(HER_OTHER, thiefs[0]), await site.log_in(HONEST)
    stolen = [(Load(), browser) for browsers in (thiefs, others) for browser in browsers]
    free = [(Load(), browser) for browser in honest]
    began = [asyncio.Event() for _ in thiefs]
    async with asyncio.TaskGroup() as group:
        for load, browser in (*stolen, *free):
            for _ in range(AT_ONCE):
                group.create_task(load.hammer(browser))
        ends = [
            group.create_task(_stream_ends(browser, one)) for browser, one in zip(thiefs, began, strict=True)
        ]
        for one in began:
            await asyncio.wait_for(one.wait(), PATIENCE_S)
        for load, _ in (*stolen, *free):
            await load.until(20, 0.0)
            assert load.shown_since(0.0) >= 10
        code, rows = await site.command("account", "lock", THIEF.login, "--cluster", "--reason", "one thief")
        locked_s = loop.time()
        assert (code, {row["login"] for row in rows}) == (0, {THIEF.login, HER_OTHER.login})
        for load, _ in (*stolen, *free):
            await load.until(20, locked_s)
        cut_s = [await one - locked_s for one in ends]
        for load, _ in (*stolen, *free):
            load.over = True
    for _, browser in (*stolen, *free):
        await browser.close()
    for load, browser in stolen:
        assert load.shown_since(locked_s) == 0, browser.port
    for load, browser in free:
        assert load.shown_since(locked_s) >= 10, browser.port
    print(f"streams cut {[round(one, 2) for one in cut_s]} s after the command had ended")
    for node, config in zip(("a", "b"), site.configs, strict=True):
        lines = [
            json.loads(line)
            for file in (config.parent / "audit" / f"gateway.{node}").glob("*.jsonl")
            for line in file.read_bytes().splitlines()
        ]
        refused = {one.get("account") for one in lines if one.get("reason") == "account-locked"}
        assert {THIEF.login, HER_OTHER.login} <= refused
        assert any(one["kind"] == "stream-cut" and one["account"] == THIEF.login for one in lines)
    # Whoever comes back with password and code stays out too, on either node.
    for port in site.ports:
        back = Browser(port)
        await back.get("/login")
        got = await back.post("/login", {"user": THIEF.login, "password": THIEF.password})
        assert got.status == 403
        await back.close()
