"""The app's own login, watched: every way in leads through the code, and no way in leads round it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.attacks.harness import RawClient
from tests.people import DR_MARTIN, NURSE_BEN, Person
from tests.stand import HOST, Browser, Got, MiniApp, Said, Seen, Stand, form_token, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = count(1)


class HeldApp(MiniApp):
    """MiniApp whose answers can be held back after it has acted, and that has more ways in than one.

    It never changes a session id that it was sent, and merges a form's fields with those of the query.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rotate = False
        self.held: dict[tuple[str, str], tuple[asyncio.Event, asyncio.Event]] = {}

    def hold(self, method: str, path: str, user: str = "") -> tuple[asyncio.Event, asyncio.Event]:
        """Hold the next answer to *method* *path*; return (the app has acted, let it go)."""
        self.held[method, path + user] = (asyncio.Event(), asyncio.Event())
        return self.held[method, path + user]

    def __call__(self, seen: Seen) -> Said | Awaitable[Said]:  # type: ignore[override]
        said = self.answer(seen)
        hold = self.held.pop((seen.method, seen.path + fields(seen).get("user", "")), None)
        return said if hold is None else self._later(said, *hold)

    async def _later(self, said: Said, acted: asyncio.Event, go: asyncio.Event) -> Said:
        acted.set()
        await go.wait()
        return said

    def answer(self, seen: Seen) -> Said:
        """Answer at once."""
        asked = fields(seen)
        right = self.passwords.get(asked.get("user", "").strip().casefold()) == asked.get("password", "")
        if seen.path == "/login" and right and "mode" not in asked:
            self.counter += 1
            sid = seen.cookies.get("sid") or f"auth{self.counter}"
            self.sessions[sid] = asked["user"].strip().casefold()
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", f"sid={sid}; Path=/; HttpOnly")))
        if seen.path == "/login" and asked.get("mode") == "redirect":
            return Said(302, headers=(("Location", "/login?err=1&user=" + asked["user"]),))
        if seen.path == "/login" and asked.get("mode") == "json":
            return Said(body=json.dumps({"ok": False}), type="application/json")
        if seen.path == "/login" and seen.method in {"PUT", "HEAD"}:
            return Said(200)
        if seen.path == "/quit":
            self.sessions.pop(seen.cookies.get("sid", ""), None)
            return Said(302, headers=(("Location", "/login"),))
        if seen.path == "/zipped":
            page = gzip.compress(f"<p>Bienvenue {asked['user']}</p>".encode(), mtime=0)
            return Said(200, page, (("Content-Encoding", "gzip"), ("Set-Cookie", "sid=zip; Path=/")))
        if seen.path == "/chunked":
            head = b"HTTP/1.1 200 X\r\nContent-Type: text/html\r\nSet-Cookie: sid=chunk; Path=/\r\n"
            raw = head + b"Transfer-Encoding: chunked\r\n\r\n6\r\nBienve\r\n3\r\nnue\r\n0\r\n\r\n"
            return Said(raw=raw)
        if seen.path == "/notmodified":
            return Said(304, headers=(("Set-Cookie", "sid=nm; Path=/"),))
        return super().__call__(seen)


def fields(seen: Seen) -> dict[str, str]:
    """Return query and form merged, as many apps do."""
    from urllib.parse import parse_qsl

    body: dict[str, Any] = {}
    if seen.body.startswith(b"{"):
        body = json.loads(seen.body)
    elif b"form-data" in seen.body:
        parts = seen.body.split(b'name="')[1:]
        body = {
            part.split(b'"')[0].decode(): part.split(b"\r\n\r\n")[1].split(b"\r\n")[0].decode()
            for part in parts
        }
    else:
        body = seen.form
    return {**dict(parse_qsl(seen.query)), **body}


def ways_in(config: dict[str, Any]) -> None:
    app = config["apps"]["parcours"]
    app["methods"] += ["OPTIONS"]
    for path, success in (
        ("/zipped", {"body": "Bienvenue"}),
        ("/chunked", {"body": "Bienvenue"}),
        ("/notmodified", {"cookie_set": "sid"}),
    ):
        app["login"].append({"name": path[1:], "path": path, "account": "user", "success": success})
        app["routes"].insert(0, {"name": path[1:], "kind": "login", "path": path})
    app["routes"].insert(0, {"name": "quit", "kind": "logout", "path": "/quit"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("login"), HeldApp(), ways_in) as gate:
        yield gate


def held(gate: Stand) -> HeldApp:
    assert isinstance(gate.app.handler, HeldApp)
    return gate.app.handler


async def someone(gate: Stand, *, enrolled: bool = True) -> Person:
    """Return a new person with a password, and a factor."""
    person = Person(f"soignant{next(_numbers)}", "Peniche-9")
    held(gate).passwords[person.login] = person.password
    if enrolled:
        await gate.enrol(person)
    return person


def typed(person: Person, **more: str) -> dict[str, str]:
    return {"user": person.login, "password": person.password, **more}


async def last(gate: Stand, kind: str) -> dict[str, Any]:
    return (await gate.events(kind))[-1]


def forget_step(gate: Stand, person: Person) -> Awaitable[Any]:
    """Let the code of this half minute be used again, as if time had passed."""
    return gate.services.store.execute(
        "HSET", f"ecluse:{{{gate.ref(person.login).id}}}:account", "last_step", "0"
    )


async def an_hour_passes(gate: Stand) -> None:
    """Let the seals on the cookies of earlier logins run out, as they do while a session goes on."""
    for key in await gate.services.store.execute("KEYS", "ecluse:door:*"):
        await gate.services.store.execute("DEL", key)


def app_session(gate: Stand, person: Person) -> str:
    """Return the session id under which the app knows *person*."""
    return next(sid for sid, login in reversed(held(gate).sessions.items()) if login == person.login)


def is_code_page(got: Got) -> bool:
    return got.status == 303 and got.header("location") == "/.ecluse/code"


async def has_no_way_in(gate: Stand, browser: Browser) -> None:
    """A record is refused to *browser*, whatever it holds, and the app is not asked."""
    before = len(gate.app.seen)
    for cookies in (browser.cookies, {**browser.cookies, "sid": "stolen"}):
        told = len(await gate.events())
        got = await browser.request("GET", "/dossiers/1001", cookies=cookies)
        assert got.status in {303, 401, 403}, got.text[:200]
        assert b"Patient1001" not in got.raw
        shut = [each for each in (await gate.events())[told:] if each["kind"] != "gap"]
        assert [each["kind"] for each in shut] in (["challenged"], ["refused"]), shut
        assert (shut[0]["route"], shut[0]["client"]) == ("record", "127.0.0.1")
    assert len(gate.app.seen) == before


# --- F01, F02: the password and the app's cookie are not enough. ---


async def test_the_password_gets_no_cookie_of_the_app(gate: Stand) -> None:
    """F01: the app has let the person in, and its cookie is parked, not sent."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    got = await browser.post("/login", typed(person))
    assert is_code_page(got)
    assert "sid" not in got.set_cookies()
    assert b"auth" not in got.raw
    # A thief who guesses the app's session id is no further: nobody was given it through us.
    browser.cookies["sid"] = app_session(gate, person)
    await has_no_way_in(gate, browser)
    seen = await last(gate, "login-seen")
    assert (seen["account"], seen["rule"], seen["client"]) == (person.login, "form", "127.0.0.1")


async def test_a_session_of_the_app_from_elsewhere_opens_nothing(gate: Stand) -> None:
    """F02: a naive gateway checks its own cookie, or the app's, but not that they belong together."""
    held(gate).sessions["from-before"] = DR_MARTIN.login
    stranger = gate.browser()
    stranger.cookies["sid"] = "from-before"
    await has_no_way_in(gate, stranger)
    challenged = await last(gate, "challenged")
    assert (challenged["reason"], challenged["route"]) == ("no-session", "record")
    # With a session of one's own the foreign cookie alone is refused, and beside the own one it is dropped.
    person = await someone(gate)
    browser = await gate.log_in(person)
    own = browser.cookies["sid"]
    before = len(gate.app.seen)
    got = await browser.request("GET", "/", cookies={**browser.cookies, "sid": "from-before"})
    assert got.status == 303
    assert len(gate.app.seen) == before
    assert (await last(gate, "challenged"))["reason"] == "binding-broken"
    assert (await browser.get("/", Cookie="sid=from-before")).status == 200
    assert gate.app.seen[-1].header("cookie") == f"sid={own}"


# --- F03: what is no success opens no session. ---


@pytest.mark.parametrize("mode", ["", "redirect", "json"])
async def test_a_refusal_of_the_app_is_no_login(gate: Stand, mode: str) -> None:
    """F03: a page, a redirect that names the user, a JSON answer: the app's answer passes, nobody is let in."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    wrong = {"user": person.login, "password": "faux", **({"mode": mode} if mode else {})}
    got = await browser.post("/login", wrong)
    assert got.status == (302 if mode == "redirect" else 200)
    assert "__Host-ecluse" not in got.set_cookies()
    failed = await last(gate, "login-failed")
    assert (failed["account"], failed["rule"]) == (person.login, "form")
    await has_no_way_in(gate, browser)
    # The person follows the redirect, types it right, and is asked for the code: nothing was broken.
    if mode == "redirect":
        assert (await browser.get(got.header("location") or "")).status == 200
    assert is_code_page(await browser.post("/login", typed(person)))


# --- F04: other ways in. ---


async def test_login_by_get_is_a_login(gate: Stand) -> None:
    """F04: apps read a form's fields from the query too. Naively the answer passes as a page for strangers,
    with a session of the app that owes no code."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    got = await browser.get("/login?" + urlencode(typed(person)))
    assert is_code_page(got)
    assert "sid" not in got.set_cookies()
    await has_no_way_in(gate, browser)
    assert (await last(gate, "login-seen"))["account"] == person.login
    # A link that fills in the name is a page like any other.
    page = await gate.browser().get("/login?user=" + person.login)
    assert page.status == 200
    assert "password" in page.text


async def test_login_by_head_is_a_login(gate: Stand) -> None:
    """F04: no body, but a session of the app all the same."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    got = await browser.request("HEAD", "/login?" + urlencode(typed(person)))
    assert is_code_page(got)
    assert "sid" not in got.set_cookies()
    seen = await last(gate, "login-seen")
    assert (seen["account"], seen["method"]) == (person.login, "HEAD")
    await has_no_way_in(gate, browser)


async def test_login_by_a_method_no_rule_names_is_refused(gate: Stand) -> None:
    """F04: PUT, DELETE, another spelling of the path: an app that takes them is not asked."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    for method, target, body in (
        ("PUT", "/login", urlencode(typed(person)).encode()),
        ("PUT", "/LOGIN/", b""),
        ("DELETE", "/login?" + urlencode(typed(person)), b""),
    ):
        before = len(gate.app.seen)
        got = await browser.request(
            method, target, body=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert got.status == 405
        assert len(gate.app.seen) == before
        refused = await last(gate, "refused")
        assert (refused["reason"], refused["rule"]) == ("unknown-method", "form")


async def test_login_by_multipart_is_a_login(gate: Stand) -> None:
    """F04: the same fields in the form that file uploads have."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in typed(person).items()
    )
    got = await browser.request(
        "POST",
        "/login",
        body=f"{parts}--b--\r\n".encode(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert is_code_page(got)
    assert "sid" not in got.set_cookies()
    assert (await last(gate, "login-seen"))["account"] == person.login
    await has_no_way_in(gate, browser)


async def test_login_by_json_that_no_rule_reads_is_refused(gate: Stand) -> None:
    """F04: the app let somebody in and nobody knows whom: its answer is kept back."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    body = json.dumps(typed(person)).encode()
    got = await browser.request("POST", "/login", body=body, headers={"Content-Type": "application/json"})
    assert got.status == 403
    assert "sid" not in got.set_cookies()
    assert (await last(gate, "refused"))["reason"] == "name-refused"
    await has_no_way_in(gate, browser)
    # The session that the app opened on this cookie is closed to strangers for good.
    await browser.get("/login")
    assert gate.app.seen[-1].header("cookie") is None


@pytest.mark.parametrize("path", ["/j_security_check", "/api/token", "/oauth/token", "/login2", "/login/sso"])
async def test_ways_in_that_nobody_declared_are_shut(gate: Stand, path: str) -> None:
    """F04: denied by default."""
    browser = gate.browser()
    await browser.get("/login")
    before = len(gate.app.seen)
    got = await browser.post(path, typed(DR_MARTIN))
    assert got.status == 403
    assert len(gate.app.seen) == before
    assert (await last(gate, "refused"))["reason"] == "route-blocked"


async def test_basic_credentials_are_refused(gate: Stand) -> None:
    """F04: Basic wins over cookies in many apps, so beside a session it would be another person's way in."""
    person = await someone(gate)
    for browser in (gate.browser(), await gate.log_in(person)):
        for path in ("/", "/login", "/dossiers/1001"):
            before = len(gate.app.seen)
            got = await browser.get(path, Authorization="Basic ZHIubWFydGluOk9yY2hpZGVlLUJsZXVlLTQx")
            assert got.status == 403
            assert len(gate.app.seen) == before
            assert (await last(gate, "refused"))["reason"] == "basic-refused"
    # A bearer token that the app did not give in this session does not go upstream.
    await browser.get("/", Authorization="Bearer stolen")
    assert gate.app.seen[-1].header("authorization") is None


# --- F05, F06: one name, read in one way. ---


@pytest.mark.parametrize("spelling", ["{}", "{} ", "UPPER", "ｆｕｌｌ"])
async def test_spellings_of_a_name_are_one_account(gate: Stand, spelling: str) -> None:
    """F05: the app folds names, so do the second factor, the caps and the log."""
    person, browser = await someone(gate), gate.browser()
    if spelling == "UPPER":
        written = person.login.upper()
    elif spelling == "ｆｕｌｌ":
        written = "".join(chr(ord(char) + 0xFEE0) if char.isascii() else char for char in person.login)
        held(gate).passwords[written.casefold()] = person.password
    else:
        written = spelling.format(person.login)
    await browser.get("/login")
    assert is_code_page(await browser.post("/login", {"user": written, "password": person.password}))
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert got.header("location") == "/"
    assert (await last(gate, "session-opened"))["account"] == person.login


@pytest.mark.parametrize("name", ["dr.mаrtin", "dr.martin\u200b", "dr@chu@x", "\u202edr"])
async def test_look_alikes_are_refused_before_the_app_hears_of_them(gate: Stand, name: str) -> None:
    """F05, J15: Cyrillic letters, invisible and turning characters, several @."""
    browser = gate.browser()
    await browser.get("/login")
    before = len(gate.app.seen)
    got = await browser.post("/login", {"user": name, "password": DR_MARTIN.password})
    assert got.status in {400, 403}
    assert len(gate.app.seen) == before
    assert (await last(gate, "refused"))["reason"] in {"name-refused", "malformed-request"}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/login", "user=ben.infirmier&user=dr.martin&password=x"),
        ("/login?user=dr.martin", "user=ben.infirmier&password=x"),
        ("/login", "user=ben.infirmier&user[]=dr.martin&password=x"),
        ("/login", "user=ben.infirmier;user=dr.martin&password=x"),
        ("/login", "USER=ben.infirmier&user=dr.martin&password=x"),
        ("/login", "us%65r=ben.infirmier&user=dr.martin&password=x"),
        ("/login?user=ben.infirmier&user=dr.martin&password=x", ""),
    ],
)
async def test_two_names_in_one_login_are_refused(gate: Stand, target: str, body: str) -> None:
    """F06: the gateway would read the first, the app the last."""
    browser = gate.browser()
    await browser.get("/login")
    before = len(gate.app.seen)
    got = await browser.request(
        "POST" if body else "GET",
        target,
        body=body.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"} if body else {},
    )
    assert got.status == 400
    assert len(gate.app.seen) == before
    refused = await last(gate, "refused")
    assert (refused["reason"], refused["rule"]) == ("malformed-request", "form")
    assert len(refused["request_id"]) == 32


# --- F07: another name inside a session. ---


async def test_another_name_in_ones_own_session_gets_its_own_code(gate: Stand) -> None:
    """F07: A's session ends, B's owes B's code, nothing of B is seen under A's name."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    full = browser.cookies["__Host-ecluse"]
    await browser.get("/login")
    assert is_code_page(await browser.post("/login", typed(theirs)))
    await has_no_way_in(gate, browser)
    browser.cookies["__Host-ecluse"] = full
    await has_no_way_in(gate, browser)
    assert (await last(gate, "session-closed"))["account"] == mine.login


async def hang_up_on(
    gate: Stand, browser: Browser, acted: asyncio.Event, body: bytes, target: str = "/login"
) -> None:
    """Send a login as *browser* and leave as soon as the app has acted on it."""
    client = await RawClient.open(gate.port)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    kind = "Content-Type: application/x-www-form-urlencoded"
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {HOST}",
        f"Cookie: {cookies}",
        kind,
        f"Content-Length: {len(body)}",
    ]
    await client.send("\r\n".join([*lines, "", ""]).encode() + body)
    async with asyncio.timeout(5):
        await acted.wait()
    client.close()


async def test_leaving_before_the_answer_keeps_no_session(gate: Stand) -> None:
    """F07: the app puts B into the session id that A's session knows, and the answer that would tell is
    never heard. Naively A's session goes on, and the app takes it for B's: B's code was never asked."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    await an_hour_passes(gate)
    await browser.get("/login")
    acted, go = held(gate).hold("POST", "/login", theirs.login)
    await hang_up_on(gate, browser, acted, urlencode(typed(theirs)).encode())
    assert browser.cookies["sid"] == app_session(gate, theirs)
    await has_no_way_in(gate, browser)
    go.set()
    await has_no_way_in(gate, browser)


async def test_a_locked_name_does_not_leave_the_other_session_open(gate: Stand) -> None:
    """F07: the app lets a locked account in; A's session may not become its."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    await an_hour_passes(gate)
    await gate.services.accounts.lock(gate.ref(theirs.login).id, "vol")
    got = await browser.post("/login", typed(theirs))
    assert got.status == 403
    refused = await last(gate, "refused")
    assert (refused["reason"], refused["account"]) == ("account-locked", theirs.login)
    assert browser.cookies["sid"] == app_session(gate, theirs)
    await has_no_way_in(gate, browser)


async def test_a_session_is_shut_while_another_name_is_tried_in_it(gate: Stand) -> None:
    """F07: the app has acted and holds its answer back; meanwhile it would show B's records to A."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    await an_hour_passes(gate)
    second = gate.browser()
    second.cookies = dict(browser.cookies)
    acted, go = held(gate).hold("POST", "/login", theirs.login)
    attempt = asyncio.ensure_future(browser.post("/login", typed(theirs)))
    await acted.wait()
    await has_no_way_in(gate, second)
    go.set()
    assert is_code_page(await attempt)


async def test_an_answer_on_its_way_when_another_name_comes_is_withheld(gate: Stand) -> None:
    """F07: a record asked for by A, answered by the app after B came into the same session of it."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    await an_hour_passes(gate)
    second = gate.browser()
    second.cookies = dict(browser.cookies)
    acted, go = held(gate).hold("GET", "/dossiers/1002")
    record = asyncio.ensure_future(second.get("/dossiers/1002"))
    await acted.wait()
    assert is_code_page(await browser.post("/login", typed(theirs)))
    go.set()
    got = await record
    assert got.status == 401
    assert b"Patient1002" not in got.raw
    assert (await last(gate, "withheld"))["reason"] == "session-expired"


async def test_two_names_are_never_tried_in_one_session_of_the_app(gate: Stand) -> None:
    """F07: two passwords sent at once with one cookie; the app lets the second name into the session that the
    gateway is about to give to the first. Naively the thief types his own code and is the other person."""
    mine, theirs = await someone(gate), await someone(gate)
    browser, second = gate.browser(), gate.browser()
    await browser.get("/login")
    second.cookies = dict(browser.cookies)
    anonymous = browser.cookies["sid"]
    acted, go = held(gate).hold("POST", "/login", mine.login)
    first = asyncio.ensure_future(browser.post("/login", typed(mine)))
    await acted.wait()
    assert is_code_page(await second.post("/login", typed(theirs)))
    assert gate.app.seen[-1].header("cookie") is None
    go.set()
    assert is_code_page(await first)
    assert held(gate).sessions[anonymous] == mine.login
    # The thief's own code opens the thief's own session.
    page = await browser.get("/.ecluse/code")
    await browser.post("/.ecluse/code", {"code": gate.code(mine), "token": form_token(page)})
    assert mine.login in (await browser.get("/")).text


async def test_two_names_at_once_from_within_a_session(gate: Stand) -> None:
    """F07: the same from a full session, where the cookies are known and need no ticket."""
    mine, theirs = await someone(gate), await someone(gate)
    browser = await gate.log_in(mine)
    await an_hour_passes(gate)
    second = gate.browser()
    second.cookies = dict(browser.cookies)
    own = browser.cookies["sid"]
    acted, go = held(gate).hold("POST", "/login", mine.login)
    again = asyncio.ensure_future(browser.post("/login", typed(mine)))
    await acted.wait()
    assert is_code_page(await second.post("/login", typed(theirs)))
    assert gate.app.seen[-1].header("cookie") is None
    go.set()
    assert is_code_page(await again)
    assert held(gate).sessions[own] == mine.login


async def test_one_name_may_be_sent_twice(gate: Stand) -> None:
    """The honest neighbour: a double click sends the form twice, the first answer is never read."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    sid = browser.cookies["sid"]
    acted, go = held(gate).hold("POST", "/login", person.login)
    await hang_up_on(gate, browser, acted, urlencode(typed(person)).encode())
    assert is_code_page(await browser.post("/login", typed(person)))
    assert gate.app.seen[-1].cookies == {"sid": sid}
    go.set()


async def test_logging_in_again_under_the_same_name(gate: Stand) -> None:
    """The honest neighbour: the app has forgotten its session, ours lives; one slip of the finger, then right."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    held(gate).sessions.pop(browser.cookies["sid"])
    assert (await browser.get("/")).header("location") == "/login"
    sid = browser.cookies["sid"]
    wrong = await browser.post("/login", {"user": person.login, "password": "oups"})
    assert "incorrect" in wrong.text
    assert is_code_page(await browser.post("/login", typed(person)))
    assert gate.app.seen[-1].cookies == {"sid": sid}
    await forget_step(gate, person)
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert got.header("location") == "/"
    assert person.login in (await browser.get("/")).text


# --- F08: the app's logout. ---


async def test_the_apps_logout_ends_our_session(gate: Stand) -> None:
    """F08, J05: the cookies of before open nothing afterwards."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    before = dict(browser.cookies)
    got = await browser.get("/quit")
    assert got.header("location") == "/login"
    assert got.set_cookies()["__Host-ecluse"] == ""
    browser.cookies = before
    await has_no_way_in(gate, browser)
    assert (await last(gate, "logout"))["account"] == person.login


async def test_a_logout_whose_answer_nobody_awaits(gate: Stand) -> None:
    """F08: the window is closed while the app logs out."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    acted, go = held(gate).hold("POST", "/quit")
    await hang_up_on(gate, browser, acted, b"", "/quit")
    await asyncio.sleep(0.1)
    held(gate).sessions[browser.cookies["sid"]] = person.login
    await has_no_way_in(gate, browser)
    assert (await last(gate, "challenged"))["reason"] == "session-expired"
    go.set()


async def test_a_session_that_the_app_ended_leads_to_its_login_and_to_the_code(gate: Stand) -> None:
    """F08: the app forgot its session, ours lives: naively the person is let in again by the password alone."""
    person = await someone(gate)
    browser = await gate.log_in(person)
    held(gate).sessions.pop(browser.cookies["sid"])
    got = await browser.get("/dossiers/1001")
    assert (got.status, got.header("location")) == (302, "/login")
    assert b"Patient1001" not in got.raw
    assert is_code_page(await browser.post("/login", typed(person)))
    assert app_session(gate, person)
    await has_no_way_in(gate, browser)
    assert (await last(gate, "challenged"))["reason"] == "code-owed"


# --- F11, F12: drift, and answers that are hard to read. ---


async def test_a_renamed_field_fails_closed(gate: Stand) -> None:
    """F11: the app's new form calls the name otherwise; whoever comes in is nobody we know."""
    browser, person = gate.browser(), await someone(gate)
    await browser.get("/login")
    app = held(gate)
    answer = app.answer

    def renamed(seen: Seen) -> Said:
        return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=new; Path=/")))

    app.answer = renamed  # type: ignore[method-assign]
    try:
        got = await browser.post("/login", {"identifiant": person.login, "password": person.password})
    finally:
        app.answer = answer  # type: ignore[method-assign]
    assert got.status == 403
    assert "sid" not in got.set_cookies()
    refused = await last(gate, "refused")
    assert (refused["reason"], refused["route"]) == ("name-refused", "login")
    await has_no_way_in(gate, browser)


@pytest.mark.parametrize("path", ["/zipped", "/chunked", "/notmodified"])
async def test_odd_answers_are_read_all_the_same(gate: Stand, path: str) -> None:
    """F12: compressed, chunked, 304."""
    person, browser = await someone(gate), gate.browser()
    got = await browser.post(path, typed(person))
    assert is_code_page(got)
    assert "sid" not in got.set_cookies()
    assert (await last(gate, "login-seen"))["rule"] == path[1:]


# --- The race of decision 002: password and page at once, on an app that keeps its session id. ---


@pytest.mark.parametrize("worst", ["page-while-under-way", "page-after-success", "page-after-hang-up"])
async def test_password_and_page_at_once(gate: Stand, worst: str) -> None:
    """Naively the page that was asked for as a stranger comes back as the person's own, and no code is owed."""
    person, browser, second = await someone(gate), gate.browser(), gate.browser()
    await browser.get("/login")
    second.cookies = dict(browser.cookies)
    sent = browser.cookies["sid"]
    # The page is asked for first, and the app answers it only once it knows who has come in.
    page_acted, page_go = held(gate).hold("GET", "/login")
    page = asyncio.ensure_future(second.get("/login"))
    await page_acted.wait()
    login_acted, login_go = held(gate).hold("POST", "/login", person.login)
    if worst == "page-after-hang-up":
        await hang_up_on(gate, browser, login_acted, urlencode(typed(person)).encode())
        await asyncio.sleep(0.05)
    else:
        attempt = asyncio.ensure_future(browser.post("/login", typed(person)))
        await login_acted.wait()
    assert held(gate).sessions[sent] == person.login
    if worst == "page-after-success":
        login_go.set()
        assert is_code_page(await attempt)
    page_go.set()
    got = await page
    assert got.status == 409
    assert (await last(gate, "withheld"))["reason"] == "login-in-flight"
    # Asked again, the page comes, but the cookie does not go.
    again = await second.get("/login")
    assert again.status == 200
    assert gate.app.seen[-1].header("cookie") is None
    login_go.set()
    if worst == "page-while-under-way":
        assert is_code_page(await attempt)


async def test_a_slow_page_without_a_login_passes(gate: Stand) -> None:
    """The honest neighbour of the race, and the neighbour whose colleague mistypes at the same time."""
    browser, other = gate.browser(), gate.browser()
    await browser.get("/login")
    await other.get("/login")
    acted, go = held(gate).hold("GET", "/login")
    page = asyncio.ensure_future(browser.get("/login"))
    await acted.wait()
    assert (await other.post("/login", {"user": NURSE_BEN.login, "password": "faux"})).status == 200
    go.set()
    assert (await page).status == 200


async def test_a_failed_login_leaves_the_page_open(gate: Stand) -> None:
    """A wrong password seals nothing: the form's cookie still goes with the next try."""
    person, browser = await someone(gate), gate.browser()
    await browser.get("/login")
    sid = browser.cookies["sid"]
    await browser.post("/login", {"user": person.login, "password": "faux"})
    assert (await browser.get("/login")).status == 200
    assert gate.app.seen[-1].cookies == {"sid": sid}
    assert is_code_page(await browser.post("/login", typed(person)))


async def test_the_ticket_of_one_browser_serves_no_other(gate: Stand) -> None:
    """J01: a session id fixed from outside never reaches the app, with or without somebody else's ticket."""
    browser, victim = gate.browser(), gate.browser()
    await browser.get("/login")
    victim.cookies["sid"] = browser.cookies["sid"]
    await victim.get("/login")
    assert gate.app.seen[-1].header("cookie") is None
    await has_no_way_in(gate, victim)
    victim.cookies = {"sid": "fixed", "__Host-ecluse-door": browser.cookies["__Host-ecluse-door"]}
    await victim.get("/login")
    assert gate.app.seen[-1].header("cookie") is None
