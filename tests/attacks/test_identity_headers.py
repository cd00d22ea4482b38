"""Headers that say who somebody is, or where they come from: the client's claims never reach the app."""

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import jwt
import pytest
import pytest_asyncio

from tests.attacks.harness import RawClient
from tests.people import Person
from tests.stand import HOST, Browser, MiniApp, Said, Seen, Stand, form_token, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_HOST = "suivi.example"
OURS = "X-Ecluse-Assertion"
_numbers = count(1)


class TellingApp(MiniApp):
    """MiniApp that claims things in its answers."""

    def __call__(self, seen: Seen) -> Said:
        said = super().__call__(seen)
        if seen.query != "claims":
            return said
        return Said(
            said.status,
            said.body,
            (
                *said.headers,
                ("Set-Cookie", "__Host-ecluse=planted; Path=/; Secure"),
                ("Set-Cookie", "__HOST-Ecluse=planted; Path=/; Secure"),
                ("Set-Cookie", "=__Host-ecluse=planted; Path=/; Secure"),
                ("Set-Cookie", "__Host-ecluse-door=planted; Path=/; Secure"),
                ("Set-Cookie", "theme=dark; Path=/"),
                ("X-Ecluse-Assertion", "planted"),
                ("X-Ecluse-Account", "planted"),
                ("Alt-Svc", 'h3=":443"'),
                ("X-Frame-Options", "DENY"),
            ),
        )


def two_apps(config: dict[str, Any]) -> None:
    app = config["apps"]["parcours"]
    config["apps"]["suivi"] = {**app, "hosts": [OTHER_HOST], "title": "Suivi"}
    app["basic"] = "service"
    app["services"] = [{"account": "agenda", "networks": ["192.0.2.0/24"]}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("headers"), TellingApp(), two_apps) as gate:
        yield gate


def behind_a_proxy(config: dict[str, Any]) -> None:
    two_apps(config)
    config["gateway"]["trusted_proxies"] = ["127.0.0.0/8", "198.51.100.0/24"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("proxied"), TellingApp(), behind_a_proxy) as gate:
        yield gate


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inside(gate: Stand) -> Browser:
    person = Person(f"kine{next(_numbers)}", "Bouleau-5")
    handler = gate.app.handler
    assert isinstance(handler, MiniApp)
    handler.passwords[person.login] = person.password
    return await gate.log_in(person)


async def raw(gate: Stand, path: str, *lines: bytes, browser: Browser | None = None) -> bytes:
    """Send header *lines* as they are, and return the answer."""
    client = await RawClient.open(gate.port)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()) if browser else "a=b"
    head = [
        f"GET {path} HTTP/1.1".encode(),
        f"Host: {HOST}".encode(),
        b"Accept: text/html",
        f"Cookie: {cookies}".encode(),
    ]
    await client.send(b"\r\n".join([*head, *lines]) + b"\r\n\r\n")
    answer = await client.answer()
    client.close()
    return answer.raw


SPOOFED = [
    b"X-Ecluse-Assertion: eyJ.forged.x",
    b"x-ecluse-assertion: eyJ.forged.x",
    b"X_Ecluse_Assertion: eyJ.forged.x",
    b"X-Ecluse_Assertion: eyJ.forged.x",
    b"x.ecluse.assertion: eyJ.forged.x",
    b"X-ECLUSE-ASSERTION:\teyJ.forged.x\t",
    b"X-Ecluse-Account: eyJ.forged.x",
    b"X-Remote-User: forged",
    b"Remote-User: forged",
    b"Remote_User: forged",
    b"X-Forwarded-User: forged",
    b"X-Auth-Request-User: forged",
]


@pytest.mark.parametrize("line", SPOOFED)
async def test_a_claimed_identity_never_reaches_the_app(gate: Stand, inside: Browser, line: bytes) -> None:
    """C01, C02, C04: stripped whatever the spelling, on public doors too; WSGI reads ``_`` and ``-`` alike."""
    before = len(gate.app.seen)
    assert b" 200 " in (await raw(gate, "/", line, browser=inside))[:15]
    assert b" 200 " in (await raw(gate, "/static/a.css", line))[:15]
    assert b" 200 " in (await raw(gate, "/login", line))[:15]
    seen = gate.app.seen[before:]
    assert len(seen) == 3
    assert b"forged" not in bytes(gate.app.bytes)
    made = [
        [value for name, value in each.headers if name.replace("_", "-") == OURS.lower()] for each in seen
    ]
    assert [len(values) for values in made] == [1, 0, 0]


@pytest.mark.parametrize(
    "line", [b"X-Ecluse-Assertion : forged", b"X-Ecluse-Assertion\t: forged", b" X-Ecluse: forged"]
)
async def test_blanks_before_the_colon_are_refused(gate: Stand, inside: Browser, line: bytes) -> None:
    """C02: some servers take the name without its blank."""
    before = len(gate.app.seen)
    got = await raw(gate, "/", line, browser=inside)
    assert b" 200 " not in got[:15]
    assert len(gate.app.seen) == before
    assert b"forged" not in bytes(gate.app.bytes)


@pytest.mark.parametrize(
    "option", [OURS, "close, " + OURS, "cookie", "x-forwarded-for", "keep-alive, Authorization"]
)
async def test_connection_takes_nothing_away(gate: Stand, inside: Browser, option: str) -> None:
    """C03: a header named in Connection is dropped by the next hop, ours among them."""
    before = len(gate.app.seen)
    got = await raw(gate, "/", f"Connection: {option}".encode(), browser=inside)
    assert b" 400 " in got[:15]
    assert len(gate.app.seen) == before
    refused = (await gate.events("refused"))[-1]
    assert (refused["reason"], refused["detail"]["fault"]) == ("malformed-request", "connection-option")


@pytest.mark.parametrize("value", ["10.0.0.1", "192.0.2.7", "127.0.0.1, 192.0.2.7", "unknown", ""])
async def test_an_untrusted_peer_says_nothing_of_addresses(gate: Stand, value: str) -> None:
    """C05: the log holds the peer of the socket, and a service's network is judged by it."""
    lines = (f"X-Forwarded-For: {value}".encode(), b"Authorization: Basic YWdlbmRhOng=")
    before = len(gate.app.seen)
    assert b" 403 " in (await raw(gate, "/dossiers/1001", *lines))[:15]
    assert len(gate.app.seen) == before
    refused = (await gate.events("refused"))[-1]
    assert (refused["reason"], refused["client"]) == ("network-refused", "127.0.0.1")
    await raw(gate, "/login", lines[0])
    assert gate.app.seen[-1].header("x-forwarded-for") == "127.0.0.1"


CLAIMS = [
    "Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP", "CF-Connecting-IP", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method",
    "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Via",
]  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
async def test_claims_of_a_proxy_are_made_fresh(gate: Stand, inside: Browser, name: str) -> None:
    """C08: another path, method, host or address than the one that was judged."""
    for path in ("/", "/static/a.css"):
        await raw(gate, path, f"{name}: 203.0.113.66".encode(), browser=inside if path == "/" else None)
        assert gate.app.seen[-1].path == path
        assert gate.app.seen[-1].method == "GET"
    assert b"203.0.113.66" not in bytes(gate.app.bytes)
    assert gate.app.seen[-1].header("x-forwarded-host") == HOST
    assert gate.app.seen[-1].header("x-forwarded-proto") == "http"


@pytest.mark.parametrize("agent", ["GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0"])
async def test_no_agent_is_waved_through(gate: Stand, agent: str) -> None:
    """C09 O06: health checks and metrics have a port of their own."""
    before = len(gate.app.seen)
    for path in ("/dossiers/1001", "/", "/healthz", "/metrics", "/ping"):
        got = await raw(gate, path, f"User-Agent: {agent}".encode())
        assert got[9:12] in {b"303", b"403"}
    assert len(gate.app.seen) == before


async def test_the_assertion_names_the_person_for_a_minute(gate: Stand) -> None:
    """C10, C11: what an app can check to refuse whoever came round the gateway."""
    person = Person(f"kine{next(_numbers)}", "Bouleau-5")
    handler = gate.app.handler
    assert isinstance(handler, MiniApp)
    handler.passwords[person.login] = person.password
    browser = await gate.log_in(person)
    await browser.get("/dossiers/1001")
    text = gate.app.seen[-1].header(OURS.lower()) or ""
    published = json.loads((await browser.get("/.ecluse/jwks.json")).body)
    keys = jwt.PyJWKSet.from_dict(published)
    head = jwt.get_unverified_header(text)
    key = next(each for each in keys.keys if each.key_id == head["kid"])
    assert head["alg"] not in {"none", "HS256"}
    assert not {"jku", "jwk", "x5u"} & set(head)
    assert not any("d" in each or "k" in each for each in published["keys"])
    claims = jwt.decode(text, key, algorithms=[head["alg"]], audience="parcours", issuer="ecluse.test")
    assert claims["sub"] == person.login
    assert claims["exp"] - claims["iat"] <= 60
    for wrong in (
        {"audience": "suivi", "issuer": "ecluse.test"},
        {"audience": "parcours", "issuer": "autre"},
    ):
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(text, key, algorithms=[head["alg"]], **wrong)  # type: ignore[arg-type]
    # The gateway's own session is another kind of token under another key: neither is taken for the other.
    cookies = {**browser.cookies, "__Host-ecluse": text}
    before = len(gate.app.seen)
    assert (await browser.request("GET", "/dossiers/1001", cookies=cookies)).status == 303
    assert len(gate.app.seen) == before
    # Nor does an assertion, sent by a browser, ever come back from one.
    assert text.encode() not in (await browser.get("/")).raw


async def test_the_app_cannot_speak_in_our_name(gate: Stand, inside: Browser) -> None:
    """C12: cookies of ours in any spelling, and our headers, stay behind; the rest of the answer passes."""
    for browser, path in (
        (inside, "/?claims"),
        (gate.browser(), "/login?claims"),
        (gate.browser(), "/static/a?claims"),
    ):
        before = dict(browser.cookies)
        got = await browser.get(path)
        assert got.status == 200
        assert b"planted" not in got.raw
        assert got.header("alt-svc") is None
        assert got.header("x-frame-options") == "DENY"
        assert browser.cookies.get("__Host-ecluse") == before.get("__Host-ecluse")
        if "static" not in path:
            assert got.set_cookies()["theme"] == "dark"
    assert (await inside.get("/dossiers/1001")).status == 200
    # A parked login answer is handed over without them too.
    person = Person(f"kine{next(_numbers)}", "Bouleau-5")
    handler = gate.app.handler
    assert isinstance(handler, MiniApp)
    handler.passwords[person.login] = person.password
    browser = gate.browser()
    await gate.enrol(person)
    await browser.get("/login")
    await browser.post("/login?claims", {"user": person.login, "password": person.password})
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert (got.status, got.header("location")) == (303, "/")
    assert b"planted" not in got.raw


# mitmproxy keeps one master a process, so a second gateway stands only after the first one's tests.


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 192.0.2.7, 198.51.100.2", "192.0.2.7"),
        # What cannot be read is nobody's address, least of all an allowed one.
        ("192.0.2.7, unknown", "127.0.0.1"),
        ("192.0.2.7, 192.0.2.8:443", "127.0.0.1"),
        ("192.0.2.7, fe80::1%eth0", "127.0.0.1"),
        ("192.0.2.7,", "127.0.0.1"),
        ("", "127.0.0.1"),
        (", ".join(["192.0.2.7"] * 200 + ["203.0.113.9"]), "203.0.113.9"),
    ],
)
async def test_the_right_most_stranger_is_the_client(proxied: Stand, value: str, client: str) -> None:
    """C06, C07: behind a load balancer rules and log use the resolved address."""
    got = await raw(
        proxied, "/dossiers/1001", f"X-Forwarded-For: {value}".encode(), b"Authorization: Basic YWdlbmRhOng="
    )
    inside_network = client.startswith("192.0.2.")
    assert (b" 403 " in got[:15]) is not inside_network
    if not inside_network:
        refused = (await proxied.events("refused"))[-1]
        assert (refused["reason"], refused["client"]) == ("network-refused", client)
    await raw(proxied, "/login", f"X-Forwarded-For: {value}".encode())
    assert proxied.app.seen[-1].header("x-forwarded-for") == client
