"""Recorded framing, claims and HTTP/2 oddities through every front proxy: the app gets what was judged, or nothing."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator

import jwt
import pytest
import pytest_asyncio

from tests.attacks.test_facts_about_mitmproxy import AMBIGUOUS, LARGE, STRIPPED
from tests.attacks.test_framing import REFUSED
from tests.attacks.test_identity_headers import CLAIMS, SPOOFED
from tests.end_to_end.doors import CLIENT, Doorway, doorways
from tests.end_to_end.fronts import COMMANDS
from tests.end_to_end.raw_app import Ambiguous, requests_of
from tests.people import DR_MARTIN
from tests.stand import HOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE, FILE, RECORD = b"/annuaire", b"/static/a.css", b"/dossiers/1001"
_RECORDED_TARGETS = (b"/patient/1", b"/nohost", b"/")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1")
SMUGGLED = (
    b"GET /smuggled HTTP/1.1\r\nHost: parcours.example\r\nX-Ecluse-Assertion: forged\r\n"
    b"Cookie: sid=stolen\r\n\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Doorway]]:
    async with doorways(tmp_path_factory.mktemp("doors"), {}) as running:
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
    before = len(app.bytes)
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
    assert len(app.bytes) == before
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
    assert {answer.status for answer in got} <= {200, 303, 400}
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
