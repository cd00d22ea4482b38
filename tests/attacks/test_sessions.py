"""Sessions: what a stolen, forged, old or foreign cookie opens, which is nothing."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from gateway.clock import FixedClock
from gateway.sessions import token
from gateway.vocabulary.identity import SessionClaims
from tests.people import Person
from tests.stand import HOST, Browser, MiniApp, Said, Seen, Stand, form_token, mini_config, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

COOKIE = "__Host-ecluse"
OTHER_HOST = "suivi.example"
SPA_HOST = "agenda.example"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_numbers = count(1)


class SlowApp(MiniApp):
    """MiniApp that can be made to wait, after it has read a record."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def slow(self, said: Said) -> Said:
        """Answer later."""
        self.asked.set()
        await self.go.wait()
        return said

    def __call__(self, seen: Seen) -> Any:
        said = super().__call__(seen)
        return self.slow(said) if seen.query == "slow" else said


def three_apps(config: dict[str, Any]) -> None:
    upstream = config["apps"]["parcours"]["upstream"]
    suivi = {**mini_config(), "hosts": [OTHER_HOST], "upstream": upstream, "title": "Suivi"}
    suivi["login"][0]["success"] = {"status": 302, "cookie_set": "sid"}
    config["apps"]["suivi"] = suivi
    agenda = {**mini_config(), "hosts": [SPA_HOST], "upstream": upstream, "flow": "before-login"}
    config["apps"]["agenda"] = agenda
    config["apps"]["parcours"]["methods"].append("OPTIONS")
    config["apps"]["parcours"]["login_page"] = "/login?next={path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("sessions"), SlowApp(), three_apps) as gate:
        yield gate


def app_of(gate: Stand) -> SlowApp:
    assert isinstance(gate.app.handler, SlowApp)
    return gate.app.handler


async def someone(gate: Stand) -> Person:
    person = Person(f"medecin{next(_numbers)}", "Orchidee-9")
    app_of(gate).passwords[person.login] = person.password
    await gate.enrol(person)
    return person


async def again(gate: Stand, person: Person, browser: Browser | None = None) -> Browser:
    """Log *person* in once more, as if half a minute had passed since the last code."""
    await gate.services.store.execute(
        "HSET", f"ecluse:{{{gate.ref(person.login).id}}}:account", "last_step", "0"
    )
    return await gate.log_in(person, browser)


async def last(gate: Stand, kind: str) -> dict[str, Any]:
    return (await gate.events(kind))[-1]


async def reasons(gate: Stand, kind: str, person: Person) -> list[str | None]:
    """Return why each event of *kind* about *person* happened."""
    return [each.get("reason") for each in await gate.events(kind) if each.get("account") == person.login]


async def opens_nothing(gate: Stand, browser: Browser, cookies: dict[str, str] | None = None) -> None:
    before = len(gate.app.seen)
    for path in ("/dossiers/1001", "/", "/api/dossiers"):
        got = await browser.request("GET", path, cookies=cookies)
        assert got.status in {303, 401, 403}, (path, got.text[:200])
        assert b"Patient1001" not in got.raw
    assert len(gate.app.seen) == before


async def opens(browser: Browser) -> None:
    assert "Patient1001" in (await browser.get("/dossiers/1001")).text


def key_of(gate: Stand, person: Person, session_id: str) -> str:
    return f"ecluse:{{{gate.ref(person.login).id}}}:session:{session_id}"


def session_of(browser: Browser) -> str:
    """Return the session id in the gateway's cookie."""
    return str(_claims(browser.cookies[COOKIE])["sid"])


def _claims(text: str) -> dict[str, Any]:
    part = text.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def age(gate: Stand, person: Person, browser: Browser, **by_ms: int) -> None:
    """Make a session older in the store, whose clock is the one that counts."""
    key = key_of(gate, person, session_of(browser))
    for field, ms in by_ms.items():
        await gate.services.store.execute("HINCRBY", key, field, str(-ms))


# --- J01, J03, J09: ids and cookies. ---


async def test_every_step_up_has_a_new_id_and_the_old_one_is_dead(gate: Stand) -> None:
    """J01 J09: a session that was fixed before the code is not the one that opens."""
    person = await someone(gate)
    browser = await gate.password_only(person)
    pending = dict(browser.cookies)
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert got.status == 303
    assert got.set_cookies()[COOKIE] != pending[COOKIE]
    assert _claims(pending[COOKIE])["sid"] != session_of(browser)
    await opens(browser)
    await opens_nothing(gate, browser, {**browser.cookies, COOKIE: pending[COOKIE]})
    challenged = await last(gate, "challenged")
    assert (challenged["reason"], challenged["client"]) == ("session-expired", "127.0.0.1")
    # The ids are 128 bits from the system's generator, and stand in no log.
    assert len(bytes.fromhex(session_of(browser))) == 16
    written = b"".join(path.read_bytes() for path in (gate.folder / "audit").rglob("*") if path.is_file())
    assert session_of(browser).encode() not in written
    assert _claims(pending[COOKIE])["sid"].encode() not in written
    assert browser.cookies[COOKIE].encode() not in written


async def test_the_cookies_attributes(gate: Stand) -> None:
    """J03: prefix, Secure, HttpOnly, SameSite, no Domain, whatever scheme the last hop had; never upstream."""
    browser, person = gate.browser(), await someone(gate)
    door = await browser.get("/login")
    got = await browser.post("/login", {"user": person.login, "password": person.password})
    lines = [value for key, value in (*door.headers, *got.headers) if key == "set-cookie"]
    ours = [line for line in lines if line.startswith("__Host-")]
    assert {line.partition("=")[0] for line in ours} == {COOKIE, "__Host-ecluse-door"}
    for line in ours:
        attributes = {part.strip().partition("=")[0].lower() for part in line.split(";")[1:]}
        assert attributes == {"max-age", "path", "secure", "httponly", "samesite"}
        assert "SameSite=Lax" in line
        assert "Path=/;" in line
    await gate.log_in(person, browser)
    await opens(browser)
    await browser.get("/static/x.css")
    assert b"ecluse" not in bytes(gate.app.bytes).lower().replace(b"x-ecluse-assertion", b"")
    # The parked answer and our pages are nobody else's to keep.
    assert got.header("cache-control") == "no-store"


# --- J02: forged, damaged, doubled. ---


def forged(gate: Stand, browser: Browser, person: Person) -> dict[str, str]:
    """Return cookies that are not ours, by what is wrong with them."""
    good = browser.cookies[COOKIE]
    head, body, mac = good.split(".")
    claims = _claims(good)

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now_s = gate.services.clock.now_ms() // 1000
    late = SessionClaims(claims["sid"], gate.ref(person.login).id, "parcours", now_s - 1)
    other_app = SessionClaims(claims["sid"], gate.ref(person.login).id, "suivi", now_s + 600)
    unknown = SessionClaims("0" * 32, gate.ref(person.login).id, "parcours", now_s + 600)
    ring = gate.services.keys.session
    return {
        "empty": "",
        "one bit": f"{head}.{body}.{'A' if mac[0] != 'A' else 'B'}{mac[1:]}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "alg none": f"{part({'alg': 'none', 'typ': 'ecluse-session'})}.{body}.",
        "other type": f"{part({'alg': 'HS256', 'kid': 'x', 'typ': 'JWT'})}.{body}.{mac}",
        "claims changed": f"{head}.{part({**claims, 'sid': '0' * 32})}.{mac}",
        "the door's ticket": browser.cookies.get("__Host-ecluse-door", "x.y.z"),
        "expired": token.issue(ring, late, now_s - 60),
        "another app's": token.issue(ring, other_app, now_s),
        "no such session": token.issue(ring, unknown, now_s),
        "long": "A" * 6_000,
        "quoted": f'"{good}"',
        "blank inside": f"{good[:20]} {good[20:]}",
        "latin": "é" * 20,
    }


async def test_cookies_that_are_not_ours_open_nothing(gate: Stand) -> None:
    """J02: naively a cookie that cannot be read is one check less; here it is nobody's."""
    person = await someone(gate)
    stranger = gate.browser()
    await stranger.get("/login")
    browser = await gate.log_in(person)
    browser.cookies["__Host-ecluse-door"] = stranger.cookies["__Host-ecluse-door"]
    for why, text in forged(gate, browser, person).items():
        before = len(gate.app.seen)
        got = await browser.request(
            "GET", "/dossiers/1001", cookies={"sid": browser.cookies["sid"], COOKIE: text}
        )
        assert got.status == 303, why
        assert got.header("location") == "/login?next=%2Fdossiers%2F1001", why
        assert len(gate.app.seen) == before, why
        challenged = await last(gate, "challenged")
        assert (challenged["route"], challenged["client"]) == ("record", "127.0.0.1"), why
        assert challenged["reason"] == ("session-expired" if why == "no such session" else "no-session"), why
        own = await browser.request("GET", "/.ecluse/sessions", cookies={COOKIE: text})
        assert own.status == 303, why
    await opens(browser)


async def test_a_doubled_cookie_is_nobodys(gate: Stand) -> None:
    """J02: somebody planted one of the two; a gateway that takes the first, or the last, can be led."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    good, sid = browser.cookies[COOKIE], browser.cookies["sid"]
    before = len(gate.app.seen)
    for line in (
        f"{COOKIE}={good}; {COOKIE}=x; sid={sid}",
        f"{COOKIE}=x; sid={sid}; {COOKIE}={good}",
        f"{COOKIE}={good}; {COOKIE}={good}; sid={sid}",
    ):
        got = await browser.request("GET", "/dossiers/1001", cookies={}, headers={"Cookie": line})
        assert got.status == 303
        challenged = await last(gate, "challenged")
        assert (challenged["reason"], challenged["route"]) == ("no-session", "record")
    assert len(gate.app.seen) == before
    # Spelt otherwise it is not the gateway's, and does not reach the app either.
    line = f"{COOKIE.upper()}=x; {COOKIE}={good}; sid={sid}"
    got = await browser.request("GET", "/dossiers/1001", cookies={}, headers={"Cookie": line})
    assert got.status == 200
    assert gate.app.seen[-1].header("cookie") == f"sid={sid}"


async def test_either_cookie_alone_opens_nothing(gate: Stand) -> None:
    """J04: what one leak gives is half; and halves of two people do not fit."""
    mine, theirs = await someone(gate), await someone(gate)
    browser, other = await gate.log_in(mine), await gate.log_in(theirs)
    await opens_nothing(gate, browser, {COOKIE: browser.cookies[COOKIE]})
    broken = await last(gate, "challenged")
    assert (broken["reason"], broken["account"]) == ("binding-broken", mine.login)
    await opens_nothing(gate, browser, {"sid": browser.cookies["sid"]})
    assert (await last(gate, "challenged"))["reason"] == "no-session"
    await opens_nothing(gate, browser, {COOKIE: browser.cookies[COOKIE], "sid": other.cookies["sid"]})
    assert (await last(gate, "challenged"))["reason"] == "binding-broken"
    await opens_nothing(gate, browser, {COOKIE: other.cookies[COOKIE], "sid": browser.cookies["sid"]})
    # The app's own way of spelling a cookie is part of what was given: another spelling is another cookie.
    await opens_nothing(gate, browser, {COOKIE: browser.cookies[COOKIE], "SID": browser.cookies["sid"]})
    await opens_nothing(
        gate, browser, {COOKIE: browser.cookies[COOKIE], "sid": f'"{browser.cookies["sid"]}"'}
    )
    await opens(browser)


async def test_one_apps_session_is_not_anothers(gate: Stand) -> None:
    """J02: same realm, same people, same upstream: each app has its own session, bound to its cookies."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    elsewhere = gate.browser(host=OTHER_HOST)
    await opens_nothing(gate, elsewhere, dict(browser.cookies))
    challenged = await last(gate, "challenged")
    assert (challenged["app"], challenged["reason"]) == ("suivi", "no-session")
    await again(gate, person, elsewhere)
    await opens(elsewhere)
    await opens(browser)


# --- J05, J06, J07: ends. ---


async def test_leaving_ends_the_session_for_every_copy_of_its_cookie(gate: Stand) -> None:
    """J05: the gateway's own logout page."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    kept = dict(browser.cookies)
    page = await browser.get("/.ecluse/")
    got = await browser.post("/.ecluse/logout", {"token": form_token(page)})
    assert got.status == 303
    assert got.set_cookies()[COOKIE] == ""
    await opens_nothing(gate, browser, kept)
    assert (await last(gate, "challenged"))["reason"] == "session-expired"
    assert (await last(gate, "logout"))["account"] == person.login


@pytest.mark.parametrize("act", ["lock", "retire", "reset"])
async def test_containment_acts_at_the_next_request(gate: Stand, act: str) -> None:
    """J06, J07, P05: within a second, and on an answer that was on its way; the browser's store is emptied."""
    person, app = await someone(gate), app_of(gate)
    app.asked.clear()
    app.go.clear()
    browser = await gate.log_in(person)
    second = gate.browser()
    second.cookies = dict(browser.cookies)
    on_its_way = asyncio.ensure_future(second.get("/dossiers/1001?slow"))
    await app.asked.wait()
    accounts, account_id = gate.services.accounts, gate.ref(person.login).id
    await (accounts.lock(account_id, "vol") if act == "lock" else getattr(accounts, act)(account_id))
    loop = asyncio.get_running_loop()
    at = loop.time()
    cookies = dict(browser.cookies)
    await opens_nothing(gate, browser, cookies)
    assert loop.time() - at < 1
    got = await browser.request("GET", "/dossiers/1001", cookies=cookies)
    if act == "reset":
        assert got.status == 303
    else:
        assert got.status == 403
        assert '"cache"' in (got.header("clear-site-data") or "")
        refused = await last(gate, "refused")
        assert (refused["reason"], refused["account"]) == (
            "account-locked" if act == "lock" else "account-retired",
            person.login,
        )
    app.go.set()
    held = await on_its_way
    assert held.status in {401, 403}
    assert b"Patient1001" not in held.raw
    withheld = await last(gate, "withheld")
    assert (withheld["account"], withheld["route"]) == (person.login, "record")
    assert withheld["reason"] == ("session-expired" if act == "reset" else "account-locked")
    if act != "reset":
        # A new password login is told apart from nobody's by the refusal only; the app's cookie stays here.
        stranger = gate.browser()
        await stranger.get("/login")
        got = await stranger.post("/login", {"user": person.login, "password": person.password})
        assert got.status == 403
        assert "sid" not in got.set_cookies()


# --- J08: lifetimes, on the store's clock. ---


async def test_an_idle_session_ends(gate: Stand) -> None:
    """J08: half an hour without a request."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    await age(gate, person, browser, seen_ms=1_790_000)
    await opens(browser)
    await age(gate, person, browser, seen_ms=1_801_000)
    await opens_nothing(gate, browser)
    assert (await last(gate, "challenged"))["reason"] == "session-expired"


async def test_a_session_ends_however_busy_it_is(gate: Stand) -> None:
    """J08: twelve hours."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    await age(gate, person, browser, created_ms=43_190_000)
    await opens(browser)
    await age(gate, person, browser, created_ms=11_000)
    await opens_nothing(gate, browser)
    assert (await last(gate, "challenged"))["reason"] == "session-expired"


async def test_a_clock_that_goes_back_gives_no_time_back(gate: Stand) -> None:
    """J08: an hour back on this node, and a day: idle time is counted by the store, for every node alike."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    await age(gate, person, browser, seen_ms=1_801_000)
    right = gate.services.clock
    try:
        for back_ms in (3_600_000, 86_400_000):
            gate.services.clock = FixedClock(right.now_ms() - back_ms)
            await opens_nothing(gate, browser)
    finally:
        gate.services.clock = right
    challenged = await last(gate, "challenged")
    assert (challenged["reason"], challenged["account"]) == ("session-expired", person.login)


async def test_the_code_is_owed_soon(gate: Stand) -> None:
    """J08: five minutes between password and code; after them not even the right code opens."""
    person = await someone(gate)
    browser = await gate.password_only(person)
    page = await browser.get("/.ecluse/code")
    await age(gate, person, browser, created_ms=301_000)
    before = len(gate.app.seen)
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert got.status in {303, 401, 403}
    assert got.header("location") != "/"
    assert len(gate.app.seen) == before
    await opens_nothing(gate, browser)
    assert (await last(gate, "challenged"))["reason"] == "session-expired"
    assert await reasons(gate, "code-accepted", person) == []


async def test_two_sessions_at_most(gate: Stand) -> None:
    """The oldest of an app makes room; those of other apps stay, and waiting ones push nobody out."""
    person = await someone(gate)
    elsewhere = await gate.log_in(person, gate.browser(host=OTHER_HOST))
    first = await again(gate, person)
    second = await again(gate, person)
    for _ in range(3):
        await gate.password_only(person)
    await opens(first)
    third = await again(gate, person)
    await opens_nothing(gate, first)
    for browser in (second, third, elsewhere):
        await opens(browser)
    closed = await last(gate, "session-closed")
    assert (closed["account"], closed["detail"]["why"]) == (person.login, "at-most")


async def test_a_person_sees_and_closes_their_sessions(gate: Stand) -> None:
    """Listed by a label that is no key to anything; closing one, or all of them."""
    person, stranger = await someone(gate), await gate.log_in(await someone(gate))
    first, second = await gate.log_in(person), await again(gate, person)
    page = await second.get("/.ecluse/sessions")
    assert session_of(first) not in page.text
    labels = [part.partition('"')[0] for part in page.text.split('name="session" value="')[1:]]
    assert len(labels) == 3
    other = next(label for label in labels if len(label) > 4 and label != "all")
    # Somebody else's page closes nothing of theirs.
    theirs = await stranger.get("/.ecluse/sessions")
    await stranger.post("/.ecluse/sessions", {"session": other, "token": form_token(theirs)})
    await opens(first)
    await second.post("/.ecluse/sessions", {"session": labels[0], "token": form_token(page)})
    await second.post("/.ecluse/sessions", {"session": "nonsense", "token": form_token(page)})
    alive = [browser for browser in (first, second) if (await browser.get("/dossiers/1001")).status == 200]
    assert len(alive) == 1
    page = await alive[0].get("/.ecluse/sessions")
    got = await alive[0].post("/.ecluse/sessions", {"session": labels[-1], "token": form_token(page)})
    assert got.set_cookies()[COOKIE] == ""
    for browser in (first, second):
        await opens_nothing(gate, browser)


# --- J10, J11: where people are sent. ---


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\/\\/evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/x\r\nLocation: https://evil.example",
        "/\u2215\u2215evil.example",
        ".parcours.example.evil",
        "///evil.example",
        "/" + "a" * 6_000,
    ],
)
async def test_nobody_is_sent_away(gate: Stand, wanted: str) -> None:
    """J10: what stands in ``next`` is a path of the same host, or the start page."""
    browser = gate.browser(host=SPA_HOST)
    person = await someone(gate)
    before = len(gate.app.seen)
    page = await browser.get("/.ecluse/start?" + urlencode({"next": wanted}))
    assert "evil" not in page.text
    got = await browser.post(
        "/.ecluse/start", {"login": person.login, "code": gate.code(person), "next": wanted}
    )
    assert (got.status, got.header("location")) == (303, "/")
    assert b"evil" not in got.raw
    assert len(gate.app.seen) == before
    accepted = await last(gate, "code-accepted")
    assert accepted["account"] == person.login
    assert "evil" not in json.dumps(accepted)


async def test_people_come_back_to_where_they_wanted_to_go(gate: Stand) -> None:
    """The honest neighbour: path and query survive, as data."""
    wanted = "/dossiers?page=2&tri=nom"
    browser = gate.browser(host=SPA_HOST)
    person = await someone(gate)
    got = await browser.get(wanted)
    assert got.header("location") == "/.ecluse/start?next=%2Fdossiers%3Fpage%3D2%26tri%3Dnom"
    got = await browser.post(
        "/.ecluse/start", {"login": person.login, "code": gate.code(person), "next": wanted}
    )
    assert got.header("location") == wanted


async def test_the_apps_redirect_elsewhere_is_told(gate: Stand) -> None:
    """J10: another origin, named by the app itself, gets a page that says so; the address is kept whole."""
    app, person, browser = app_of(gate), await someone(gate), gate.browser(host=OTHER_HOST)
    target = "https://sso.example/?a=1&b=2"

    def elsewhere(seen: Seen, session: str) -> Said:
        return Said(302, headers=(("Location", target), ("Set-Cookie", "sid=e; Path=/")))

    app._login = elsewhere  # type: ignore[method-assign]
    try:
        got = await browser.post("/login", {"user": person.login, "password": person.password})
    finally:
        del app._login
    assert got.header("location") == "/.ecluse/code"
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert got.status == 200
    assert got.header("location") is None
    assert target.replace("&", "&amp;") in got.text
    assert got.set_cookies()["sid"] == "e"


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Original-URL"],
)
async def test_forwarding_headers_move_nobody(gate: Stand, header: str) -> None:
    """J11, C08: redirects, cookies and the host stay what they are."""
    browser, person = gate.browser(), await someone(gate)
    value = "host=evil.example" if header == "Forwarded" else "evil.example"
    got = await browser.request("GET", "/dossiers/1001", headers={header: value})
    assert got.header("location") == "/login?next=%2Fdossiers%2F1001"
    assert b"evil" not in got.raw
    challenged = await last(gate, "challenged")
    assert (challenged["reason"], challenged["client"]) == ("no-session", "127.0.0.1")
    await browser.request("GET", "/login", headers={header: value})
    assert b"evil" not in bytes(gate.app.bytes)
    assert gate.app.seen[-1].header("x-forwarded-host") == HOST
    got = await browser.request(
        "POST",
        "/login",
        body=urlencode({"user": person.login, "password": person.password}).encode(),
        headers={**FORM, header: value},
    )
    assert got.header("location") == "/.ecluse/code"


# --- J12, J13, J14: forms and programs. ---


async def test_what_was_typed_is_not_sent_for_the_person(gate: Stand) -> None:
    """J12: a form sent after the session ended is refused in words, and never replayed after the code."""
    person = await someone(gate)
    browser = gate.browser()
    before = len(gate.app.seen)
    got = await browser.post("/dossiers/1001", {"note": "urgent"})
    assert got.status == 401
    assert "text/html" in (got.header("content-type") or "")
    assert len(gate.app.seen) == before
    challenged = await last(gate, "challenged")
    assert (challenged["method"], challenged["reason"], challenged["route"]) == (
        "POST",
        "no-session",
        "record",
    )
    await gate.log_in(person, browser)
    assert all(b"urgent" not in seen.body for seen in gate.app.seen)


OWN_FORMS = ("code", "recovery", "invitation", "enrol", "sessions", "logout")


@pytest.mark.parametrize("name", OWN_FORMS)
async def test_our_forms_are_ours(gate: Stand, name: str) -> None:
    """J13: no token, another session's, another page's, another origin, another site."""
    person, other = await someone(gate), await someone(gate)
    full = name in {"sessions", "logout"}
    browser = await (gate.log_in(person) if full else gate.password_only(person))
    theirs = await (gate.log_in(other) if full else gate.password_only(other))
    page = "/.ecluse/sessions" if full else "/.ecluse/code"
    good, foreign = form_token(await browser.get(page)), form_token(await theirs.get(page))
    fields = {"code": "000000", "invitation": "x", "session": "all"}
    tries: list[tuple[dict[str, str], dict[str, str]]] = [
        (fields, {}),
        ({**fields, "token": ""}, {}),
        ({**fields, "token": foreign}, {}),
        ({**fields, "token": good}, {"Origin": "https://evil.example"}),
        ({**fields, "token": good}, {"Origin": "null"}),
        ({**fields, "token": good}, {"Sec-Fetch-Site": "cross-site"}),
        ({**fields, "token": good}, {"Sec-Fetch-Site": "same-site"}),
        ({**fields, "token": good}, {"Content-Type": "text/plain"}),
    ]
    if name not in {"code", "sessions"}:
        tries.append(({**fields, "token": good}, {}))
    before = len(gate.app.bytes)
    for form, headers in tries:
        got = await browser.post(f"/.ecluse/{name}", form, **headers)
        assert got.status == 403, (form, headers)
        refused = await last(gate, "refused")
        assert (refused["reason"], refused["rule"], refused["account"]) == (
            "form-refused",
            name,
            person.login,
        )
    assert len(gate.app.bytes) == before
    if full:
        await opens(browser)


async def test_a_get_changes_nothing(gate: Stand) -> None:
    """J13: an image on another site logs nobody out and closes nothing."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    before = len(gate.app.bytes)
    for path in ("/.ecluse/logout", "/.ecluse/sessions?session=all", "/.ecluse/continue"):
        await browser.get(path)
    assert len(gate.app.bytes) == before
    await opens(browser)
    assert await reasons(gate, "logout", person) == []
    assert await reasons(gate, "session-closed", person) == []


@pytest.mark.parametrize(
    "headers",
    [{"X-Requested-With": "XMLHttpRequest"}, {"Sec-Fetch-Mode": "cors"}, {"Accept": "application/json"}],
)
async def test_programs_get_a_problem_and_no_page(gate: Stand, headers: dict[str, str]) -> None:
    """J14: 401 with problem details, no redirect that a script would follow into a page of HTML."""
    for browser in (gate.browser(), await gate.password_only(await someone(gate))):
        if "Accept" in headers:
            browser.accept = "application/json"
        sent = {name: value for name, value in headers.items() if name != "Accept"}
        before = len(gate.app.seen)
        got = await browser.request("GET", "/api/dossiers", headers=sent)
        assert got.status == 401
        assert got.header("content-type") == "application/problem+json"
        assert got.header("www-authenticate") == "Ecluse"
        assert got.header("location") is None
        assert len(gate.app.seen) == before
        challenged = await last(gate, "challenged")
        owed = "no-session" if COOKIE not in browser.cookies else "code-owed"
        assert (challenged["reason"], challenged["route"]) == (owed, "api")
        # A preflight carries no cookies; it learns nothing and reaches nobody.
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
        got = await browser.request("OPTIONS", "/api/dossiers", headers=preflight, cookies={})
        assert got.status in {401, 303}
        assert got.header("access-control-allow-origin") is None
        assert len(gate.app.seen) == before


# --- J17: whoever writes to the store. ---


async def test_a_parked_answer_of_another_session_is_not_handed_over(gate: Stand) -> None:
    """J17: sealed for its account and session; swapped in the store it opens nothing."""
    mine, theirs = await someone(gate), await someone(gate)
    browser, other = await gate.password_only(mine), await gate.password_only(theirs)
    execute = gate.services.store.execute
    at = key_of(gate, mine, session_of(browser)).replace(":session:", ":parked:")
    from_there = key_of(gate, theirs, session_of(other)).replace(":session:", ":parked:")
    stolen = await execute("GET", from_there)
    assert b"auth" not in stolen
    await execute("SET", at, stolen)
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(mine), "token": form_token(page)})
    assert got.status == 503
    assert "sid" not in got.set_cookies()
    fault = await last(gate, "fail-closed")
    assert (fault["account"], fault["reason"], fault["client"]) == (mine.login, "fault", "127.0.0.1")
    await opens_nothing(gate, browser)
    assert await reasons(gate, "session-opened", mine) == []


async def test_a_session_moved_to_another_account_is_nobodys(gate: Stand) -> None:
    """J17: the cookie names the account, signed; a copied record does not change whose it is."""
    mine, theirs = await someone(gate), await someone(gate)
    browser, other = await gate.password_only(mine), await gate.log_in(theirs)
    full = key_of(gate, theirs, session_of(other))
    await gate.services.store.execute(
        "COPY", full, full.replace(gate.ref(theirs.login).id, gate.ref(mine.login).id)
    )
    await opens_nothing(gate, browser, {COOKIE: browser.cookies[COOKIE], "sid": other.cookies["sid"]})
    challenged = await last(gate, "challenged")
    assert (challenged["account"], challenged["reason"]) == (mine.login, "code-owed")


async def test_our_cookie_alone_lists_and_closes_no_session(gate: Stand) -> None:
    """J04: half a binding opens none of our own pages either."""
    browser = await gate.log_in(await someone(gate))
    page = await browser.get("/.ecluse/sessions")
    assert page.status == 200
    half = {COOKIE: browser.cookies[COOKIE]}
    for path in ("/.ecluse/sessions", "/.ecluse/"):
        got = await browser.request("GET", path, cookies=half)
        assert got.status == 303, path
        assert (got.header("location") or "").startswith("/login"), path
    body = urlencode({"token": form_token(page), "session": "all"}).encode()
    before = len(gate.app.bytes)
    closed = await browser.request("POST", "/.ecluse/sessions", body=body, headers=FORM, cookies=half)
    assert closed.status == 303
    assert len(gate.app.bytes) == before
    await opens(browser)
