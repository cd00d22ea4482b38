"""A whole gateway for the length of a test: configuration, store, log and door, before an app of a few lines."""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pyotp
from mitmproxy import ctx
from ruamel.yaml import YAML
from selectolax.lexbor import LexborHTMLParser

from addons.guard import Guard
from addons.master import GateMaster
from gateway.accounts.invitation import new_invitation
from gateway.accounts.names import account_ref
from gateway.accounts.sealing import seal
from gateway.accounts.store import Labels
from gateway.accounts.verification import SEALED_FACTOR
from gateway.assembly.services import open_services
from gateway.cli.serve import door_settings
from gateway.configuration import Loaded, init_keys, load
from gateway.engine import Engine
from gateway.engine.services import Services
from gateway.vocabulary.identity import AccountRef
from tests.people import DR_MARTIN, NURSE_BEN, Person

PATIENCE_S = 10.0
HOST = "parcours.example"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the app got it."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def cookies(self) -> dict[str, str]:
        """Return its cookies, the last of each name."""
        pairs = [piece.strip().partition("=") for piece in (self.header("cookie") or "").split(";")]
        return {name: value for name, _, value in pairs if name}

    def header(self, name: str) -> str | None:
        """Return the first header *name*."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def form(self) -> dict[str, str]:
        """Return the posted fields."""
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Said:
    """What the app answers."""

    status: int = 200
    body: bytes | str = b""
    headers: tuple[tuple[str, str], ...] = ()
    type: str = "text/html; charset=utf-8"
    raw: bytes | None = None
    then: "Takeover | None" = None
    """Takes the connection over once *raw* was sent: sockets, streams, answers that break off."""


Takeover = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[Seen], Said | Awaitable[Said]]


class OnLoopback:
    """Something that serves connections on a free port of loopback, by its ``_serve``."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    @property
    def port(self) -> int:
        """Return the port in use."""
        if self._server is None:
            raise RuntimeError("not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class App(OnLoopback):
    """An app of a few lines that remembers every request and every byte it got."""

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self.handler = handler
        self.seen: list[Seen] = []
        self.bytes = bytearray()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        """Return a request's body; every piece of it is remembered as it comes."""
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await self._piece(reader, int(headers.get("content-length", "0")))
        body = b""
        while True:
            line = await reader.readline()
            self.bytes += line
            if not line:
                raise asyncio.IncompleteReadError(b"", None)
            piece = await self._piece(reader, int(line, 16) + 2)
            if piece == b"\r\n":
                return body
            body += piece[:-2]

    async def _piece(self, reader: asyncio.StreamReader, length: int) -> bytes:
        found = b""
        while len(found) < length:
            data = await reader.read(length - len(found))
            if not data:
                raise asyncio.IncompleteReadError(found, length)
            self.bytes += data
            found += data
        return found

    def paths(self) -> list[str]:
        """Return the paths asked for, in order."""
        return [seen.path for seen in self.seen]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.bytes += head
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                headers = tuple(
                    (name.lower(), value.strip())
                    for name, _, value in (line.partition(":") for line in lines[1:] if line)
                )
                body = await self._body(reader, dict(headers))
                path, _, query = target.partition("?")
                seen = Seen(method, path, query, headers, body)
                self.seen.append(seen)
                said = self.handler(seen)
                if isinstance(said, Awaitable):
                    said = await said
                if said.raw is not None or said.then is not None:
                    writer.write(said.raw or b"")
                    await writer.drain()
                    if said.then is not None:
                        await said.then(reader, writer)
                    return
                content = said.body.encode() if isinstance(said.body, str) else said.body
                lines = [f"HTTP/1.1 {said.status} X", f"Content-Type: {said.type}"]
                lines += [f"{name}: {value}" for name, value in said.headers]
                lines += [f"Content-Length: {len(content)}", "", ""]
                writer.write("\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else content))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass(slots=True)
class Got:
    """An answer as the client got it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first header *name*."""
        return next((value for key, value in self.headers if key == name), None)

    def set_cookies(self) -> dict[str, str]:
        """Return the cookies it sets."""
        found = {}
        for key, value in self.headers:
            if key == "set-cookie":
                name, _, rest = value.partition("=")
                found[name] = rest.partition(";")[0]
        return found

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Browser:
    """A client that keeps cookies, like a browser on a ward PC; ``accept`` makes it a navigation or a program."""

    def __init__(self, port: int, host: str = HOST, accept: str = "text/html") -> None:
        self.port, self.host, self.accept = port, host, accept
        self.cookies: dict[str, str] = {}
        self.tls: ssl.SSLContext | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str, **headers: str) -> Got:
        """GET *path*."""
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Got:
        """POST *form* as a browser would."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self.request("POST", path, body=urlencode(form).encode(), headers=sent)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Got:
        """Send one request on the kept-alive connection; underscores in header names become hyphens."""
        jar = self.cookies if cookies is None else cookies
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"Accept: {self.accept}"]
        if jar:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in jar.items()))
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
        if body or method in {"POST", "PUT", "PATCH"}:
            lines.append(f"Content-Length: {len(body)}")
        async with asyncio.timeout(PATIENCE_S):
            got = await self._exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + body, method)
        for name, value in got.set_cookies().items():
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return got

    async def _exchange(self, message: bytes, method: str) -> Got:
        for attempt in (1, 2):
            if self._writer is None or self._writer.is_closing():
                name = self.host if self.tls is not None else None
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self.tls, server_hostname=name
                )
            try:
                self._writer.write(message)
                await self._writer.drain()
                return await self._read(method)
            except (asyncio.IncompleteReadError, ConnectionError):
                await self.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def _read(self, method: str) -> Got:
        reader = self._reader
        assert reader is not None
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status != 100:
                break
        headers = tuple(
            (name.lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        )
        named = dict(headers)
        body = b""
        if method != "HEAD" and status not in {204, 304}:
            if named.get("transfer-encoding") == "chunked":
                body = await self._chunks(reader)
            elif "content-length" in named:
                body = await reader.readexactly(int(named["content-length"]))
            else:
                body = await reader.read()
        if named.get("connection", "").lower() == "close":
            await self.close()
        return Got(status, headers, body, head + body)

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readline()
        return b"".join(parts)

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
        self._writer = None


def form_token(page: Got) -> str:
    """Return the hidden token of a page's form."""
    field = LexborHTMLParser(page.text).css_first('input[name="token"]')
    assert field is not None, page.text[:500]
    return str(field.attributes["value"])


# --- The app most tests stand in front of: form login, records, listings, an export. ---

PATIENTS = {str(number): f"Patient{number} NOM{number}" for number in range(1001, 3001)}


class MiniApp:
    """An orientation app in miniature: password login with a rotated session, records, lists, JSON and CSV."""

    def __init__(self, people: tuple[Person, ...] = (DR_MARTIN, NURSE_BEN)) -> None:
        self.passwords = {person.login: person.password for person in people}
        self.sessions: dict[str, str] = {}
        self.counter = 0
        self.rotate = True

    def __call__(self, seen: Seen) -> Said:
        path, session = seen.path, seen.cookies.get("sid", "")
        user = self.sessions.get(session)
        if path.startswith("/static/"):
            return Said(body="body{}", type="text/css")
        if path == "/login":
            return self._login(seen, session)
        if user is None:
            return Said(302, headers=(("Location", "/login"),))
        if path == "/logout":
            self.sessions.pop(session, None)
            return Said(302, headers=(("Location", "/login"),))
        if path == "/":
            return Said(body=f"<h1>Bonjour {user}</h1>")
        if found := re.fullmatch(r"/dossiers/(\w+)", path):
            return self._record(found.group(1))
        if path == "/dossiers":
            numbers = list(PATIENTS)[:20]
            rows = "".join(f'<tr data-id="{n}"><td>{PATIENTS[n]}</td></tr>' for n in numbers)
            return Said(body=f"<table>{rows}</table>")
        if path == "/api/dossiers":
            return self._api(seen)
        if path == "/export.csv":
            lines = ["id;nom"] + [f"{n};{PATIENTS[n]}" for n in list(PATIENTS)[:30]]
            return Said(body="\n".join(lines), type="text/csv")
        if path == "/annuaire":
            return Said(body="Contact : jean@exemple.example, 01 99 00 11 22, NIR 2 69 05 49 588 157 80")
        return Said(404, "introuvable")

    def _login(self, seen: Seen, session: str) -> Said:
        if seen.method != "POST":
            self.counter += 1
            return Said(
                body="<form method=post><input name=user><input name=password type=password></form>",
                headers=() if session else (("Set-Cookie", f"sid=anon{self.counter}; Path=/; HttpOnly"),),
            )
        form = seen.form
        if self.passwords.get(form.get("user", "")) != form.get("password"):
            return Said(body="<p>Identifiant ou mot de passe incorrect</p>")
        self.counter += 1
        fresh = f"auth{self.counter}" if self.rotate or not session else session
        self.sessions[fresh] = form["user"]
        return Said(302, headers=(("Location", "/"), ("Set-Cookie", f"sid={fresh}; Path=/; HttpOnly")))

    def _record(self, number: str) -> Said:
        name = PATIENTS.get(number.lstrip("0"))
        if name is None:
            return Said(404, "introuvable")
        return Said(body=f'<main data-id="{number}">{name}, 82 ans, 01 99 00 12 34</main>')

    def _api(self, seen: Seen) -> Said:
        query = dict(piece.partition("=")[::2] for piece in seen.query.split("&") if piece)
        start, size = int(query.get("start", "1001")), int(query.get("size", "2"))
        items = [{"id": n, "nom": PATIENTS.get(str(n), "?")} for n in range(start, start + size)]
        return Said(body=json.dumps({"items": items}), type="application/json")


def mini_config() -> dict[str, Any]:
    """Return the app part of the configuration for MiniApp."""
    name = ["identite.nom", "identite.prenom"]
    return {
        "title": "Parcours",
        "realm": "region",
        "hosts": [HOST],
        "login_page": "/login",
        "methods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
        "cookies": {"neutral": ["lang"]},
        "login": [
            {
                "name": "form",
                "path": "/login",
                "account": "user",
                "success": {"status": 302, "location": "^/$"},
            }
        ],
        "routes": [
            {"name": "static", "kind": "public", "path": "/static/*"},
            {"name": "login", "kind": "login", "path": "/login"},
            {"name": "logout", "kind": "logout", "path": "/logout"},
            {"name": "home", "kind": "page", "path": "/"},
            {"name": "directory", "kind": "page", "path": "/annuaire"},
            {"name": "admin", "kind": "blocked", "path": "/admin/*"},
            {
                "name": "record",
                "kind": "record",
                "path": "/dossiers/{id}",
                "patients": {"path": "id", "normalise": ["digits", "unpad"], "system": "parcours"},
                "categories": name,
            },
            {
                "name": "list",
                "kind": "listing",
                "path": "/dossiers",
                "patients": {"html": "tr[data-id]", "attribute": "data-id", "system": "parcours"},
                "categories": name,
            },
            {
                "name": "api",
                "kind": "listing",
                "path": "/api/dossiers",
                "patients": {"json": "$.items[*].id", "system": "parcours"},
                "categories": name,
            },
            {
                "name": "export",
                "kind": "export",
                "path": "/export.csv",
                "patients": {"csv": "id", "delimiter": ";", "system": "parcours"},
                "categories": name,
            },
        ],
        "otherwise": "blocked",
    }


Change = Callable[[dict[str, Any]], None]


@dataclass
class Stand:
    """The gateway, its app and its papers."""

    loaded: Loaded
    services: Services
    master: GateMaster
    port: int
    app: App
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    browsers: list[Browser] = field(default_factory=list)
    counter: int = 0

    def browser(self, accept: str = "text/html", host: str = HOST) -> Browser:
        """Return a fresh browser at the gateway's door; it hangs up when the stand is taken down."""
        self.browsers.append(Browser(self.port, host, accept))
        return self.browsers[-1]

    def ref(self, login: str) -> AccountRef:
        """Return the account that *login* names."""
        realm = self.loaded.policy.realms["region"]
        return account_ref(login, realm.name, realm.mapping, self.services.keys.names)

    async def enrol(self, person: Person, account_class: str = "standard") -> str:
        """Make *person* active with a factor, and return the secret."""
        ref, keys = self.ref(person.login), self.services.keys
        invitation = await self.invite(person, account_class)
        secret = pyotp.random_base32(32)
        sealed = seal(keys.sealing, secret.encode(), purpose=SEALED_FACTOR, account_id=ref.id)
        enrolled = await self.services.accounts.enrol(ref.id, "0" * 32, invitation, sealed, 0, ())
        assert enrolled
        self.secrets[person.login] = secret
        return secret

    async def invite(self, person: Person, account_class: str = "standard") -> str:
        """Invite *person* and return the invitation's id; its code is in ``secrets``."""
        ref, keys = self.ref(person.login), self.services.keys
        self.counter += 1
        made = new_invitation(keys.names, ref.id, self.counter.to_bytes(10, "big"))
        until_ms = self.services.clock.now_ms() + 604_800_000
        await self.services.accounts.invite(ref, made.hash, until_ms, Labels(account_class))
        self.secrets["invitation:" + person.login] = made.code
        return made.id

    def code(self, person: Person, step: int = 0) -> str:
        """Return the code of *person*'s authenticator, *step* steps from now."""
        now_s = self.services.clock.now_ms() // 1000
        return pyotp.TOTP(self.secrets[person.login]).at(now_s + 30 * step)

    async def password_only(self, person: Person, browser: Browser | None = None) -> Browser:
        """Log *person* in with the right password, and no code."""
        browser = browser or self.browser()
        await browser.get("/login")
        got = await browser.post("/login", {"user": person.login, "password": person.password})
        assert got.status == 303, (got.status, got.text[:300])
        return browser

    async def log_in(
        self, person: Person, browser: Browser | None = None, code: str | None = None
    ) -> Browser:
        """Log *person* in, code and all."""
        if person.login not in self.secrets:
            await self.enrol(person)
        browser = await self.password_only(person, browser)
        page = await browser.get("/.ecluse/code")
        typed = code if code is not None else self.code(person)
        got = await browser.post("/.ecluse/code", {"code": typed, "token": form_token(page)})
        assert got.status == 303, (got.status, got.text[:600])
        return browser

    async def events(self, kind: str | None = None, writer: str = "gateway") -> list[dict[str, Any]]:
        """Return the journal of *writer*, the gateway's settled, optionally of one kind."""
        await self.settled()
        found = []
        for file in sorted((self.loaded.settings.audit_dir / writer).glob("*.jsonl")):
            for line in file.read_bytes().splitlines():
                entry = json.loads(line)
                if kind is None or entry["kind"] == kind:
                    found.append(entry)
        return found

    async def settled(self) -> None:
        """Wait until everything said so far is in the journal."""
        from gateway.vocabulary.events import AuditEvent, EventKind

        await self.services.audit.append(AuditEvent(EventKind.GAP, 0, detail=(("cause", "test"),)))

    async def reveals(self) -> set[tuple[str, ...]]:
        """Return the patients of every access, as pseudonyms."""
        return {tuple(entry.get("patients", ())) for entry in await self.events("access")}


def write_config(folder: Path, upstream_port: int, changes: Change | None = None) -> Path:
    """Write a configuration for one app into *folder* and make its keys."""
    config: dict[str, Any] = {
        "version": 1,
        "gateway": {
            "listen": {"address": "127.0.0.1", "port": 0},
            "issuer": "ecluse.test",
            "state_dir": str(folder / "state"),
            "keys_dir": str(folder / "keys"),
        },
        # How long the store may take has tests of its own; elsewhere a machine with much to do decides nothing.
        "store": {"url": "embedded", "timeout_ms": 8_000},
        "audit": {"dir": str(folder / "audit")},
        "body": {"name": "GRADeS Exemple", "contact": "assistance"},
        # Soft bounds have tests of their own; elsewhere the speed of the machine must not decide who is asked.
        "realms": {"region": {"classes": {"standard": {"soft_share": 1}}}},
        "apps": {"parcours": {**mini_config(), "upstream": f"http://127.0.0.1:{upstream_port}"}},
    }
    if changes is not None:
        changes(config)
    for realm in config["realms"].values():
        # Everybody here enrolled a moment ago: the quarantine of new factors has tests of its own.
        realm.setdefault("quarantine_s", 0)
    path = folder / "ecluse.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    if not (folder / "keys").exists():
        init_keys(folder / "keys")
    return path


@asynccontextmanager
async def _door_given_back() -> AsyncIterator[None]:
    """Put mitmproxy's global master back, so that a stand serves again after another one came and went."""
    before = {name: getattr(ctx, name) for name in ("master", "options") if hasattr(ctx, name)}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(ctx, name, value)


@asynccontextmanager
async def stand(
    folder: Path,
    handler: Handler | None = None,
    changes: Change | None = None,
    waits: Mapping[str, float] | None = None,
) -> AsyncIterator[Stand]:
    """Run app and gateway; *changes* edits the configuration before it is written, *waits* how long the door waits.

    One process has one door: while a stand runs, one that was there before answers nothing from its app.
    """
    async with _door_given_back(), App(handler or MiniApp()) as app:
        loaded = load(write_config(folder, app.port, changes))
        async with open_services(loaded) as services:
            upstreams = [each.upstream for each in loaded.policy.apps.values()]
            settings = door_settings(loaded.settings, loaded.policy)
            settings = replace(settings, bounds=replace(settings.bounds, **(waits or {})))
            master = GateMaster.build(settings, [Guard(Engine(services))], upstreams)
            _, port = await master.start()
            gate = Stand(loaded, services, master, port, app, folder)
            try:
                yield gate
            finally:
                for browser in gate.browsers:
                    await browser.close()
                await master.drain(0)
