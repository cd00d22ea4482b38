"""The second door: five front proxies, each with the configuration written for it, before one gateway and its edge."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
import pytest_asyncio

from tests.attacks.test_upgrades import frame, read_frame
from tests.end_to_end import h2_client
from tests.end_to_end.fronts import (
    COMMANDS,
    HURRIED,
    SECRET,
    STALE_HOST,
    Front,
    House,
    front,
    house,
    program,
    to_be_locked,
)
from tests.people import DR_MARTIN, Person
from tests.stand import Browser, Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPOOFED = "203.0.113.66"
FORGED = {
    "X-Ecluse-Assertion": "forged",
    "X-Ecluse-Front": "forged",
    "X-Ecluse-Answer": "forged",
    "X-Forwarded-For": SPOOFED,
    "X-Forwarded-Uri": "/static/forged",
    "X-Forwarded-Method": "FORGED",
    "X-Forwarded-Host": "forged.example",
    "X-Forwarded-Proto": "forged",
    "X-Original-URL": "/dossiers/1001?forged",
    "X-Rewrite-URL": "/dossiers/1001?forged",
    "X-HTTP-Method-Override": "FORGED",
    "X-Real-IP": SPOOFED,
    "Forwarded": f"for={SPOOFED}",
}
BY_THE_EDGE = "gzip"
"""What a browser sends in Accept-Encoding arrives at the app by the edge; the inspector asks for plain answers."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def around(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest_asyncio.fixture(
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in COMMANDS],
    scope="module",
    loop_scope="module",
)
async def proxy(
    request: pytest.FixtureRequest, around: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    async with front(around, request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


async def logged_in(proxy: Front, person: Person = DR_MARTIN) -> Browser:
    """Return *person*'s browser, through the proxy; everybody logs in once, since a code is taken once."""
    browser, kept = proxy.browser(), proxy.house.cookies
    if person not in kept:
        await proxy.house.gate.log_in(person, browser)
        kept[person] = dict(browser.cookies)
    browser.cookies = dict(kept[person])
    return browser


def last(proxy: Front) -> Seen:
    return proxy.house.gate.app.seen[-1]


async def test_strangers_are_led_to_the_login(proxy: Front) -> None:
    before = len(proxy.house.gate.app.bytes)
    for path in ("/", "/annuaire", "/dossiers/1001"):
        got = await proxy.browser().get(path)
        assert got.status == 303, (path, got)
        assert (got.header("location") or "").startswith("/login")
        assert got.header("cache-control") == "no-store"
    got = await proxy.browser(accept="application/json").get("/annuaire")
    assert (got.status, got.json()["type"]) == (401, "urn:ecluse:problem:no-session")
    assert len(proxy.house.gate.app.bytes) == before


async def test_pages_pass_by_the_edge_and_records_by_the_inspector(proxy: Front) -> None:
    browser = await logged_in(proxy)
    got = await browser.get("/?x=1", Accept_Encoding=BY_THE_EDGE)
    assert (got.status, got.text) == (200, f"<h1>Bonjour {DR_MARTIN.login}</h1>")
    assert got.header("strict-transport-security") == "max-age=31536000"
    seen = last(proxy)
    assert (seen.method, seen.path, seen.query) == ("GET", "/", "x=1")
    assert seen.header("accept-encoding") == BY_THE_EDGE
    assert list(seen.cookies) == ["sid"]
    assert (seen.header("x-ecluse-assertion") or "").count(".") == 2
    assert (seen.header("host") or "").partition(":")[0] == "parcours.example"
    assert (seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")) == ("127.0.0.1", "https")
    assert SECRET not in str(seen.headers)
    accesses = len(await proxy.house.gate.events("access"))
    got = await browser.get("/dossiers/1001", Accept_Encoding=BY_THE_EDGE)
    assert "Patient1001" in got.text
    assert last(proxy).header("accept-encoding") == "identity"
    assert len(await proxy.house.gate.events("access")) == accesses + 1


async def test_what_clients_claim_is_believed_nowhere(proxy: Front) -> None:
    """C01 C02 C04 C05 C08 By any of the proxies, to either door or to public files."""
    browser = await logged_in(proxy)
    for path in ("/", "/static/app.css", "/dossiers/1002"):
        got = await browser.request("GET", path, headers=FORGED)
        assert got.status == 200, (path, got)
        seen = last(proxy)
        assert (seen.method, seen.path) == ("GET", path)
        assert "forged" not in str(seen.headers).lower()
        assert SPOOFED not in str(seen.headers)
    assert all(entry.get("client") in {None, "127.0.0.1"} for entry in await proxy.house.gate.events())
    # A name that some servers read as one of ours is taken away, or refused.
    for name in ("X_Ecluse_Assertion", "X.Ecluse.Assertion", "x_forwarded_uri"):
        before = len(proxy.house.gate.app.seen)
        got = await _raw(browser, "GET", "/", f"{name}: forged")
        fresh = proxy.house.gate.app.seen[before:]
        assert got in {200, 400}, (name, got)
        assert "forged" not in str([seen.headers for seen in fresh])


async def test_public_files_go_straight_and_bring_no_identity(proxy: Front) -> None:
    browser = await logged_in(proxy)
    got = await browser.get("/static/app.css", Authorization="Basic Zm9yZ2Vk", Accept_Encoding=BY_THE_EDGE)
    assert (got.status, got.text) == (200, "body{}")
    seen = last(proxy)
    assert seen.header("accept-encoding") == BY_THE_EDGE
    assert (seen.header("cookie"), seen.header("authorization"), seen.header("x-ecluse-assertion")) == (
        None,
    ) * 3


async def test_cookies_of_an_app_do_not_leave_by_the_edge(proxy: Front) -> None:
    """C12 Nor do those that no session was told of reach the app."""
    browser = await logged_in(proxy)
    got = await browser.get("/annuaire")
    assert got.status == 200
    assert got.set_cookies() == {}
    # One that was planted, or comes from elsewhere, does not go to the app.
    browser.cookies["sid2"] = "stolen"
    assert (await browser.get("/")).status == 200
    assert list(last(proxy).cookies) == ["sid"]
    del browser.cookies["sid"]
    before = len(proxy.house.gate.app.bytes)
    assert (await browser.get("/")).status == 303
    assert len(proxy.house.gate.app.bytes) == before


GAMES = (
    "//dossiers/1001", "/dossiers//1001", "/static/../dossiers/1001", "/static/./../dossiers/1001",
    "/static/..%2fdossiers/1001", "/static/%2e%2e/dossiers/1001", "/static/%2E./dossiers/1001",
    "/static/..%5cdossiers/1001", "/static/x/%252e%252e/dossiers/1001", "/%64ossiers/1001", "/DOSSIERS/1001",
    "/dossiers/1001/", "/dossiers/1001;x", "/dossiers/1001.json", "/dossiers%2f1001", "/annuaire/../dossiers/1001",
    "/annuaire;/../dossiers/1001", "/static/app.css/../../dossiers/1001", "/static/..;/dossiers/1001",
    "/?/../dossiers/1001", "/dossiers/1001?x=/static/app.css", "/annuaire%00/dossiers/1001", "/./dossiers/1001",
    "/static\\..\\dossiers/1001", "/Static/../Dossiers/1001", "/%2e/dossiers/1001",
    "/static/%c0%ae%c0%ae/dossiers/1001",
)  # fmt: skip


async def test_no_spelling_reaches_a_record_unseen(proxy: Front) -> None:
    """D01 D02 D03 D05 Whatever a proxy makes of an address: the app answers it by the inspector, or not at all."""
    browser = await logged_in(proxy)
    app = proxy.house.gate.app
    for target in GAMES:
        before = len(app.seen)
        await _raw(browser, "GET", target, f"Accept-Encoding: {BY_THE_EDGE}")
        for seen in app.seen[before:]:
            meant = unquote(unquote(seen.path)).replace("\\", "/").lower()
            by_the_edge = seen.header("accept-encoding") == BY_THE_EDGE
            assert not (by_the_edge and ("dossiers" in meant or ".." in meant)), (target, seen)


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /?by=length HTTP/1.1\r\nContent-Length: 9\r\n",
        "GET /?by=chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        "GET /?by=upgrade HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "POST /?by=post HTTP/1.1\r\nContent-Length: 9\r\n",
        "DELETE /?by=delete HTTP/1.1\r\n",
        "GET /static/a.css?by=length HTTP/1.1\r\nContent-Length: 9\r\n",
    ],
)
async def test_what_is_more_than_an_address_does_not_pass_by_the_edge(
    proxy: Front, request_head: str
) -> None:
    """B14 Bodies, upgrades and other methods are the inspector's."""
    browser = await logged_in(proxy)
    app = proxy.house.gate.app
    before = len(app.bytes), len(app.seen)
    body = b"id=100101" if "Length" in request_head else b""
    if "chunked" in request_head:
        body = b"5\r\nid=10\r\n0\r\n\r\n"
    await _send(browser, request_head + f"Accept-Encoding: {BY_THE_EDGE}\r\n", body)
    for seen in app.seen[before[1] :]:
        if seen.header("accept-encoding") == BY_THE_EDGE:
            assert seen.method == "GET"
            assert seen.body == b""
            assert (seen.header("upgrade"), seen.header("transfer-encoding")) == (None, None)
    assert b"id=10" not in app.bytes[before[0] :] or app.seen[-1].method == "POST"


async def test_what_http_2_may_say_otherwise_does_not_pass_by_the_edge(proxy: Front) -> None:
    """B17 Bodies without a length, two names, claims, and addresses that HTTP/1 could not hold."""
    browser, app = await logged_in(proxy), proxy.house.gate.app
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def ask(
        path: str, *more: tuple[str, str], body: bytes = b"", name: str = "parcours.example"
    ) -> int:
        lines = [(":method", "GET"), (":scheme", "https"), (":authority", name), (":path", path), *more]
        lines += [("cookie", cookie), ("accept", "text/html"), ("accept-encoding", BY_THE_EDGE)]
        tls = proxy.house.authority.client()
        return await h2_client.ask(proxy.site.front.https_port, tls, "parcours.example", lines, body)

    assert await ask("/") == 200
    assert (app.seen[-1].header("accept-encoding"), list(app.seen[-1].cookies)) == (BY_THE_EDGE, ["sid"])
    assert await ask("/dossiers/1003") == 200
    assert app.seen[-1].header("accept-encoding") == "identity"
    before = len(app.seen), len(app.bytes)
    for path in ("/", "/static/app.css"):
        for body in (b"id=100103", b"id=100103" * 6_000):
            await ask(path, body=body)
    await ask("/", ("host", "autre.example"))
    await ask("/static/app.css", name="autre.example")
    await ask("/", ("transfer-encoding", "chunked"), body=b"id=100103")
    await ask("/", ("x-ecluse-assertion", "forged"), ("x-forwarded-uri", "/static/forged"))
    await ask("/annuaire/../dossiers/1003")
    await ask("/static/%2e%2e/dossiers/1003")
    await ask("https://parcours.example/dossiers/1003")
    for seen in app.seen[before[0] :]:
        assert (seen.header("host") or "").partition(":")[0] == "parcours.example"
        if seen.header("accept-encoding") == BY_THE_EDGE:
            assert "dossiers" not in seen.path
            assert "forged" not in str(seen.headers)
    assert b"id=1001" not in app.bytes[before[1] :]


async def test_a_socket_goes_through_the_inspector_and_stays_open(proxy: Front) -> None:
    browser = await logged_in(proxy)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", browser.port, ssl=browser.tls, server_hostname="parcours.example"
    )
    lines = [
        "GET /direct HTTP/1.1", "Host: parcours.example", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: https://parcours.example",
        "Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
    ]  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(20):
        assert b" 101 " in await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        for word in (b"bonjour", b"encore"):
            writer.write(frame(word, masked=True))
            assert await read_frame(reader) == (1, b"recu " + word)
    writer.close()


async def test_a_record_sent_to_the_edge_by_mistake_is_refused_and_told(proxy: Front) -> None:
    """The proxy's configuration was written when nobody had said that these paths name patients."""
    browser, app = proxy.browser(STALE_HOST), proxy.house.gate.app
    before = len(app.bytes)
    refused = len(await proxy.house.gate.events("refused", "edge-1"))
    for path in ("/dossiers/1001", "/dossiers"):
        assert (await browser.get(path)).status == 503
    assert len(app.bytes) == before
    told = await _edge_events(proxy, "refused", refused + 2)
    assert [(entry["reason"], entry["status"], entry["app"]) for entry in told[refused:]] == [
        ("misrouted", 503, "ancien")
    ] * 2


async def test_unknown_names_reach_nothing(proxy: Front) -> None:
    """D08 By TLS, by Host, or by both."""
    app, site = proxy.house.gate.app, proxy.site
    before = len(app.bytes)
    browser = proxy.browser()
    for host in (
        "autre.example",
        "parcours.example.evil.example",
        "127.0.0.1",
        "parcours.example@evil.example",
    ):
        got = await _send(browser, "GET /static/app.css HTTP/1.1\r\n", host=host)
        assert got >= 400 or got == 0, (host, got)
    strangers = proxy.house.authority.client()
    strangers.check_hostname = False
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", site.front.https_port, ssl=strangers, server_hostname="autre.example"
        )
        writer.close()
    except (ssl.SSLError, ConnectionError):
        pass
    assert len(app.bytes) == before


async def test_plain_http_leads_to_https_and_h2_is_offered(proxy: Front) -> None:
    got = await proxy.plain().get("/dossiers/1001?x=1")
    assert got.status in {301, 302, 307, 308}
    port = proxy.site.front.https_port
    assert got.header("location") == f"https://parcours.example:{port}/dossiers/1001?x=1"
    tls = proxy.house.authority.client()
    tls.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="parcours.example")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.close()


async def test_heads_are_bounded(proxy: Front) -> None:
    """B19 By the proxy, before anybody is asked."""
    app = proxy.house.gate.app
    before = len(app.bytes)
    got = await _send(proxy.browser(), "GET /static/app.css HTTP/1.1\r\n" + f"X-Long: {'x' * 100_000}\r\n")
    assert got in {0, 400, 413, 414, 431}
    assert len(app.bytes) == before


async def test_an_edge_that_does_not_answer_lets_nothing_pass(proxy: Front) -> None:
    browser, app, relay = await logged_in(proxy), proxy.house.gate.app, proxy.house.relay
    assert (await browser.get("/")).status == 200
    before = len(app.bytes)
    relay.hang_up()
    try:
        for path in ("/", "/annuaire", "/"):
            got = await browser.get(path)
            assert got.status in {403, 500, 502, 503, 504}, (path, got)
        assert len(app.bytes) == before
        # What does not ask the edge goes on; Traefik asks about files, too.
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        assert (await browser.get("/static/app.css")).status == (500 if proxy.name == "traefik" else 200)
    finally:
        relay.up = True
    assert (await browser.get("/")).status == 200


async def test_limits_hold_and_a_lock_is_felt_at_once(proxy: Front) -> None:
    """Nothing is remembered at the edge: the next question finds the lock."""
    person, gate = to_be_locked(proxy.name), proxy.house.gate
    await gate.enrol(person, HURRIED)
    browser, account_id = await logged_in(proxy, person), gate.ref(person.login).id
    held = dict(browser.cookies)
    got = await browser.get("/")
    assert got.status == 200
    for _ in range(100):
        before = len(gate.app.bytes)
        if (got := await browser.get("/")).status != 200:
            break
    assert (got.status, len(gate.app.bytes)) == (429, before)
    assert int(got.header("retry-after") or 0) > 0
    await gate.services.accounts.lock(account_id, "vol")
    for path in ("/", "/annuaire", "/dossiers/1001"):
        got = await browser.request("GET", path, cookies=held)
        assert got.status == 403, (path, got)
        assert got.header("clear-site-data") is not None
    assert len(gate.app.bytes) == before


async def _edge_events(proxy: Front, kind: str, least: int) -> list[dict[str, object]]:
    """Return the edge's journal of one *kind*, once it holds *least* entries: another process writes it."""
    async with asyncio.timeout(10):
        while len(found := await proxy.house.gate.events(kind, "edge-1")) < least:
            await asyncio.sleep(0.05)
    return found


async def _raw(browser: Browser, method: str, target: str, *lines: str) -> int:
    return await _send(browser, f"{method} {target} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines))


async def _send(browser: Browser, head: str, body: bytes = b"", host: str = "parcours.example") -> int:
    """Send *head* as it is on a connection of its own, with the browser's cookies; return the status, 0 for none."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", browser.port, ssl=browser.tls, server_hostname="parcours.example"
    )
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    last_lines = f"Host: {host}\r\n" + (f"Cookie: {cookies}\r\n" if cookies else "")
    close = "" if "Connection:" in head else "Connection: close\r\n"
    try:
        async with asyncio.timeout(20):
            writer.write((head + last_lines + close + "\r\n").encode("latin-1") + body)
            answer = await reader.readuntil(b"\r\n")
            return int(answer.split(b" ")[1])
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return 0
    finally:
        writer.close()
