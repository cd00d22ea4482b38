"""The code first, then the app's own password: single-page apps, Basic apps, and apps with a form."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pyotp
import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.people import DR_MARTIN, NURSE_BEN, Person
from tests.stand import HOST, PATIENTS, Browser, Got, Handler, MiniApp, Said, Seen, Stand, form_token, stand

JSON = {"Content-Type": "application/json"}
RECORD: dict[str, Any] = {
    "name": "record",
    "kind": "record",
    "path": "/dossiers/{id}",
    "patients": {"path": "id"},
}
HOME: dict[str, Any] = {"name": "home", "kind": "page", "path": "/"}
LOGIN: dict[str, Any] = {"name": "login", "kind": "login", "path": "/login"}
PASSWORDS = {person.login: person.password for person in (DR_MARTIN, NURSE_BEN)}


@asynccontextmanager
async def first_the_code(folder: Path, handler: Handler | None = None, **app: Any) -> AsyncIterator[Stand]:
    """Stand before *handler* with flow before-login; *app* replaces parts of MiniApp's configuration."""

    def change(config: dict[str, Any]) -> None:
        config["apps"]["parcours"] |= {"flow": "before-login", "hosts": [HOST], **app}

    async with stand(folder, handler, change) as gate:
        yield gate


async def start(gate: Stand, browser: Browser, person: Person, **fields: str) -> Got:
    """Give name and code at the start page."""
    return await browser.post(
        "/.ecluse/start",
        fields or {"login": person.login, "code": gate.code(person), "next": "/dossiers/1001"},
    )


def typed(person: Person) -> dict[str, str]:
    return {"user": person.login, "password": person.password}


async def refused(gate: Stand) -> dict[str, Any]:
    return (await gate.events("refused"))[-1]


# --- An app with a form. ---


async def test_code_then_password(tmp_path: Path) -> None:
    async with first_the_code(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        browser = gate.browser()
        got = await browser.get("/dossiers/1001")
        assert (got.status, got.header("location")) == (303, "/.ecluse/start?next=%2Fdossiers%2F1001")
        assert (await browser.post("/login", typed(DR_MARTIN))).status == 401
        assert gate.app.seen == []
        page = await browser.get(got.header("location") or "")
        assert 'name="login"' in page.text
        got = await start(gate, browser, DR_MARTIN)
        assert (got.status, got.header("location")) == (303, "/dossiers/1001")
        # The code alone opens no record: the app's password is owed.
        got = await browser.get("/dossiers/1001")
        assert (got.status, got.header("location")) == (303, "/login")
        assert gate.app.seen == []
        await browser.get("/login")
        halfway = dict(browser.cookies)
        got = await browser.post("/login", typed(DR_MARTIN))
        assert (got.status, got.header("location")) == (302, "/")
        assert got.set_cookies()["sid"].startswith("auth")
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        # The session of before the password is dead.
        got = await browser.request(
            "GET", "/dossiers/1001", cookies={**browser.cookies, "__Host-ecluse": halfway["__Host-ecluse"]}
        )
        assert got.status == 303
        kinds = [entry["kind"] for entry in await gate.events() if entry.get("account") == DR_MARTIN.login]
        assert [kind for kind in kinds if kind in {"code-accepted", "login-seen", "session-opened", "access"}] == [
            "code-accepted", "login-seen", "session-opened", "access",
        ]  # fmt: skip


async def test_a_wrong_password_after_the_code(tmp_path: Path) -> None:
    async with first_the_code(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        browser = gate.browser()
        await start(gate, browser, DR_MARTIN)
        await browser.get("/login")
        sid = browser.cookies["sid"]
        assert (
            "incorrect" in (await browser.post("/login", {"user": DR_MARTIN.login, "password": "faux"})).text
        )
        assert (await browser.get("/dossiers/1001")).status == 303
        assert (await browser.post("/login", typed(DR_MARTIN))).status == 302
        assert gate.app.seen[-1].cookies == {"sid": sid}
        assert (await browser.get("/dossiers/1001")).status == 200


async def test_ones_own_code_and_another_ones_password(tmp_path: Path) -> None:
    """The thief has a factor of his own and somebody's password: the names disagree, before and after."""
    async with first_the_code(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        await gate.enrol(NURSE_BEN)
        browser = gate.browser()
        await start(gate, browser, NURSE_BEN)
        await browser.get("/login")
        for _ in range(2):
            before = len(gate.app.seen)
            got = await browser.post("/login", typed(DR_MARTIN))
            assert got.status == 403
            assert len(gate.app.seen) == before
            assert (await refused(gate))["reason"] == "names-disagree"
            # The same from within Ben's own session.
            await browser.post("/login", typed(NURSE_BEN))
        assert (await browser.get("/dossiers/1001")).status == 200


@pytest.mark.parametrize("typed_code", ["000000", "", "abcdef"])
async def test_a_wrong_code_lets_nobody_near_the_app(tmp_path: Path, typed_code: str) -> None:
    async with first_the_code(tmp_path) as gate:
        await gate.enrol(DR_MARTIN)
        browser = gate.browser()
        for login in (DR_MARTIN.login, "personne"):
            got = await browser.post("/.ecluse/start", {"login": login, "code": typed_code, "next": "/"})
            assert got.status == 403
            assert "__Host-ecluse" not in got.set_cookies()
        assert (await browser.get("/login")).status == 303
        assert gate.app.seen == []


async def test_an_invitation_then_enrolment_then_a_recovery_code(tmp_path: Path) -> None:
    """Nobody has a factor yet: invitation, the app's password, enrolment; later a recovery code for the code."""
    async with first_the_code(tmp_path) as gate:
        await gate.invite(DR_MARTIN)
        browser = gate.browser()
        page = await browser.get("/.ecluse/start?by=invitation&next=/dossiers/1001")
        assert 'name="invitation"' in page.text
        invitation = gate.secrets["invitation:" + DR_MARTIN.login]
        wrong = {"login": NURSE_BEN.login, "invitation": invitation, "next": "/"}
        assert (await browser.post("/.ecluse/start", wrong)).status == 403
        fields = {"login": DR_MARTIN.login, "invitation": invitation, "next": "/dossiers/1001"}
        assert (await start(gate, browser, DR_MARTIN, **fields)).status == 303
        # Neither a record nor a QR code before the password.
        assert (await browser.get("/dossiers/1001")).header("location") == "/login"
        assert b"otpauth" not in (await browser.get("/.ecluse/enrol")).raw
        await browser.get("/login")
        assert (await browser.post("/login", typed(NURSE_BEN))).status == 403
        got = await browser.post("/login", typed(DR_MARTIN))
        assert (got.status, got.header("location")) == (303, "/.ecluse/enrol")
        assert "sid" not in got.set_cookies()
        assert (await browser.get("/dossiers/1001")).status == 303
        page = await browser.get("/.ecluse/enrol")
        link = next(
            str(node.attributes["href"])
            for node in LexborHTMLParser(page.text).css("a")
            if str(node.attributes.get("href")).startswith("otpauth:")
        )
        factor = pyotp.parse_uri(link)
        assert isinstance(factor, pyotp.TOTP)
        now_s = gate.services.clock.now_ms() // 1000
        form = {"code": factor.at(now_s), "token": form_token(page)}
        page = await browser.post("/.ecluse/enrol", form)
        codes = [node.text() for node in LexborHTMLParser(page.text).css("li") if "-" in node.text()]
        assert len(codes) == 10
        got = await browser.get("/.ecluse/continue")
        assert got.header("location") == "/"
        assert got.set_cookies()["sid"].startswith("auth")
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        # The telephone is lost: a recovery code stands in for the code, once.
        for expected in (303, 403):
            second = gate.browser()
            assert "/.ecluse/start" in (await second.get("/.ecluse/start?by=recovery")).text
            got = await start(gate, second, DR_MARTIN, login=DR_MARTIN.login, code=codes[0], next="/")
            assert got.status == expected
            if expected == 303:
                await second.get("/login")
                await second.post("/login", typed(DR_MARTIN))
                assert (await second.get("/dossiers/1001")).status == 200
        assert len(await gate.events("recovery-used")) == 1


async def test_the_app_tells_another_name_than_the_code(tmp_path: Path) -> None:
    """Nobody types a name: single sign-on lets Ben in where Dr Martin's code was; nothing of Ben is handed
    over, and the session that the app may take for Ben's now is closed."""
    who = DR_MARTIN.login

    def app(seen: Seen) -> Said:
        if seen.path == "/retour-sso":
            headers = (("Location", "/"), ("X-User", who), ("Set-Cookie", "sid=kept; Path=/"))
            return Said(302, headers=headers)
        return Said(body=f"Bonjour {who}" if seen.cookies.get("sid") else "portail")

    rule = {
        "name": "sso",
        "methods": ["GET"],
        "path": "/retour-sso",
        "account": {"response_header": "X-User"},
        "success": {"status": 302},
    }
    routes = [{"name": "sso", "kind": "login", "path": "/retour-sso"}, HOME, RECORD]
    async with first_the_code(tmp_path, app, login=[rule], routes=routes, login_page="/retour-sso") as gate:
        await gate.enrol(DR_MARTIN)
        browser = gate.browser()
        await start(gate, browser, DR_MARTIN)
        assert (await browser.get("/retour-sso?code=a")).status == 302
        assert (await browser.get("/")).text == f"Bonjour {DR_MARTIN.login}"
        who = NURSE_BEN.login
        got = await browser.get("/retour-sso?code=b")
        assert got.status == 403
        assert (await refused(gate))["reason"] == "names-disagree"
        before = len(gate.app.seen)
        assert (await browser.get("/")).status == 303
        assert len(gate.app.seen) == before


# --- An app that takes HTTP Basic with each request. ---


def basic(person: Person, password: str | None = None) -> str:
    pair = f"{person.login}:{password or person.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def by_basic(seen: Seen) -> Said:
    """Let in by Basic, and by a cookie of a form login; Basic wins."""
    if seen.path == "/login" and seen.method == "POST":
        asked = seen.form
        if PASSWORDS.get(asked.get("user", "")) == asked.get("password"):
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", f"who={asked['user']}; Path=/")))
        return Said(body="non")
    value = seen.header("authorization") or ""
    user = seen.cookies.get("who", "")
    if value.startswith("Basic "):
        user, _, password = base64.b64decode(value[6:]).decode().partition(":")
        if PASSWORDS.get(user) != password:
            user = ""
    if not user:
        return Said(401, "qui ?", (("WWW-Authenticate", 'Basic realm="agenda"'),))
    return Said(body=f"{user}: {PATIENTS['1001']}")


async def test_an_app_with_basic_on_every_request(tmp_path: Path) -> None:
    app = {"basic": "login", "login": [], "routes": [HOME, RECORD], "login_page": None}
    async with first_the_code(tmp_path, by_basic, **app) as gate:
        await gate.enrol(DR_MARTIN)
        await gate.enrol(NURSE_BEN)
        browser = gate.browser()
        # Password without code: nothing reaches the app.
        assert (await browser.get("/dossiers/1001", Authorization=basic(DR_MARTIN))).status == 303
        assert gate.app.seen == []
        await start(gate, browser, DR_MARTIN)
        # Code without password: the app asks for it, and its question passes.
        got = await browser.get("/dossiers/1001")
        assert (got.status, got.header("www-authenticate")) == (401, 'Basic realm="agenda"')
        assert (await browser.get("/dossiers/1001", Authorization=basic(DR_MARTIN, "faux"))).status == 401
        got = await browser.get("/dossiers/1001", Authorization=basic(DR_MARTIN))
        assert got.text == f"dr.martin: {PATIENTS['1001']}"
        assert [entry["account"] for entry in await gate.events("access") if entry.get("patients")] == [
            "dr.martin"
        ]
        # Another one's password under this code.
        before = len(gate.app.seen)
        got = await browser.get("/dossiers/1001", Authorization=basic(NURSE_BEN))
        assert got.status == 403
        assert len(gate.app.seen) == before
        assert (await refused(gate))["reason"] == "names-disagree"
        for broken in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"dr.martin").decode()):
            assert (await browser.get("/", Authorization=broken)).status == 403
        assert len(gate.app.seen) == before


async def test_a_form_for_one_and_basic_for_another(tmp_path: Path) -> None:
    """Naively Basic settles the name, and the form's cookie, for somebody else, goes into the session."""
    rule = {"name": "form", "path": "/login", "account": "user", "success": {"cookie_set": "who"}}
    app = {"basic": "login", "login": [rule], "routes": [LOGIN, HOME, RECORD]}
    async with first_the_code(tmp_path, by_basic, **app) as gate:
        await gate.enrol(NURSE_BEN)
        browser = gate.browser()
        await start(gate, browser, NURSE_BEN)
        before = len(gate.app.seen)
        got = await browser.post("/login", typed(DR_MARTIN), Authorization=basic(NURSE_BEN))
        assert got.status == 403
        assert len(gate.app.seen) == before
        assert (await refused(gate))["reason"] == "names-disagree"
        # One name in both places is one person.
        assert (await browser.post("/login", typed(NURSE_BEN), Authorization=basic(NURSE_BEN))).status == 302
        assert (await browser.get("/")).text.startswith(NURSE_BEN.login)


# --- A single-page app with a bearer token. ---


def single_page(seen: Seen) -> Said:
    """Answer in JSON; the token is in the body of the login's answer, and there is no logout."""
    if seen.path == "/":
        return Said(body="<script src=/static/app.js></script>")
    if seen.path == "/api/login":
        asked = json.loads(seen.body)
        if PASSWORDS.get(asked["user"]) != asked["password"]:
            return Said(401, json.dumps({"erreur": "non"}), type="application/json")
        return Said(body=json.dumps({"token": "jeton-" + asked["user"]}), type="application/json")
    user = (seen.header("authorization") or "").removeprefix("Bearer jeton-")
    if user not in PASSWORDS:
        return Said(401, "{}", type="application/json")
    start_at = int(dict(parse_qsl(seen.query)).get("start", "1001"))
    items = [{"id": number} for number in range(start_at, start_at + 3)]
    return Said(body=json.dumps({"for": user, "items": items}), type="application/json")


SPA: dict[str, Any] = {
    "login_page": "/",
    "login": [
        {
            "name": "api",
            "path": "/api/login",
            "account": {"json": "$.user"},
            "success": {"json": "$.token"},
            "bearer": "$.token",
        }
    ],
    "routes": [
        {"name": "api-login", "kind": "login", "path": "/api/login"},
        {"name": "shell", "kind": "login", "path": "/"},
        {"name": "list", "kind": "listing", "path": "/api/patients", "patients": {"json": "$.items[*].id"}},
    ],
}


async def test_a_single_page_app_with_a_bearer_token(tmp_path: Path) -> None:
    async with first_the_code(tmp_path, single_page, **SPA) as gate:
        await gate.enrol(DR_MARTIN)
        thief = gate.browser(accept="application/json")
        before = len(gate.app.seen)
        body = json.dumps(typed(DR_MARTIN)).encode()
        got = await thief.request("POST", "/api/login", body=body, headers=JSON)
        assert (got.status, got.json()["prompt"]) == (401, "/.ecluse/start")
        got = await thief.get("/api/patients", Authorization="Bearer jeton-dr.martin")
        assert got.status == 401
        assert len(gate.app.seen) == before
        browser = gate.browser()
        await start(gate, browser, DR_MARTIN)
        assert "app.js" in (await browser.get("/")).text
        browser.accept = "application/json"
        # With the code, and a token from elsewhere, there is still no record.
        assert (await browser.get("/api/patients", Authorization="Bearer jeton-dr.martin")).status == 401
        got = await browser.request("POST", "/api/login", body=body, headers=JSON)
        assert got.json() == {"token": "jeton-dr.martin"}
        got = await browser.get("/api/patients", Authorization="Bearer jeton-dr.martin")
        assert got.json()["for"] == DR_MARTIN.login
        assert sum(len(entry["patients"]) for entry in await gate.events("access")) == 3
        # Another token, the same in another spelling, or none: the app sees no token.
        for value in ("Bearer jeton-ben.infirmier", "Bearer jeton-DR.MARTIN", "Token jeton-dr.martin"):
            got = await browser.get("/api/patients", Authorization=value)
            assert got.status in {401, 303}
            assert gate.app.seen[-1].header("authorization") in {None, "Bearer jeton-dr.martin"}
        # The token has no logout of its own; the session's end is its end.
        await gate.services.accounts.lock(gate.ref(DR_MARTIN.login).id, "vol")
        before = len(gate.app.seen)
        assert (await browser.get("/api/patients", Authorization="Bearer jeton-dr.martin")).status == 403
        assert len(gate.app.seen) == before


async def test_the_token_of_another_name_is_not_handed_out(tmp_path: Path) -> None:
    async with first_the_code(tmp_path, single_page, **SPA) as gate:
        await gate.enrol(NURSE_BEN)
        browser = gate.browser(accept="application/json")
        await start(gate, browser, NURSE_BEN)
        for body in (
            json.dumps(typed(DR_MARTIN)),
            '{"user": "ben.infirmier", "user": "dr.martin", "password": "Orchidee-Bleue-41"}',
            '{"user": ["dr.martin"], "password": "Orchidee-Bleue-41"}',
        ):
            before = len(gate.app.seen)
            got = await browser.request("POST", "/api/login", body=body.encode(), headers=JSON)
            assert got.status in {400, 403}
            assert len(gate.app.seen) == before


def test_miniapp_is_what_the_form_tests_stand_before() -> None:
    assert MiniApp().passwords == PASSWORDS
