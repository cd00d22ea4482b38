"""Ways around the door by changing the protocol or staying on the line: tunnels, sockets, streams, parts."""

import asyncio
import base64
import hashlib
import itertools
import json
import os
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from addons.guard import Guard
from tests.attacks.harness import RawClient, hang_up
from tests.attacks.witness import LAVISH, assert_refused, attempt, detail, raw, told
from tests.people import DR_MARTIN, Person
from tests.stand import HOST, MiniApp, Said, Seen, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

CROWD = tuple(Person(f"personne.{number}", f"Peniche-{number}-Verte") for number in range(8))
_next_person = itertools.count()
ORIGIN = f"http://{HOST}"
SIGHTING = "Contact : jean@exemple.example, 01 99 00 11 22, NIR 2 69 05 49 588 157 80"
CUT_WITHIN_S = 1.0


def frame(text: bytes, *, masked: bool, opcode: int = 1) -> bytes:
    """Return one WebSocket frame (RFC 6455, 5.2)."""
    size = len(text)
    mark = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, mark | size)
    elif size < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, mark | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, mark | 127, size)
    if not masked:
        return head + text
    key = b"\x01\x02\x03\x04"
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(text))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and payload of the next frame."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    key = await reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
    text = await reader.readexactly(size)
    return first & 0x0F, bytes(byte ^ key[place % 4] for place, byte in enumerate(text))


class Line:
    """The app's end of an open socket or stream."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.received: list[bytes] = []
        self.after = bytearray()
        self.closed = asyncio.Event()

    async def say(self, data: bytes) -> None:
        """Send *data* as it is."""
        self.writer.write(data)
        await self.writer.drain()


class LiveApp(MiniApp):
    """An app with a socket, a stream of events, a tunnel and careless headers."""

    def __init__(self) -> None:
        super().__init__((DR_MARTIN, *CROWD))
        self.lines: list[Line] = []
        self.opened = asyncio.Event()

    def __call__(self, seen: Seen) -> Said:
        match seen.path:
            case "/flux" | "/flux-ferme":
                return self._socket(seen)
            case "/tunnel":
                head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
                return Said(raw=head, then=self._stay)
            case "/evenements":
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                return Said(raw=head + b"6\r\ndata:a\r\n", then=self._stay)
            case "/echo-upgrade":
                return Said(body="bonjour", headers=(("Upgrade", "h2c"), ("Connection", "Upgrade")))
            case "/alt" | "/static/alt.css":
                return Said(body="x", headers=(("Alt-Svc", 'h3=":443"'), ("X-Ecluse-Account", "chef")))
            case "/dossiers/1999":
                rows = b"<main>Patient1999"
                return Said(206, rows, (("Content-Range", f"bytes 0-{len(rows) - 1}/900"),))
        return super().__call__(seen)

    def _socket(self, seen: Seen) -> Said:
        proof = hashlib.sha1(
            f"{seen.header('sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(),
            usedforsecurity=False,
        )
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {base64.b64encode(proof.digest()).decode()}",
            "Set-Cookie: __Host-ecluse=forged; Path=/; Secure",
            'Alt-Svc: h3=":443"',
        ]
        return Said(raw=("\r\n".join(lines) + "\r\n\r\n").encode(), then=self._talk)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = self._line(writer)
        try:
            while True:
                opcode, text = await read_frame(reader)
                if opcode == 8:
                    return
                line.received.append(text)
                await line.say(frame(b"recu " + text, masked=False))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            line.closed.set()

    async def _stay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = self._line(writer)
        try:
            while data := await reader.read(65_536):
                line.after += data
        except ConnectionError:
            pass
        finally:
            line.closed.set()

    def _line(self, writer: asyncio.StreamWriter) -> Line:
        self.lines.append(Line(writer))
        self.opened.set()
        return self.lines[-1]

    async def line(self) -> Line:
        """Wait for the next line to be opened."""
        async with asyncio.timeout(5):
            await self.opened.wait()
        self.opened.clear()
        return self.lines[-1]


APP: dict[str, LiveApp] = {}


def _config(config: dict[str, Any]) -> None:
    config["realms"]["region"] = {"classes": {"standard": {**LAVISH, "sightings_1h": 4}}}
    config["apps"]["parcours"]["routes"] += [
        {"name": "socket", "kind": "page", "path": "/flux", "websocket": True},
        {"name": "no-socket", "kind": "page", "path": "/flux-ferme"},
        {"name": "tunnel", "kind": "page", "path": "/tunnel"},
        {"name": "events", "kind": "page", "path": "/evenements", "stream": True},
        {"name": "careless", "kind": "page", "path": "/{name:echo-upgrade|alt}"},
    ]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    APP["app"] = LiveApp()
    async with stand(tmp_path_factory.mktemp("upgrades"), APP["app"], _config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(gate: Stand) -> dict[str, str]:
    return (await gate.log_in(DR_MARTIN)).cookies


async def somebody(gate: Stand) -> tuple[Person, dict[str, str]]:
    """Log somebody in whom no other test needs."""
    person = CROWD[next(_next_person)]
    return person, (await gate.log_in(person)).cookies


def handshake(
    cookies: dict[str, str] | None, target: str = "/flux", *lines: str, origin: str | None = ORIGIN
) -> bytes:
    sent = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    sent.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    if origin is not None:
        sent.append(f"Origin: {origin}")
    return raw("GET", target, *sent, *lines, cookies=cookies)


async def connect(gate: Stand, cookies: dict[str, str]) -> tuple[RawClient, Line, bytes]:
    """Open a socket; return the client, the app's end and the head of the answer."""
    APP["app"].opened.clear()
    client = await RawClient.open(gate.port)
    await client.send(handshake(cookies))
    async with asyncio.timeout(5):
        head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return client, await APP["app"].line(), head


def watched(gate: Stand) -> Guard:
    """Return the guard of *gate*."""
    return next(addon for addon in gate.master.addons.chain if isinstance(addon, Guard))


# E01, E02: upgrades to anything but a WebSocket.


@pytest.mark.parametrize(
    "lines",
    [
        # E01
        ("Connection: Upgrade", "Upgrade: foo"),
        # E02: mitmproxy itself compares with == "h2c" only.
        ("Connection: Upgrade", "Upgrade: h2c"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: H2C", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        ("Connection: Upgrade", "Upgrade: h2c, websocket"),
        ("Connection: upgrade", "Upgrade: TLS/1.0"),
        ("Upgrade: websocket",),
        ("Connection: Upgrade",),
    ],
)
async def test_an_upgrade_is_not_passed_on(
    gate: Stand, cookies: dict[str, str], lines: tuple[str, ...]
) -> None:
    """E01 E02: the app never hears of it, and answers an ordinary request."""
    outcome = await attempt(gate, raw("GET", "/", *lines, cookies=cookies))
    assert outcome.status == 200
    (seen,) = outcome.requests
    assert [seen.header(name) for name in ("upgrade", "http2-settings", "connection")] == [None, None, None]
    assert b"pgrade" not in outcome.answer.raw.partition(b"\r\n\r\n")[0]


async def test_a_tunnel_that_the_app_opens_anyway(gate: Stand, cookies: dict[str, str]) -> None:
    """E01: a 101 nobody asked for is a 502, both sides are closed, and nothing sent after it arrives."""
    # Naive: mitmproxy relays raw bytes both ways after any 101, and no hook sees them.
    before, told_before = len(gate.app.seen), len(await told(gate))
    client = await RawClient.open(gate.port)
    await client.send(
        raw("GET", "/tunnel", "Connection: Upgrade", "Upgrade: foo", cookies=cookies),
        raw("GET", "/dossiers/1001", cookies=cookies),
    )
    answered = await client.rest()
    assert answered.closed
    assert answered.status == 502
    assert b"NOM1001" not in answered.raw
    assert answered.raw.count(b"HTTP/1.1 ") == 1
    line = APP["app"].lines[-1]
    async with asyncio.timeout(5):
        await line.closed.wait()
    assert line.after == b""
    assert [seen.path for seen in gate.app.seen[before:]] == ["/tunnel"]
    (event,) = (await told(gate))[told_before:]
    assert (event["kind"], event["reason"], event["account"]) == ("withheld", "upstream-upgrade", "dr.martin")


# E03 to E07: WebSockets.


async def test_a_socket_without_session(gate: Stand) -> None:
    """E03: the handshake of a stranger, and of somebody who owes the code, goes nowhere."""
    assert_refused(await attempt(gate, handshake(None)), 401, "no-session", "challenged")
    person = CROWD[next(_next_person)]
    await gate.enrol(person)
    half_way = await gate.password_only(person)
    assert_refused(await attempt(gate, handshake(half_way.cookies)), 401, "code-owed", "challenged")


@pytest.mark.parametrize("missing", ["sid", "__Host-ecluse"])
async def test_a_socket_with_one_cookie_of_two(gate: Stand, cookies: dict[str, str], missing: str) -> None:
    """E03: either cookie alone opens nothing."""
    jar = {name: value for name, value in cookies.items() if name != missing}
    outcome = await attempt(gate, handshake(jar))
    assert outcome.status == 401
    assert outcome.app_bytes == b""
    assert outcome.event["reason"] in {"binding-broken", "no-session"}


@pytest.mark.parametrize(
    "origin", ["http://evil.example", f"https://{HOST}", f"http://{HOST}:8080", "null", None]
)
async def test_a_socket_from_another_site(gate: Stand, cookies: dict[str, str], origin: str | None) -> None:
    """E06: a page elsewhere opens no socket with the professional's cookies."""
    assert_refused(await attempt(gate, handshake(cookies, origin=origin)), 403, "upgrade-refused")


async def test_a_socket_where_none_is_allowed(gate: Stand, cookies: dict[str, str]) -> None:
    """E04: by default a route becomes no socket."""
    for target in ("/flux-ferme", "/", "/dossiers/1001"):
        assert_refused(await attempt(gate, handshake(cookies, target)), 403, "upgrade-refused")


async def test_an_honest_socket(gate: Stand, cookies: dict[str, str]) -> None:
    """The neighbour of them all: messages travel both ways, and the handshake carries no forged cookie."""
    client, line, head = await connect(gate, cookies)
    assert b"ecluse" not in head.lower()
    assert b"alt-svc" not in head.lower()
    for text in (b"bonjour", b"x" * 300, b"y" * 70_000):
        await client.send(frame(text, masked=True))
        async with asyncio.timeout(5):
            assert await read_frame(client.reader) == (1, b"recu " + text)
    assert line.received == [b"bonjour", b"x" * 300, b"y" * 70_000]
    await client.send(frame(b"\x03\xe8", masked=True, opcode=8))
    async with asyncio.timeout(5):
        await line.closed.wait()
        while watched(gate)._long_lived:
            await asyncio.sleep(0.01)


async def test_patients_in_a_socket(gate: Stand) -> None:
    """E04: what a message shows is counted and recorded before it leaves; over the cap the socket is cut."""
    person, jar = await somebody(gate)
    client, line, _ = await connect(gate, jar)
    await line.say(frame(SIGHTING.encode(), masked=False))
    async with asyncio.timeout(5):
        assert await read_frame(client.reader) == (1, SIGHTING.encode())
    sighted = [event for event in await gate.events("sighted") if event["account"] == person.login]
    assert len(sighted) == 1
    assert [detail(sighted[0], name) for name in ("nirs", "phones", "emails")] == ["1", "1", "1"]
    await line.say(frame(SIGHTING.encode(), masked=False))
    answered = await client.rest(3)
    assert answered.closed
    assert b"NIR " not in answered.raw
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert [event["route"] for event in cut] == ["socket"]
    async with asyncio.timeout(2):
        await line.closed.wait()


async def test_a_message_too_large_to_read(gate: Stand) -> None:
    """E04: what cannot be inspected does not pass, in either direction."""
    person, jar = await somebody(gate)
    for from_app in (True, False):
        client, line, _ = await connect(gate, jar)
        if from_app:
            await line.say(frame(b"z" * 1_100_000, masked=False))
        else:
            await client.send(frame(b"z" * 1_100_000, masked=True))
        answered = await client.rest(5)
        assert answered.closed
        assert b"zzz" not in answered.raw
        async with asyncio.timeout(2):
            await line.closed.wait()
        assert line.received == []
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert [event["route"] for event in cut] == ["socket", "socket"]


async def _ends(client: RawClient, line: Line) -> float:
    """Return how many seconds pass until both ends of an open line are closed."""
    began = time.monotonic()
    answered = await client.rest(5)
    assert answered.closed
    assert b"0\r\n\r\n" not in answered.raw
    async with asyncio.timeout(5):
        await line.closed.wait()
    return time.monotonic() - began


async def test_a_lock_cuts_a_silent_socket(gate: Stand) -> None:
    """E05: containment within a second, though nobody says a word; a neighbour's socket stays."""
    # Naive: flow.kill() is looked at when the next hook ends, so a silent socket stays open for ever.
    person, jar = await somebody(gate)
    _, other_jar = await somebody(gate)
    other, other_line, _ = await connect(gate, other_jar)
    client, line, _ = await connect(gate, jar)
    await gate.services.accounts.lock(gate.ref(person.login).id, "test")
    assert await _ends(client, line) < CUT_WITHIN_S
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert len(cut) == 1
    await other.send(frame(b"encore", masked=True))
    async with asyncio.timeout(5):
        assert await read_frame(other.reader) == (1, b"recu encore")
    assert not other_line.closed.is_set()


async def test_a_logout_cuts_the_socket_of_its_session(gate: Stand) -> None:
    """E05: the session that opened it is gone, so is the socket."""
    person, jar = await somebody(gate)
    client, line, _ = await connect(gate, jar)
    await gate.services.sessions.close_all(gate.ref(person.login).id)
    assert await _ends(client, line) < CUT_WITHIN_S
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert [event["route"] for event in cut] == ["socket"]


async def test_a_lock_cuts_a_silent_stream(gate: Stand) -> None:
    """E05: the same for a stream of events, and its end does not look like a proper one."""
    person, jar = await somebody(gate)
    APP["app"].opened.clear()
    client = await RawClient.open(gate.port)
    await client.send(raw("GET", "/evenements", cookies=jar))
    async with asyncio.timeout(5):
        assert b"200" in await client.reader.readuntil(b"\r\n\r\n")
        assert b"data:a" in await client.reader.readuntil(b"data:a\r\n")
    line = await APP["app"].line()
    await gate.services.accounts.lock(gate.ref(person.login).id, "test")
    assert await _ends(client, line) < CUT_WITHIN_S
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert [event["route"] for event in cut] == ["events"]


async def test_patients_in_a_stream(gate: Stand) -> None:
    """A06 E05: what a stream of events shows is counted too; a burst over the cap does not leave, and it is cut."""
    person, jar = await somebody(gate)
    APP["app"].opened.clear()
    client = await RawClient.open(gate.port)
    await client.send(raw("GET", "/evenements", cookies=jar))
    line = await APP["app"].line()
    piece = f"data: {SIGHTING}\n\n".encode()
    await line.say(b"%x\r\n%s\r\n" % (len(piece), piece))
    async with asyncio.timeout(5):
        await client.reader.readuntil(b"157 80")
    await line.say(b"%x\r\n%s\r\n" % (2 * len(piece), piece * 2))
    answered = await client.rest(5)
    assert answered.closed
    assert b"NIR " not in answered.raw
    # Naive: a chunk dropped as b"" ends the message, and what was cut looks whole.
    assert not answered.raw.endswith(b"0\r\n\r\n")
    sighted = [event for event in await gate.events("sighted") if event["account"] == person.login]
    assert sum(int(detail(event, "pieces") or 0) for event in sighted) >= 3
    cut = [event for event in await gate.events("stream-cut") if event["account"] == person.login]
    assert [event["route"] for event in cut] == ["events"]


async def test_many_small_messages(gate: Stand, cookies: dict[str, str]) -> None:
    """E07: nothing is kept of what was relayed."""
    # Naive: flow.websocket.messages grows for as long as the socket is open.
    client, line, _ = await connect(gate, cookies)
    ((flow, _exchange),) = [
        pair for pair in watched(gate)._long_lived.values() if pair[1].account.name == "dr.martin"
    ]
    count = 200
    await client.send(b"".join(frame(b"%d" % number, masked=True) for number in range(count)))
    async with asyncio.timeout(20):
        for number in range(count):
            assert (await read_frame(client.reader))[1] == b"recu %d" % number
    assert len(line.received) == count
    assert flow.websocket is not None
    assert len(flow.websocket.messages) <= 1
    client.close()
    async with asyncio.timeout(5):
        await line.closed.wait()


# E08 to E11: headers, parts and other protocols.


async def test_an_upgrade_echoed_in_an_ordinary_answer(gate: Stand, cookies: dict[str, str]) -> None:
    """E08: no tunnel, the next request on the connection is judged like any (CVE-2024-23326)."""
    client = await RawClient.open(gate.port)
    await client.send(raw("GET", "/echo-upgrade", "Connection: Upgrade", "Upgrade: h2c", cookies=cookies))
    first = await client.answer()
    assert first.status == 200
    before = len(gate.app.seen)
    told_before = len(await told(gate))
    await client.send(raw("GET", "/dossiers/1001"))
    second = await client.answer()
    assert second.status == 401
    assert len(gate.app.seen) == before
    (event,) = (await told(gate))[told_before:]
    assert (event["kind"], event["reason"], event["client"]) == ("challenged", "no-session", "127.0.0.1")


@pytest.mark.parametrize("target", ["/alt", "/static/alt.css"])
async def test_an_address_beside_the_door(gate: Stand, cookies: dict[str, str], target: str) -> None:
    """E09: Alt-Svc would lead browsers around the gateway; names of ours are ours."""
    outcome = await attempt(gate, raw("GET", target, cookies=cookies))
    assert outcome.status == 200
    head = outcome.answer.raw.partition(b"\r\n\r\n")[0].lower()
    assert b"alt-svc" not in head
    assert b"x-ecluse" not in head


@pytest.mark.parametrize(
    "line",
    [
        "Range: bytes=0-9",
        "If-None-Match: *",
        "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
        "If-Range: x",
    ],
)
@pytest.mark.parametrize("target", ["/dossiers/1001", "/export.csv"])
async def test_a_part_of_an_answer(gate: Stand, cookies: dict[str, str], target: str, line: str) -> None:
    """E10: patients come whole and are counted whole: the app hears of no part and of no condition."""
    outcome = await attempt(gate, raw("GET", target, line, cookies=cookies))
    assert outcome.status == 200
    (seen,) = outcome.requests
    assert seen.header(line.partition(":")[0].lower()) is None
    assert outcome.event["kind"] == "access"
    assert outcome.event["bytes"] == len(outcome.answer.raw.partition(b"\r\n\r\n")[2])


async def test_a_part_that_the_app_sends_unasked(gate: Stand, cookies: dict[str, str]) -> None:
    """E10: 206 on a record is recorded like the rest, or withheld; never free."""
    outcome = await attempt(gate, raw("GET", "/dossiers/1999", cookies=cookies))
    if outcome.status == 206:
        assert outcome.event["kind"] == "access"
        assert len(outcome.event["patients"]) == 1
    else:
        assert outcome.event["kind"] == "withheld"
        assert b"Patient1999" not in outcome.answer.raw


async def test_probing_by_heads(gate: Stand, cookies: dict[str, str]) -> None:
    """E10: HEAD on a record shows no body, and counts as a probe."""
    outcome = await attempt(gate, raw("HEAD", "/dossiers/1001", cookies=cookies), patience_s=0.3)
    assert outcome.status == 200
    assert outcome.answer.raw.endswith(b"\r\n\r\n")
    assert detail(outcome.event, "probe") == "true"


@pytest.mark.parametrize(
    "first",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + os.urandom(32) + b"\x20",
        b"\x05\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET /dossiers/1001\r\n\r\n",
        b"\x00" * 64,
    ],
    ids=["ssh", "tls", "socks", "h2", "redis", "http-0.9", "nul"],
)
async def test_bytes_that_are_not_http(gate: Stand, first: bytes) -> None:
    """E11: closed, and no byte goes to the app."""
    before, told_before = len(gate.app.bytes), len(await told(gate))
    client = await RawClient.open(gate.port)
    await client.send(first)
    answered = await client.rest(2)
    assert answered.closed
    assert answered.status in {0, 400}
    assert len(gate.app.bytes) == before
    (event,) = (await told(gate))[told_before:]
    assert (event["kind"], event["reason"], detail(event, "fault")) == (
        "refused",
        "malformed-request",
        "wire",
    )
    assert (event["status"], event["client"]) == (400, "127.0.0.1")


async def test_nothing_is_watched_any_more(gate: Stand) -> None:
    """E05 E07: what has ended is forgotten."""
    await hang_up()
    async with asyncio.timeout(5):
        while watched(gate)._long_lived:
            await asyncio.sleep(0.02)
    assert json.dumps(await told(gate)).count("fail-closed") == 0
