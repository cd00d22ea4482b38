"""A real application behind a real gateway: the child process, a tap between the two, and a hand for forms."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urljoin, urlsplit

from ruamel.yaml import YAML
from selectolax.lexbor import LexborHTMLParser, LexborNode

from tests.people import Person
from tests.stand import Browser, Got, Stand, form_token, stand

ROOT = Path(__file__).resolve().parents[3]
PROFILES = ROOT / "config" / "apps"
START_S = 60.0
MOST_REDIRECTS = 6


class Child:
    """An application in a process of its own; it prints ``port N`` when it serves."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.port = 0

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(START_S):
            self.port = await asyncio.to_thread(self._port)
        return self

    def _port(self) -> int:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.fullmatch(rb"port (\d+)\s*", line):
                return int(found.group(1))
        raise RuntimeError(f"the application did not start (exit code {self._process.wait()})")

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Tap:
    """Passes every byte on between gateway and application, and keeps those of the gateway."""

    app_port: int
    sent: bytearray = field(default_factory=bytearray)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Return the port in use."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def since(self, mark: int) -> bytes:
        """Return what the gateway sent to the application after the first *mark* bytes."""
        return bytes(self.sent[mark:])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.app_port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, back, keep=True))
                    both.create_task(self._pass(there, writer, keep=False))
            finally:
                back.close()
        except (ExceptionGroup, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keep: bool) -> None:
        while data := await source.read(65_536):
            if keep:
                self.sent += data
            sink.write(data)
            await sink.drain()
        sink.write_eof()


@dataclass
class Bench:
    """The gateway, the tap and the way to make browsers."""

    gate: Stand
    tap: Tap
    host: str

    def hand(self) -> "Hand":
        """Return a fresh browser with a hand for forms."""
        browser = self.gate.browser(host=self.host)
        return Hand(browser)

    async def accesses(self, login: str) -> list[dict[str, Any]]:
        """Return what *login* was shown, from the log."""
        return [each for each in await self.gate.events("access") if each["account"] == login]

    async def of(self, kind: str, login: str) -> list[dict[str, Any]]:
        """Return the events of one kind that name *login*."""
        return [each for each in await self.gate.events(kind) if each.get("account") == login]


@asynccontextmanager
async def bench(folder: Path, profile: str, child: Child, host: str = "") -> AsyncIterator[Bench]:
    """Put the gateway, with the shipped *profile* but for host, realm and address, before a started *child*."""
    settings = YAML(typ="safe").load(PROFILES / f"{profile}.yaml")
    name = host or settings["hosts"][0]
    async with Tap(child.port) as tap:
        settings |= {"realm": "region", "hosts": [name], "upstream": f"http://127.0.0.1:{tap.port}"}

        def real(config: dict[str, Any]) -> None:
            config["apps"] = {profile: settings}
            # What is tried here are hard bounds; soft ones have tests of their own.
            config["realms"]["region"] = {"classes": {"standard": {"soft_share": 1, "patients_10min": 40}}}

        async with stand(folder, changes=real) as gate:
            yield Bench(gate, tap, name)


class Hand:
    """Opens pages, follows redirects, and sends the forms it finds with all their hidden fields."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.at = "/"
        self.trail: list[str] = []

    @property
    def origin(self) -> str:
        """Return the origin a browser would say."""
        return f"http://{self.browser.host}"

    async def open(self, path: str, **headers: str) -> Got:
        """GET *path* and follow."""
        return await self._follow(path, await self.browser.get(path, **headers))

    async def _follow(self, path: str, got: Got) -> Got:
        self.at, self.trail = path, [path]
        for _ in range(MOST_REDIRECTS):
            if got.status not in {301, 302, 303, 307}:
                return got
            there = urlsplit(urljoin(self.origin + self.at, got.header("location")))
            assert there.netloc in {self.browser.host, ""}, there
            self.at = there.path + (f"?{there.query}" if there.query else "")
            self.trail.append(self.at)
            got = await self.browser.get(self.at)
        raise AssertionError(f"a loop: {self.trail}")

    async def send(self, page: Got, form: str = "form", /, **fields: str | None) -> Got:
        """Fill the form at the CSS selector *form* of *page*, send it, and follow; None leaves a field out.

        A name with a leading ``at_`` stands for one with ``@``, as ``at_action`` for ``@action``.
        """
        path, sent = self.filled(page, form, fields)
        node = LexborHTMLParser(page.text).css_first(form)
        if node is not None and (node.attributes.get("method") or "get").lower() == "get":
            return await self.open(
                f"{path.partition('?')[0]}?{urlencode(sent)}", Referer=self.origin + self.at
            )
        got = await self.browser.post(path, sent, Origin=self.origin, Referer=self.origin + self.at)
        return await self._follow(path, got)

    def filled(self, page: Got, form: str, fields: Mapping[str, str | None]) -> tuple[str, dict[str, str]]:
        """Return where the form goes and what a browser would send."""
        node = LexborHTMLParser(page.text).css_first(form)
        assert node is not None, f"no {form} on {self.at}: {page.status} {page.text[:1500]}"
        sent = dict(pair for field in node.css("input, select, textarea") if (pair := _value(field)))
        for name, value in fields.items():
            spelt = re.sub(r"^at_", "@", name)
            if value is None:
                sent.pop(spelt, None)
            else:
                sent[spelt] = value
        target = urlsplit(urljoin(self.origin + self.at, node.attributes.get("action") or self.at))
        return target.path + (f"?{target.query}" if target.query else ""), sent

    async def give_code(self, bench: Bench, person: Person) -> Got:
        """Type the code on the page where the browser stands now, and follow to the app's answer."""
        page = await self.browser.get("/.ecluse/code")
        assert page.status == 200, (page.status, page.header("location"))
        sent = {"code": bench.gate.code(person), "token": form_token(page)}
        got = await self.browser.post("/.ecluse/code", sent, Origin=self.origin)
        return await self._follow("/.ecluse/code", got)


def _value(field: LexborNode) -> tuple[str, str] | None:
    attributes = field.attributes
    name, kind = attributes.get("name"), (attributes.get("type") or "text").lower()
    if not name or kind in {"submit", "button", "image", "file", "reset"} or "disabled" in attributes:
        return None
    if kind in {"checkbox", "radio"} and "checked" not in attributes:
        return None
    if field.tag == "select":
        chosen = field.css_first("option[selected]") or field.css_first("option")
        return (name, chosen.attributes.get("value") or "") if chosen is not None else None
    if field.tag == "textarea":
        return name, field.text()
    return name, attributes.get("value") or ""


def query(**parameters: str) -> str:
    """Return a query string."""
    return urlencode(parameters)
