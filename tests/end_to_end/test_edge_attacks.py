"""Recorded framing, claims and HTTP/2 oddities through every front proxy: the app gets what was judged, or nothing."""

import asyncio
import contextlib
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import jwt
import pytest
import pytest_asyncio

from gateway.clock import spawn
from gateway.edge.front.site import Times
from tests.attacks.test_facts_about_mitmproxy import AMBIGUOUS, LARGE, STRIPPED
from tests.attacks.test_framing import MALFORMED_ANSWERS, REFUSED
from tests.attacks.test_identity_headers import CLAIMS, SPOOFED
from tests.end_to_end import h2_attacks
from tests.end_to_end.doors import CLIENT, INTERIM, Doorway, children, doorways
from tests.end_to_end.fronts import COMMANDS, SECRET, House, house
from tests.end_to_end.h2_attacks import CONTINUATION, PREFACE, block, floods, frame, oddities
from tests.end_to_end.raw_app import CUT, Ambiguous, Script, requests_of
from tests.people import DR_MARTIN
from tests.stand import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfirst"
UNASKED = b"HTTP/1.1 200 OK\r\nSet-Cookie: __Host-ecluse=planted\r\nContent-Length: 7\r\n\r\nunasked"
_CHUNKS = b"5\r\nfirst\r\n0\r\n"
ANSWERS: dict[str, Script] = {
    **{str(case.id): case.values[0] for case in MALFORMED_ANSWERS},
    "second": [PLAIN_ANSWER + UNASKED],
    "second-and-gone": [PLAIN_ANSWER + UNASKED, CUT],
    "claims": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nSet-Cookie: a=planted\r\nX-Ecluse-Assertion: planted\r\n"
                                    b"aLt-sVc: h3=planted\r\nset-COOKIE: b=planted\r\n", 1)],
    "blank-before-the-colon": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nSet-Cookie : a=planted\r\n", 1)],
    "split-by-cr": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nX-A: b\rSet-Cookie: a=planted\r\n", 1)],
    "split-by-lf": [PLAIN_ANSWER.replace(b"\r\n", b"\nX-A: b\nSet-Cookie: a=planted\n", 1)],
    "folded": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nX-A: b\r\n Set-Cookie: a=planted\r\n", 1)],
    "early": [b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=planted\r\n\r\n" + PLAIN_ANSWER],
    "trailers": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n" + _CHUNKS
                 + b"Set-Cookie: a=planted\r\n\r\n"],
    "two-lengths": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nContent-Length: 90\r\n", 1) + UNASKED],
    "length-and-coding": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nTransfer-Encoding: chunked\r\n", 1)[:-5] + _CHUNKS
                          + b"\r\n" + UNASKED],
    "another-coding": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n" + UNASKED],
    "204-with-a-body": [b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n" + UNASKED],
    "304-with-a-body": [b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(UNASKED) + UNASKED],
    "another-protocol": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n" + UNASKED],
    "accelerated": [PLAIN_ANSWER.replace(b"\r\n", b"\r\nX-Accel-Redirect: /ecluse-check\r\n", 1)],
    "broken-off": [b"HTTP/1.1 200 OK\r\nX-A: 1", CUT],
    "large": [b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", b"a" * 20_000_000],
}  # fmt: skip
"""What an app answers, by the word in the address."""
PAGE, FILE, RECORD = b"/annuaire", b"/static/a.css", b"/dossiers/1001"
_RECORDED_TARGETS = (b"/patient/1", b"/nohost", b"/")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1")
SMUGGLED = (
    b"GET /smuggled HTTP/1.1\r\nHost: parcours.example\r\nX-Ecluse-Assertion: forged\r\n"
    b"Cookie: sid=stolen\r\n\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def around(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    # Bodies end with the inspector, for proxies that pass them on as they come.
    async with house(
        tmp_path_factory.mktemp("house"), {"head_timeout_s": 2.5, "body_timeout_s": 5.0}
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_doors(
    around: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Doorway]]:
    async with doorways(around, tmp_path_factory.mktemp("doors"), ANSWERS) as running:
        yield running


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in COMMANDS])
def door(request: pytest.FixtureRequest, all_doors: dict[str, Doorway]) -> Doorway:
    if request.param not in all_doors:
        pytest.skip(f"{request.param} is not installed")
    return all_doors[request.param]


def sent(case: bytes, target: bytes, method: bytes | None, cookies: str) -> bytes:
    """Return a recorded *case* about *target*, by *method* in place of POST, with the cookies of a session."""
    ending = b"\r\n" if b"\r\n" in case else b"\n"
    first, _, rest = case.partition(ending)
    words = first.split(b" ")
    if len(words) == 3 and words[2] in _VERSIONS:
        if words[1] in _RECORDED_TARGETS:
            words[1] = target
        if method is not None and words[0] == b"POST":
            words[0] = method
        first, rest = b" ".join(words), b"Cookie: " + cookies.encode() + ending + rest
    whole = (first + ending + rest).replace(b"app.example", HOST.encode())
    return whole.replace(b"/public", b"/static").replace(b"/patient/", b"/dossiers/")


def asked(target: bytes, cookies: str, *lines: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Return a request of somebody who is logged in."""
    head = (method + b" " + target + b" HTTP/1.1", b"Host: " + HOST.encode(), b"Accept: text/html",
            b"Cookie: " + cookies.encode(), *lines)  # fmt: skip
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunk(body: bytes) -> bytes:
    """Return *body* as one chunk and the end."""
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


_LENGTH = b"Content-Length: %d" % len(SMUGGLED)
WITHIN = {
    "te.0": ((CHUNKED,), chunk(SMUGGLED)),
    "one-byte": ((CHUNKED,), chunk(b"x")),
    "no-byte": ((CHUNKED,), b"0\r\n\r\n"),
    "cl.0": ((_LENGTH,), SMUGGLED),
    "length-one": ((b"Content-Length: 1",), b"x"),
    "two-lengths": ((b"Content-Length: 0", _LENGTH), SMUGGLED),
    "cl.te": ((_LENGTH, CHUNKED), chunk(SMUGGLED)),
    "coding-hop-by-hop": ((CHUNKED, b"Connection: Transfer-Encoding"), chunk(SMUGGLED)),
    "length-hop-by-hop": ((_LENGTH, b"Connection: Content-Length"), SMUGGLED),
    "expected": ((_LENGTH, b"Expect: 100-continue"), SMUGGLED),
    "after-an-upgrade": ((b"Upgrade: websocket", b"Connection: Upgrade"), SMUGGLED),
    "after-h2c": ((b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
                  SMUGGLED),
}  # fmt: skip
"""Requests without a body, to most servers, and one within: where the second would begin is what servers differ in."""


def wire_cases(cookies: str) -> Iterator[bytes]:
    """Yield every case at every door, with a request behind it; its address tells which it is."""
    for number, case in enumerate((*REFUSED, *AMBIGUOUS)):
        for target, method in ((PAGE, b"GET"), (FILE, (b"GET", b"HEAD")[number % 2]), (RECORD, None)):
            name = str(case.id).encode()
            behind = asked(PAGE + b"?behind=" + name, cookies, b"Connection: close")
            yield sent(case.values[0], target + b"?case=" + name, method, cookies) + behind
    for word, (lines, body) in WITHIN.items():
        for target, method in itertools.product((PAGE, FILE), (b"GET", b"HEAD")):
            name = word.encode()
            behind = asked(PAGE + b"?behind=" + name, cookies, b"Connection: close")
            yield asked(target + b"?case=" + name, cookies, *lines, method=method, body=body) + behind
    for before in (
        b"https://" + HOST.encode(),
        b"http://" + HOST.encode(),
        b"http://autre.example",
        b"ftp://a",
    ):
        for target in (PAGE, FILE):
            yield asked(before + target + b"?absolute", cookies, b"Connection: close")


async def test_the_app_of_these_tests_takes_none_of_the_cases_for_one_request() -> None:
    """B01 B02 B03 B04 B05 B07 B08 B09 B10 B14 B16: a reader that would not see it proves nothing below."""
    taken = set()
    for case in (*REFUSED, *AMBIGUOUS):
        with contextlib.suppress(Ambiguous):
            requests_of(case.values[0])
            taken.add(case.id)
    # Well formed all of them, and refused by the gateway for what they ask.
    assert taken == {
        "track", "unknown-method", "dot-segments", "encoded-dots", "encoded-slash", "double-encoding",
        "double-slash", "fragment", "encoded-nul", "trace", "userinfo", "port", "host-list",
    }  # fmt: skip


async def test_what_has_two_readings_reaches_the_app_in_one_or_not_at_all(door: Doorway) -> None:
    """B01 B02 B03 B04 B05 B06 B07 B08 B09 B10 B11 B12 B13 B14 B16: by no proxy does the app get what nobody judged."""
    cases = list(wire_cases(door.cookies))
    inspected = len(door.front.house.gate.app.seen)
    plain = await door.send(asked(PAGE + b"?plain", door.cookies))
    assert plain.status == 200
    await door.send_all(cases)
    found = door.judged()
    assert "/annuaire?plain" in [request.target for request in found]
    # What stood behind a case that was read whole is a request of its own, with a judgement of its own.
    assert any("behind=" in request.target for request in found)
    assert b"smuggled" not in door.app.received()
    assert "smuggled" not in str(door.front.house.gate.app.seen[inspected:])


async def test_requests_in_one_piece_are_judged_one_by_one(door: Doorway) -> None:
    """B15: a file, a page without and with a session, a record: each by its own rule, whatever stands before it."""
    stranger = f"GET /annuaire?stranger HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/html\r\n\r\n".encode()
    gate = door.front.house.gate
    before = len(gate.app.seen)
    got = await door.send(
        asked(FILE + b"?one", door.cookies), stranger, asked(PAGE + b"?two", door.cookies),
        asked(RECORD + b"?three", door.cookies), stranger, asked(FILE + b"?four", door.cookies, b"Connection: close"),
    )  # fmt: skip
    assert [int(part[:3]) for part in got.raw.split(b"HTTP/1.1 ")[1:]] == [200, 303, 200, 200, 303, 200]
    assert [seen.query for seen in gate.app.seen[before:]] == ["three"]
    found = {request.target: request for request in door.judged()}
    assert {"/static/a.css?one", "/annuaire?two", "/static/a.css?four"} <= set(found)
    assert not {"/annuaire?stranger", "/dossiers/1001?three"} & set(found)


async def test_what_is_too_large_ends_at_the_proxy_or_at_the_gateway(door: Doorway) -> None:
    """B19: heads and addresses of a megabyte, at every door; a head that never ends."""
    app = door.front.house.gate.app
    cases = [
        sent(case.values[0], target, None, door.cookies) for case in LARGE for target in (PAGE, FILE, RECORD)
    ]
    cases.append(b"GET /annuaire HTTP/1.1\r\nX-A: " + b"a" * 4_000_000)
    got = await door.send_all(cases)
    # Caddy counts no lines, as long as they are within the bound of bytes.
    many = [each for each in got if each.status == 200]
    assert len(many) <= (door.front.name == "caddy")
    assert {each.status for each in got} - {200} <= {0, 400, 413, 414, 431}
    assert all(each.raw.count(b"HTTP/1.1 ") <= 1 for each in got)
    assert b"a" * 2_000 not in app.bytes
    bound = door.front.site.max_head_bytes + 4_096
    assert max(len(head) for head in door.app.received().split(b"\r\n\r\n")) <= bound
    assert (await door.send(asked(PAGE, door.cookies), one=True)).status == 200


CONNECTION = [
    b"Connection: " + options
    for options in (
        b"X-Ecluse-Assertion", b"close, X-Ecluse-Assertion", b"Cookie", b"keep-alive, Authorization",
        b"X-Forwarded-For", b"X-Forwarded-Host, X-Forwarded-Proto", b"X-Ecluse-Front",
        b"X-Forwarded-Uri, X-Forwarded-Method",
    )
]  # fmt: skip
"""Every one of our own lines, named as one to drop at this hop."""


async def test_no_claim_reaches_the_app_by_either_door(door: Doorway) -> None:
    """C01 C02 C03 C04 C05 C06 C07 C08: no identity, address or path of a client's own making, from any door."""
    house = door.front.house
    told = len(await house.gate.events()), len(await house.gate.events(writer="edge-1"))
    before = len(house.gate.app.seen)
    lines = [*SPOOFED, *(f"{name}: 203.0.113.66".encode() for name in CLAIMS), *STRIPPED, *CONNECTION]
    lines += [
        f"X-Forwarded-For: {address}".encode()
        for address in ("127.0.0.1", "10.0.0.1, 127.0.0.1", "unknown", "")
    ]
    ways = [(line, target) for line in lines for target in (PAGE, FILE, RECORD)]
    got = await door.send_all(
        asked(target + b"?claim=%d" % number, door.cookies, line)
        for number, (line, target) in enumerate(ways)
    )
    judged = [request for request in door.judged() if "claim=" in request.target]
    inspected = house.gate.app.seen[before:]
    whole = [*map(str, judged), *map(str, inspected)]
    for trace in ("orged", "ORGED", "203.0.113.66", "trailers", "x_", "x.", "remote_"):
        assert not [text for text in whole if trace in text.partition("eyJ")[0]], trace
    # Refused, or passed on without the claim; most are passed on, and all that is passed on is told with our own lines.
    assert {answer.status for answer in got} <= {0, 200, 303, 400}
    assert sum(answer.status == 200 for answer in got) > len(got) // 2
    assert len(judged) > len(lines)
    assert len(inspected) > len(lines) // 2
    for request in judged:
        page = request.target.startswith("/annuaire")
        assert (request.one("x-ecluse-assertion").count("."), request.one("x-forwarded-host")) == (
            2 * page,
            HOST,
        )
    for seen in inspected:
        assert seen.header("x-forwarded-for") == CLIENT
        assert (seen.header("x-ecluse-assertion") or "").count(".") == 2
    events = (await house.gate.events())[told[0] :] + (await house.gate.events(writer="edge-1"))[told[1] :]
    assert {entry["client"] for entry in events if entry.get("client")} == {CLIENT}


async def test_the_app_can_tell_who_came_by_the_edge(door: Doorway) -> None:
    """C10 C11: what the check gives along proves to the app who was let through, for a minute, and to nobody else."""
    got = await door.send(asked(PAGE + b"?proof", door.cookies, b"Connection: close"))
    assert got.status == 200
    (request,) = [request for request in door.judged() if request.target == "/annuaire?proof"]
    text = request.one("x-ecluse-assertion")
    answer = await door.send(asked(b"/.ecluse/jwks.json", "", b"Connection: close"))
    published = json.loads(answer.raw.partition(b"\r\n\r\n")[2])
    head = jwt.get_unverified_header(text)
    key = next(each for each in jwt.PyJWKSet.from_dict(published).keys if each.key_id == head["kid"])
    assert head["alg"] not in {"none", "HS256"}
    assert not {"jku", "jwk", "x5u"} & set(head)
    claims = jwt.decode(text, key, algorithms=[head["alg"]], audience="parcours", issuer="ecluse.test")
    assert claims["sub"] == DR_MARTIN.login
    assert claims["exp"] - claims["iat"] <= 60
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(text, key, algorithms=[head["alg"]], audience="ancien", issuer="ecluse.test")
    # A client that shows one is taken for nobody, and one sent along is replaced.
    line = b"X-Ecluse-Assertion: " + text.encode()
    stranger = await door.send(asked(PAGE + b"?shown", f"__Host-ecluse={text}", line, b"Connection: close"))
    assert stranger.status == 303
    assert (await door.send(asked(FILE + b"?shown", "", line, b"Connection: close"))).status == 200
    shown = [request for request in door.judged() if request.target.endswith("?shown")]
    assert [request.one("x-ecluse-assertion") for request in shown] == [""]


KEPT_BACK = re.compile(rb"(?im)^(?:set-cookie|x-ecluse-assertion|alt-svc)[ \t]*:")
_TRAILERS = re.compile(rb"(?<=\r\n0\r\n)(?:[^\r]+\r\n)+(?=\r\n)")


async def test_an_app_speaks_neither_in_our_name_nor_to_the_next_client(door: Doorway) -> None:
    """B22 C12: each client gets one answer, its own, without cookies or statements of ours, whatever the app says."""
    # nginx opens a tunnel when it is told to, though nobody asked for one (docs/edge.md).
    words = [
        word
        for word in ANSWERS
        if word != "large" and (door.front.name, word) != ("nginx", "another-protocol")
    ]
    for target in (PAGE, FILE):
        after = asked(target + b"?after", door.cookies, b"Connection: close")
        got = await door.send_all(
            asked(target + b"?answer=" + word.encode(), door.cookies) + after for word in words
        )
        for word, answer in zip(words, got, strict=True):
            seen = answer.raw
            # Traefik and HAProxy let go on what comes before the answer, and with Caddy what comes after it: browsers
            # take no cookie from either.
            if door.front.name in {"traefik", "haproxy"}:
                seen = INTERIM.sub(b"", seen)
            if door.front.name in {"traefik", "haproxy", "caddy"}:
                seen = _TRAILERS.sub(b"", seen)
            assert b"unasked" not in seen, (word, seen)
            assert KEPT_BACK.search(seen) is None, (word, seen)
            assert b"\0" not in seen, (word, seen)
    # Nothing that was left over waits for those who come next.
    ways = [target + b"?next=%d" % number for number in range(20) for target in (PAGE, FILE)]
    for way, answer in zip(
        ways, await door.send_all((asked(way, door.cookies) for way in ways), one=True), strict=True
    ):
        assert answer.raw.endswith(b"\r\n\r\n" + way), answer.raw


async def test_no_agent_is_waved_through_by_a_door(door: Doorway) -> None:
    """C09: whoever calls himself a health checker is a stranger like any other."""
    app = door.front.house.gate.app
    agents = (b"GoogleHC/1.0", b"kube-probe/1.29", b"ELB-HealthChecker/2.0", b"HAProxy/healthcheck")
    ways = [
        asked(target + b"?agent=" + agent, "", b"User-Agent: " + agent)
        for agent in agents
        for target in (PAGE, RECORD, b"/")
    ]
    answers = await door.send_all(iter(ways), one=True)
    assert {each.status for each in answers} == {303}
    assert not [seen for seen in app.seen if "agent=" in seen.query]
    # The same words of somebody who is logged in are no hindrance.
    [inside] = await door.send_all(
        iter([asked(PAGE + b"?inside", door.cookies, b"User-Agent: " + agents[0])]), one=True
    )
    assert inside.status == 200


VERSIONS = re.compile(
    rb"(?i)(?:nginx|caddy|traefik|haproxy|envoy|uvicorn|mitmproxy|python|openssl|boringssl|go)[ /-]?v?[0-9]|traceback"
    rb"|goroutine|exception|connection refused|errno|upstream connect|\.sock|\.py|127\.0\.0\.1"
)


async def test_pages_of_errors_tell_nothing_and_nothing_of_ours_is_public(door: Doorway) -> None:
    """O06 O09: no version, address or stack, and by no public address metrics, health or the check itself."""
    site, app = door.front.site, door.front.house.gate.app
    host = b"Host: " + HOST.encode() + b"\r\n\r\n"
    plain = b"GET / HTTP/1.1\r\n" + host
    stranger = b"GET /annuaire?page HTTP/1.1\r\nAccept: application/json\r\n" + host
    odd = [b"GET / HTTP/1.1\r\nHost: autre.example\r\n\r\n", b"GET / HTTP/9\r\n" + host, b"GET / HTTP/1.1\r\n\r\n",
           b"GET /" + b"a" * 90_000 + b" HTTP/1.1\r\n" + host, b"\x16\x03\x01\x00\x02\r\n\r\n", plain]  # fmt: skip
    # To some of these a proxy says nothing, and waits for more.
    told = await asyncio.gather(
        *(door.send(each, port=port, patience_s=3.0) for each in odd for port in (None, site.front.http_port))
    )
    told.append(await door.send(plain, port=door.port, one=True))
    told.append(await door.send(asked(FILE + b"?answer=broken-off", ""), one=True))
    names = ("metrics", "healthz", "health", "ping", "check", "brief", "answer", "ecluse-check",
             "server-status", "haproxy?stats", "dashboard/", "api/rawdata", "debug/pprof/", "clusters")  # fmt: skip
    for cookies in ("", door.cookies):
        ours = await door.send_all((asked(f"/{name}".encode(), cookies) for name in names), one=True)
        assert {each.status for each in ours} <= {303, 403, 404}
        told += ours
    door.front.house.relay.hang_up()
    try:
        down = await door.send_all(
            (asked(PAGE + b"?down", cookies) for cookies in ("", door.cookies)), one=True
        )
    finally:
        door.front.house.relay.up = True
    assert {each.status for each in down} <= {500, 502, 503}
    # The check's own page for a stranger leaves whole.
    assert b"urn:ecluse:problem:no-session" in (await door.send(stranger, one=True)).raw
    for each in (*told, *down):
        found = VERSIONS.search(each.raw)
        assert found is None, (found, each.raw[:600])
    assert not {seen.path.removeprefix("/") for seen in app.seen} & set(names)
    assert not [each for each in door.judged() if "down" in each.target]


async def test_a_proxy_listens_where_it_is_told_to_and_nowhere_else(door: Doorway) -> None:
    """O10: no console, no statistics, no debugger beside the two ports."""
    assert listening(door.front.pid) == {door.port, door.front.site.front.http_port}


def listening(pid: int) -> set[int]:
    """Return the TCP ports on which *pid* and its children listen."""
    sockets = set()
    for number in (pid, *children(pid)):
        for entry in Path(f"/proc/{number}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(entry.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.add(int(local.rpartition(":")[2], 16))
    return found


async def test_what_http_1_could_not_say_reaches_nobody(door: Doorway) -> None:
    """B17: names, values, addresses and lengths of HTTP/2 that break in HTTP/1 are refused, or change nothing."""
    inspected = len(door.front.house.gate.app.seen)
    odd = [each for target in (PAGE, FILE) for each in oddities(target.decode() + "?odd")]
    if door.front.name == "traefik":
        # It reads over the blank, and the app is told no name at all.
        odd = [each for each in odd if (":authority", f"{HOST} ") not in each[0]]
    got = await door.send_h2(odd)
    assert await door.send_h2([(h2_attacks.lines("GET", "/annuaire?even"), b"")], 30) == [200]
    assert sum(status != 200 for status in got) > len(got) // 2
    door.judged()
    whole = str(door.front.house.gate.app.seen[inspected:]) + door.app.received().decode("latin-1")
    for trace in ("orged", "smuggled", "203.0.113.66", "ftp://"):
        assert trace not in whole, trace


async def test_floods_keep_nobody_waiting(door: Doorway) -> None:
    """B18: streams cancelled at once, heads without an end, empty frames: others are served, memory is bounded."""
    resident = _resident_bytes(door.front.pid)

    async def flood(data: bytes) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", door.port, ssl=door.tls_h2, server_hostname=HOST, local_addr=(CLIENT, 0)
            )
            reading = spawn(reader.read(), "what a flood gets")
            try:
                async with asyncio.timeout(5):
                    for start in range(0, len(data), 65_536):
                        writer.write(data[start : start + 65_536])
                        await writer.drain()
            finally:
                reading.cancel()
                writer.close()

    async with asyncio.TaskGroup() as group:
        for data in floods().values():
            group.create_task(flood(PREFACE + data))
    assert b"?flood" not in door.app.received()
    async with asyncio.timeout(60):
        # On a machine that is busy, what the floods asked for may still be worked off.
        for target in (PAGE, FILE, RECORD):
            while (await door.send(asked(target, door.cookies), one=True)).status != 200:
                await asyncio.sleep(0.2)
    assert _resident_bytes(door.front.pid) < resident + 150_000_000


def _resident_bytes(pid: int) -> int:
    text = "".join(Path(f"/proc/{number}/status").read_text() for number in (pid, *children(pid)))
    return 1_024 * sum(int(found) for found in re.findall(r"VmRSS:\s+(\d+) kB", text))


async def test_an_upload_is_refused_before_it_comes(door: Doorway) -> None:
    """B21: whoever asks to be waved on with much to send, and may not, is told so at once."""
    much = (b"Content-Length: 900000", b"Expect: 100-continue")
    for path in (PAGE, RECORD, b"/elsewhere"):
        upload = asked(path + b"?upload", "", *much, method=b"POST")
        if door.front.name == "caddy":
            # It waves everybody on, and asks the inspector with the first piece of the body.
            await door.send(upload, patience_s=0.5)
            continue
        got = await door.send(upload, one=True)
        assert INTERIM.sub(b"", got.raw)[9:12] in {b"303", b"401", b"403"}, got
    assert not [seen for seen in door.front.house.gate.app.seen if seen.query == "upload"]


_POST = f"POST /annuaire HTTP/1.1\r\nHost: {HOST}\r\nCookie: @\r\n".encode()
_GET = f"GET /static/a.css HTTP/1.1\r\nHost: {HOST}\r\n".encode()
_HALF = block("GET", "/annuaire")
_OPENED = PREFACE + frame(1, 4, 1, block("POST", "/annuaire", ("content-length", "100000")))
SLOW: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "half a line": (_GET + b"X-A: ", b"a"),
    "line after line": (_GET, b"X-A: a\r\n"),
    "a body that stops": (_POST + b"Content-Length: 1000\r\n\r\nabc", b""),
    "a body byte by byte": (_POST + b"Content-Length: 100000\r\n\r\nabc", b"a"),
    "chunk by chunk": (_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "a body where none belongs": (_GET + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "nothing more": (_GET + b"\r\n", b""),
    "an answer that nobody reads": (_GET.replace(b".css", b".css?answer=large") + b"\r\n", b""),
    "http/2, nothing": (PREFACE, b""),
    "http/2, half a head": (PREFACE + frame(1, 0, 1, _HALF), b""),
    "http/2, piece by piece": (PREFACE + frame(1, 0, 1, _HALF), frame(CONTINUATION, 0, 1, b"\0\1a\1b")),
    "http/2, a body that stops": (_OPENED + frame(0, 0, 1, b"abc"), b""),
    "http/2, a body byte by byte": (_OPENED, frame(0, 0, 1, b"a")),
}  # fmt: skip
"""What slow clients send first, and then again and again."""
UNREAD = {("caddy", "a body that stops"), ("caddy", "a body byte by byte")}
"""Caddy 2.11 gives up such a body in time, and the connection when the client does (docs/edge.md)."""
IMPATIENT = Times(head_s=1, body_pause_s=1, body_s=2, read_s=2, write_s=3, answer_s=3, idle_s=2)


async def test_slow_clients_are_hung_up_on(around: House, tmp_path: Path) -> None:
    """B20: by every proxy within the bounds written for it, or those of the inspector behind it."""

    async def ended(door: Doorway, kind: str) -> bool:
        first, more = SLOW[kind]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.port, ssl=door.tls_h2 if kind.startswith("http/2") else door.tls, server_hostname=HOST,
            local_addr=(CLIENT, 0), limit=1_024,
        )  # fmt: skip

        async def drip() -> None:
            with contextlib.suppress(OSError):
                writer.write(first.replace(b"@", door.cookies.encode()) if first.startswith(_POST) else first)
                while True:
                    await writer.drain()
                    await asyncio.sleep(0.2)
                    writer.write(more)

        dripping = spawn(drip(), "a slow client")
        try:
            async with asyncio.timeout(40):
                if kind == "an answer that nobody reads":
                    # Whoever was hung up on gets less than all, when reading at last.
                    await asyncio.sleep(5)
                    with contextlib.suppress(asyncio.IncompleteReadError):
                        return not await reader.readexactly(20_000_000)
                    return True
                while await reader.read(65_536):
                    pass
        except (ConnectionError, ssl.SSLError):
            pass
        except TimeoutError:
            return False
        finally:
            dripping.cancel()
            writer.close()
        return True

    async with doorways(around, tmp_path, ANSWERS, IMPATIENT) as hurried:
        ways = [(name, kind) for name in hurried for kind in SLOW if (name, kind) not in UNREAD]
        got = await asyncio.gather(*(ended(hurried[name], kind) for name, kind in ways))
    assert [way for way, well in zip(ways, got, strict=True) if not well] == []


QUESTION = {
    "X-Ecluse-Front": SECRET, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/annuaire",
    "X-Forwarded-Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9",
}  # fmt: skip


def question(*more: str, first: str = "GET /check HTTP/1.1", **changed: str | None) -> bytes:
    """Return a question to the check: *changed* lines, none for None, and *more* of them."""
    lines = QUESTION | {name.replace("_", "-"): value for name, value in changed.items()}
    told = [f"{name}: {value}" for name, value in lines.items() if value is not None]
    return "\r\n".join([first, "Host: ecluse", "Connection: close", *told, *more, "", ""]).encode("latin-1")


def wrong_questions(cookies: str) -> Iterator[bytes]:
    """Yield what the check must not say yes to, though somebody is logged in."""
    cookie = f"Cookie: {cookies}"
    yield question(cookie, X_Ecluse_Front=None)
    for secret in ("", "wrong", SECRET[:-1], SECRET + " x", SECRET.upper(), f"{SECRET}, {SECRET}"):
        yield question(cookie, X_Ecluse_Front=secret)
    for name, value in QUESTION.items():
        yield question(cookie, f"{name}: {value}")
        if name != "X-Ecluse-Front":
            yield question(cookie, **{name.replace("-", "_"): None})
            yield question(cookie, **{name.replace("-", "_"): f"{value}, {value}"})
    for target in (
        "//annuaire", "/./annuaire", "/static/../annuaire", "/annuaire/..", "/%2e/annuaire", "/annuaire%2f",
        "/annuaire%00", "/annuaire#x", "/annuaire x", "annuaire", "*", "", "https://parcours.example/annuaire",
        "/annuaire\\", "/annuaire?a b", "/dossiers/1001", "/DOSSIERS/1001", "/%64ossiers/1001", "/dossiers/1001;x",
        "/login", "/.ecluse/code", "/admin/x",
    ):  # fmt: skip
        yield question(cookie, X_Forwarded_Uri=target)
    for method in (
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "get",
        "GET ,",
        "BREW",
        "GET\tHEAD",
    ):
        yield question(cookie, X_Forwarded_Method=method)
    for host in ("autre.example", f"{HOST}@a", f"{HOST}:99999", f"{HOST}, a", "", "127.0.0.1", f"{HOST}/"):
        yield question(cookie, X_Forwarded_Host=host)
    for address in ("unknown", "192.0.2.9:443", "fe80::1%eth0", "192.0.2.9, 127.0.0.1", "", "0300.0.2.9"):
        yield question(cookie, X_Forwarded_For=address)
    for line in (
        "X-Original-URL: /static/x", "X-Rewrite-URL: /static/x", "X-HTTP-Method-Override: GET", "X_Forwarded_Uri: /x",
        "X.Forwarded.Uri: /x", "X-Ecluse-Assertion: forged", "X-Ecluse-Answer: forged", "Forwarded: for=127.0.0.1",
        "Remote-User: forged", "X-Forwarded-Prefix: /x", "Upgrade: websocket", "Content_Length: 5", "Trailer: x",
    ):  # fmt: skip
        yield question(cookie, line)
    for first in (
        "GET /brief HTTP/1.1",
        "GET /answer HTTP/1.1",
        "GET /other HTTP/1.1",
        "GET /metrics HTTP/1.1",
        "GET / HTTP/1.1",
    ):
        yield question(cookie, first=first, X_Ecluse_Front="wrong")
    yield question(cookie, first="GET /other HTTP/1.1")
    yield question(cookie, "Content-Length: 5") + b"GET /"
    yield question(cookie, "Transfer-Encoding: chunked") + b"5\r\nGET /\r\n0\r\n\r\n"
    yield question(cookie).replace(b"\r\nX-Forwarded-Uri", b"\r\n X-Forwarded-Uri")
    yield question(cookie).replace(b"X-Forwarded-Uri:", b"X-Forwarded-Uri :")
    yield question(cookie).replace(b"/annuaire\r\n", b"/annuaire\x00\r\n")


async def test_the_check_says_yes_to_nothing_but_one_clear_question(
    around: House, all_doors: dict[str, Doorway]
) -> None:
    """C01 C05 C08 B01 B03 B08 B09 B14: by its socket or port; whoever has not the secret is told nothing at all."""
    cookies = next(iter(all_doors.values())).cookies
    settings = around.loaded.settings.edge
    assert settings is not None

    async def ask(raw: bytes, place: Path | int) -> bytes:
        opened = (
            asyncio.open_unix_connection(place)
            if isinstance(place, Path)
            else asyncio.open_connection("127.0.0.1", place)
        )
        reader, writer = await opened
        writer.write(raw)
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except (OSError, TimeoutError):
            return b""
        finally:
            writer.close()

    for place in (around.relay.target, settings.port):
        assert place is not None
        right = await ask(question(f"Cookie: {cookies}"), place)
        assert right.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nx-ecluse-assertion: eyJ" in right
        wrong = list(wrong_questions(cookies))
        for raw, got in zip(wrong, await asyncio.gather(*(ask(raw, place) for raw in wrong)), strict=True):
            assert not re.match(rb"HTTP/1\.[01] 2", got), (raw, got)
            assert b"x-ecluse-assertion: eyJ" not in got.lower(), (raw, got)
            assert SECRET.encode() not in got
            if f"X-Ecluse-Front: {SECRET}\r\n".encode() not in raw:
                assert got.partition(b"\r\n\r\n")[2] in {b"", b"Invalid HTTP request received."}, (raw, got)
