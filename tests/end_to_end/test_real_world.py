"""What apps in production do to a gateway: each an app of a few lines, and the configuration that expresses it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.people import DR_MARTIN, NURSE_BEN, Person
from tests.stand import HOST, PATIENTS, Browser, Got, Handler, MiniApp, Said, Seen, Stand, form_token, stand

FORM = "<form method=post><input name=u><input name=p type=password></form>"
LOGIN = {"name": "login", "kind": "login", "path": "/login"}
RECORD: dict[str, Any] = {
    "name": "record",
    "kind": "record",
    "path": "/dossiers/{id}",
    "patients": {"path": "id"},
}
RULE: dict[str, Any] = {"name": "form", "path": "/login", "account": "u"}
HOME = {"name": "home", "kind": "page", "path": "/"}
SWITCH = {"query": {"_switch_user": {"present": True}}}
BASIC_AGENDA = "Basic YWdlbmRhOm1vdC1kZS1wYXNzZQ=="


@asynccontextmanager
async def real(folder: Path, handler: Handler, **app: Any) -> AsyncIterator[Stand]:
    """Stand before *handler* with *app* as its whole configuration."""
    folder.mkdir(exist_ok=True)

    def change(config: dict[str, Any]) -> None:
        upstream = config["apps"]["parcours"]["upstream"]
        config["realms"]["region"] = app.pop("realm", {})
        config["gateway"] |= app.pop("gateway", {})
        base = {"realm": "region", "hosts": [HOST], "upstream": upstream, "login_page": "/login"}
        config["apps"]["parcours"] = {**base, "routes": [LOGIN, HOME, RECORD], **app}

    async with stand(folder, handler, change) as gate:
        await gate.enrol(DR_MARTIN)
        yield gate


def typed(person: Person = DR_MARTIN, **more: str) -> dict[str, str]:
    return {"u": person.login, "p": person.password, **more}


def right(asked: dict[str, str]) -> bool:
    return (asked.get("u"), asked.get("p")) == (DR_MARTIN.login, DR_MARTIN.password)


async def prove(gate: Stand, browser: Browser, got: Got, person: Person = DR_MARTIN) -> Got:
    """Type the code that *got* asks for; return what is handed over."""
    assert (got.status, got.header("location")) == (303, "/.ecluse/code"), got.text[:300]
    assert [name for name in got.set_cookies() if not name.startswith("__Host-")] == []
    page = await browser.get("/.ecluse/code")
    handed = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
    assert handed.status == 303, handed.text[:300]
    return handed


async def patients(gate: Stand) -> int:
    """Return how many distinct patients the log says were shown."""
    return len({patient for entry in await gate.events("access") for patient in entry.get("patients", ())})


def record(number: str = "1001") -> Said:
    return Said(body=f"<main data-id={number}>{PATIENTS.get(number, '?')}</main>")


# --- How a login shows. ---


async def test_success_and_failure_are_the_same_redirect_but_for_a_cookie(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.method == "POST":
            cookie = "auth=yes" if right(seen.form) else "flash=erreur"
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", f"{cookie}; Path=/")))
        return Said(body="Bonjour" if seen.cookies.get("auth") == "yes" else FORM)

    rule = {**RULE, "success": {"status": 302, "location": "^/$", "cookie_set": "auth"}}
    async with real(tmp_path, app, login=[rule], cookies={"neutral": ["flash"]}, strangers="show") as gate:
        browser = gate.browser()
        failed = await browser.post("/login", {"u": "dr.martin", "p": "faux"})
        assert (failed.status, failed.header("location")) == (302, "/")
        assert (await browser.get("/")).text == FORM
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "Bonjour"


async def test_success_and_failure_differ_by_a_message(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.method == "POST":
            message = () if right(seen.form) else (("Set-Cookie", "message=Mauvais+mot+de+passe; Path=/"),)
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/"), *message))
        return Said(body=f"message: {seen.cookies.get('message')}")

    rule = {**RULE, "success": {"status": 302, "cookie_absent": "message"}}
    async with real(tmp_path, app, login=[rule], cookies={"neutral": ["message"]}) as gate:
        browser = gate.browser()
        await browser.post("/login", {"u": "dr.martin", "p": "faux"})
        assert "Mauvais" in (await browser.get("/login")).text
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "message: None"


async def test_a_login_answered_by_a_record(tmp_path: Path) -> None:
    """The answer of 200 is not kept: it is asked for again, inspected and counted."""

    def app(seen: Seen) -> Said:
        if seen.method == "POST" and right(seen.form):
            return Said(body=record().body, headers=(("Set-Cookie", "sid=s1; Path=/"),))
        return record() if seen.cookies.get("sid") == "s1" else Said(body=FORM)

    rule = {**RULE, "path": "/dossiers/{id}", "success": {"cookie_set": "sid"}}
    async with real(tmp_path, app, login=[rule], strangers="show", login_page=None) as gate:
        browser = gate.browser()
        assert (await browser.get("/dossiers/1001")).text == FORM
        got = await browser.post("/dossiers/1001", typed())
        assert b"Patient1001" not in got.raw
        handed = await prove(gate, browser, got)
        assert handed.header("location") == "/dossiers/1001"
        assert await patients(gate) == 0
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        assert await patients(gate) == 1


async def test_json_and_form_on_one_address(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.path == "/login" and seen.method == "POST":
            as_json = seen.header("content-type") == "application/json"
            ok = right(json.loads(seen.body) if as_json else seen.form)
            cookie = (("Set-Cookie", "sid=s1; Path=/"),) if ok else ()
            if as_json:
                return Said(body=json.dumps({"ok": ok}), headers=cookie, type="application/json")
            return Said(302 if ok else 200, FORM, (("Location", "/"), *cookie) if ok else ())
        return Said(body="Bonjour" if seen.cookies.get("sid") else FORM)

    rule = {
        **RULE,
        "account": ["u", {"json": "$.u"}],
        "success": [{"json": "$.ok"}, {"status": 302}],
        "landing": "/",
    }
    async with real(tmp_path, app, login=[rule]) as gate:
        browser = gate.browser(accept="application/json")
        as_json = {"Content-Type": "application/json"}
        wrong = json.dumps({"u": "dr.martin", "p": "faux"}).encode()
        got = await browser.request("POST", "/login", body=wrong, headers=as_json)
        assert (got.status, got.json()) == (200, {"ok": False})
        got = await browser.request("POST", "/login", body=json.dumps(typed()).encode(), headers=as_json)
        # A program is told where the code is owed; a redirect would only confuse it.
        assert (got.status, got.json()["prompt"]) == (401, "/.ecluse/code")
        assert "sid" not in got.set_cookies()
        browser.accept = "text/html"
        page = await browser.get("/.ecluse/code")
        handed = await browser.post(
            "/.ecluse/code", {"code": gate.code(DR_MARTIN), "token": form_token(page)}
        )
        assert handed.header("location") == "/"
        assert (await browser.get("/")).text == "Bonjour"
        other = gate.browser()
        assert (await other.post("/login", typed())).header("location") == "/.ecluse/code"
        assert (await other.post("/login", {"u": "dr.martin", "p": "faux"})).text == FORM
        both = json.dumps({"u": "ben", "p": "x"}).encode()
        got = await other.request("POST", "/login?u=dr.martin", body=both, headers=as_json)
        assert got.status == 400


async def test_login_by_a_parameter_on_any_address(tmp_path: Path) -> None:
    """``@action=Login`` in a form, ``?u=&p=`` in a link, on record addresses too."""

    def app(seen: Seen) -> Said:
        asked = {**dict(parse_qsl(seen.query)), **seen.form}
        if right(asked):
            return Said(302, headers=(("Location", seen.path), ("Set-Cookie", "sid=s1; Path=/")))
        if seen.cookies.get("sid") != "s1":
            return Said(body=FORM)
        return record("1002") if "/dossiers" in seen.path else Said(body="Bonjour")

    rules = [
        {
            "name": "posted",
            "when": {"form": {"@action": "Login"}},
            "account": "u",
            "success": {"cookie_set": "sid"},
        },
        {
            "name": "linked",
            "methods": ["GET"],
            "when": {"query": {"u": {"present": True}, "p": {"present": True}}},
            "account": {"query": "u"},
            "success": {"cookie_set": "sid"},
        },
    ]
    routes = [{"name": "admin", "kind": "blocked", "path": "/admin/*"}, LOGIN, HOME, RECORD]
    async with real(tmp_path, app, login=rules, routes=routes, strangers="show", login_page=None) as gate:
        for person_goes, target in (
            ("POST", "/dossiers/1002"),
            ("GET", "/dossiers/1002?" + urlencode(typed())),
        ):
            await gate.services.store.execute(
                "HSET", f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:account", "last_step", "0"
            )
            browser = gate.browser()
            assert (await browser.get("/dossiers/1002")).text == FORM
            if person_goes == "POST":
                assert (await browser.post(target, {"@action": "Login", "u": "x", "p": "y"})).text == FORM
                got = await browser.post(target, typed() | {"@action": "Login"})
            else:
                got = await browser.get(target)
            assert b"sid=" not in got.raw
            handed = await prove(gate, browser, got)
            assert handed.header("location") == "/dossiers/1002"
            assert "Patient1002" in (await browser.get("/dossiers/1002")).text
        seen = [(entry["rule"], entry["account"]) for entry in await gate.events("login-seen")]
        assert seen == [("posted", "dr.martin"), ("linked", "dr.martin")]
        # An ordinary post to a record is none of these, and needs a session.
        assert (await gate.browser().post("/dossiers/1002", {"note": "x"})).status in {401, 403}
        # A stranger may log in on an address nobody declared; the parameter opens no blocked door.
        fields = typed() | {"@action": "Login"}
        assert (await gate.browser().post("/inconnue", fields | {"p": "faux"})).text == FORM
        for visitor, path in ((gate.browser(), "/admin/x"), (browser, "/admin/x"), (browser, "/inconnue")):
            before = len(gate.app.seen)
            assert (await visitor.post(path, fields)).status == 403
            assert len(gate.app.seen) == before
            assert (await gate.events("refused"))[-1]["reason"] == "route-blocked"
        assert "Patient1002" in (await browser.get("/dossiers/1002")).text


async def test_the_form_stands_in_place_of_the_page(tmp_path: Path) -> None:
    """Pages answer 200 to strangers; with the cookie of a session got elsewhere they get the form all the same."""

    def app(seen: Seen) -> Said:
        if right(seen.form) or right(dict(parse_qsl(seen.query))):
            return Said(302, headers=(("Location", seen.path), ("Set-Cookie", "sid=s1; Path=/")))
        if seen.cookies.get("sid") == "s1":
            return record()
        fresh = () if "sid" in seen.cookies else (("Set-Cookie", "sid=anon; Path=/"),)
        return Said(body=FORM + "standard : 01 99 00 10 00", headers=fresh)

    rule = {**RULE, "path": "/dossiers/{id}", "success": {"cookie_set": "sid", "status": 302}}
    async with real(tmp_path, app, login=[rule], strangers="show", login_page=None) as gate:
        thief = gate.browser()
        thief.cookies["sid"] = "s1"
        assert FORM in (await thief.get("/dossiers/1001")).text
        assert gate.app.seen[-1].header("cookie") is None
        browser = gate.browser()
        await browser.get("/dossiers/1001")
        await prove(gate, browser, await browser.post("/dossiers/1001", typed()))
        assert gate.app.seen[-1].cookies == {"sid": "anon"}
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        # The app takes name and password from the query too: that is a login, though no rule names GET.
        got = await thief.get("/dossiers/1001?" + urlencode(typed()))
        assert (got.header("location"), "sid" in got.set_cookies()) == ("/.ecluse/code", False)
        # For a person with a session a parameter of that name is a parameter.
        assert "Patient1001" in (await browser.get("/dossiers/1001?u=5&u=6")).text
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text


async def test_a_stranger_who_is_shown_a_patient_after_all_is_not(tmp_path: Path) -> None:
    """``strangers: show`` trusts the app to show its form; what it shows instead is looked at."""

    def app(seen: Seen) -> Said:
        if seen.path == "/liste":
            return Said(body="<table><tr data-id=1001><td>X</td></tr></table>")
        return Said(body="NIR 2 69 05 49 588 157 80" if seen.path == "/" else FORM)

    listing = {
        "name": "list",
        "kind": "listing",
        "path": "/liste",
        "patients": {"html": "tr[data-id]", "attribute": "data-id"},
    }
    rule = {**RULE, "success": {"cookie_set": "sid"}}
    async with real(tmp_path, app, login=[rule], routes=[LOGIN, HOME, listing], strangers="show") as gate:
        for path in ("/liste", "/"):
            got = await gate.browser().get(path)
            assert got.status == 401
            assert b"1001" not in got.raw
            assert b"NIR " not in got.body
            assert (await gate.events("withheld"))[-1]["reason"] == "no-session"


# --- What proves a session to the app. ---


async def test_a_session_id_that_is_kept_at_login(tmp_path: Path) -> None:
    app = MiniApp()
    app.rotate = False
    async with stand(tmp_path, app) as gate:
        stolen = gate.browser()
        await stolen.get("/login")
        browser = gate.browser()
        browser.cookies = dict(stolen.cookies)
        await gate.log_in(DR_MARTIN, browser)
        assert (await browser.get("/dossiers/1001")).status == 200
        # The same id, known from before the login, with the ticket it came with, opens nothing.
        assert (await stolen.get("/dossiers/1001")).status == 303
        await stolen.get("/login")
        assert gate.app.seen[-1].header("cookie") is None


async def test_the_proof_is_a_second_cookie_with_a_computed_name(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.method == "POST" and right(seen.form):
            cookies = (("Set-Cookie", "sid=s1; Path=/"), ("Set-Cookie", "auth_5f4dcc3b=ok; Path=/"))
            return Said(302, headers=(("Location", "/"), *cookies))
        return Said(body=f"{seen.cookies.get('auth_5f4dcc3b')}")

    rule = {**RULE, "success": {"cookie_set": "auth_*"}}
    async with real(tmp_path, app, login=[rule]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "ok"
        forged = {**browser.cookies, "auth_5f4dcc3b": "administrateur"}
        assert (await browser.request("GET", "/", cookies=forged)).text == "None"


async def test_a_cookie_is_set_for_nobody(tmp_path: Path) -> None:
    """The app sets ``user`` on every answer, to ``nobody`` for strangers."""

    def app(seen: Seen) -> Said:
        user = seen.cookies.get("user", "nobody")
        if seen.method == "POST":
            user = "dr.martin" if right(seen.form) else "nobody"
        return Said(body=f"Bonjour {user}", headers=(("Set-Cookie", f"user={user}; Path=/"),))

    rule = {
        **RULE,
        "success": {"cookie_set": "user", "not": {"cookie_matches": {"user": "^nobody$"}}},
        "landing": "/",
    }
    async with real(tmp_path, app, login=[rule]) as gate:
        browser = gate.browser()
        await browser.get("/login")
        assert (await browser.post("/login", {"u": "dr.martin", "p": "faux"})).text == "Bonjour nobody"
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "Bonjour dr.martin"


async def test_a_cookie_that_changes_at_every_answer(tmp_path: Path) -> None:
    """The app takes the last few of its cookies; requests in parallel keep older ones for a while."""
    issued = ["n0"]

    async def app(seen: Seen) -> Said:
        fresh = f"n{len(issued)}"
        if seen.method == "POST" and right(seen.form):
            issued.append(fresh)
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", f"nonce={fresh}; Path=/")))
        if seen.cookies.get("nonce") not in issued[-32:]:
            return Said(302, headers=(("Location", "/login"),))
        issued.append(fresh)
        await asyncio.sleep(0.01)
        return Said(body="Bonjour", headers=(("Set-Cookie", f"nonce={fresh}; Path=/"),))

    rule = {**RULE, "success": {"status": 302, "location": "^/$"}}
    async with real(tmp_path, app, login=[rule]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        for _ in range(3):
            tabs = [gate.browser() for _ in range(6)]
            for tab in tabs:
                tab.cookies = dict(browser.cookies)
            answers = await asyncio.gather(*(tab.get("/") for tab in tabs))
            assert {got.status for got in answers} == {200}
            browser.cookies = tabs[3].cookies
        for _ in range(8):
            assert (await browser.get("/")).text == "Bonjour"


async def test_a_remember_me_cookie_outlives_neither_session_nor_logout(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        known = seen.cookies.get("remember") == "90-days"
        if seen.path == "/login" and seen.method == "POST" and right(seen.form):
            cookie = "remember=90-days; Path=/; Max-Age=7776000"
            return Said(
                302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/"), ("Set-Cookie", cookie))
            )
        if seen.path == "/logout":
            return Said(302, headers=(("Location", "/login"), ("Set-Cookie", "sid=; Path=/; Max-Age=0")))
        if known:
            # The app lets whoever carries it in again, on any page.
            return Said(body="Bonjour", headers=(("Set-Cookie", "sid=s2; Path=/"),))
        return Said(body=FORM)

    rule = {**RULE, "success": {"status": 302, "location": "^/$"}}
    routes = [LOGIN, HOME, {"name": "logout", "kind": "logout", "path": "/logout"}, RECORD]
    async with real(tmp_path, app, login=[rule], routes=routes) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "Bonjour"
        await browser.get("/logout")
        assert browser.cookies["remember"] == "90-days"
        before = len(gate.app.seen)
        assert (await browser.get("/")).status == 303
        assert len(gate.app.seen) == before
        assert (await browser.get("/login")).text == FORM
        assert gate.app.seen[-1].header("cookie") is None


# --- Which patient an answer shows. ---


async def test_a_parameter_beats_the_path(tmp_path: Path) -> None:
    """``/dossiers/1001?id=1002`` shows 1002: every place counts, and what the answer says counts most."""

    def app(seen: Seen) -> Said:
        asked = {**dict(parse_qsl(seen.query)), **seen.form}
        if seen.path == "/login":
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
        return record(asked.get("id", seen.path.rpartition("/")[2]))

    by_request = {**RECORD, "patients": {"from": [{"path": "id"}, {"query": "id"}, {"form": "id"}]}}
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], routes=[LOGIN, by_request]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        await browser.get("/dossiers/1001?id=1002")
        await browser.post("/dossiers/1001", {"id": "1003"})
        await browser.get("/dossiers/1001?id[]=1004")
        await browser.get("/dossiers/1001?ID=1005&id=1006")
        assert await patients(gate) == 6


async def test_the_answer_says_who_it_shows(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.path == "/login":
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
        return record(dict(parse_qsl(seen.query)).get("autre", "1001"))

    by_answer = {**RECORD, "patients": {"html": "main[data-id]", "attribute": "data-id"}}
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], routes=[LOGIN, by_answer]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        for number in range(1001, 1006):
            await browser.get(f"/dossiers/1001?autre={number}")
        assert await patients(gate) == 5


async def test_one_address_for_a_record_and_a_list(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        asked = dict(parse_qsl(seen.query))
        if seen.path == "/login":
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
        if "id" in asked:
            return record(asked["id"])
        rows = "".join(f"<tr data-id={number}></tr>" for number in list(PATIENTS)[:12])
        return Said(body=f"<table>{rows}</table>")

    one = {
        "name": "one",
        "kind": "record",
        "path": "/patients",
        "when": {"query": {"id": {"present": True}}},
        "patients": {"query": "id"},
    }
    many = {
        "name": "many",
        "kind": "listing",
        "path": "/patients",
        "patients": {"html": "tr[data-id]", "attribute": "data-id"},
    }
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], routes=[LOGIN, one, many]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        await browser.get("/patients?id=1500")
        await browser.get("/patients?tri=nom")
        told = [
            (entry["rule"], len(entry["patients"]), entry["opened"]) for entry in await gate.events("access")
        ]
        assert told == [("one", 1, True), ("many", 12, False)]
        # The parameter in another spelling that the app would read stands at the same door.
        await browser.get("/patients?%69d=1500")
        assert (await gate.events("access"))[-1]["rule"] == "one"


async def test_aliases_of_an_id_are_one_patient(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.path == "/login":
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
        return Said(body="<main>dossier</main>")

    folded = {
        **RECORD,
        "patients": {
            "path": "id",
            "strip_prefix": "IPP",
            "normalise": ["nfkc", "digits", "trim", "casefold", "squeeze", "unpad"],
        },
    }
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], routes=[LOGIN, folded]) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        spellings = [
            "1001",
            "0001001",
            "%201001",
            "1_001",
            "10-01",
            "%D9%A1%D9%A0%D9%A0%D9%A1",
            "IPP1001",
            "ipp1001",
        ]
        for spelling in spellings:
            got = await browser.get(f"/dossiers/{spelling}")
            assert got.status == 200, spelling
        assert len(await gate.events("access")) == len(spellings)
        assert await patients(gate) == 1


async def test_one_answer_reveals_many(tmp_path: Path) -> None:
    """A feed, search snippets, a CSV that ignores its page size, a report whose ids stand in the request."""
    many = list(PATIENTS)

    def app(seen: Seen) -> Said:
        match seen.path:
            case "/login":
                return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
            case "/flux.atom":
                entries = "".join(f"<entry><id>urn:dossier:{n}</id></entry>" for n in many[:25])
                return Said(body=f"<feed>{entries}</feed>", type="application/atom+xml")
            case "/recherche":
                hits = "".join(f"<li><a href='/dossiers/{n}'>…</a></li>" for n in many[25:35])
                return Said(body=f"<ul>{hits}</ul>")
            case "/export.csv":
                return Said(body="ipp,nom\n" + "".join(f"{n},X\n" for n in many[35:95]), type="text/csv")
        return Said(body=json.dumps({"rapport": "ok"}), type="application/json")

    routes = [
        LOGIN,
        {
            "name": "feed",
            "kind": "listing",
            "path": "/flux.atom",
            "patients": {"from": [{"text": "urn:dossier:(\\d+)"}], "max_ids": 500},
        },
        {
            "name": "search",
            "kind": "listing",
            "path": "/recherche",
            "patients": {"html": "a[href^='/dossiers/']", "attribute": "href", "pattern": "/dossiers/(\\d+)"},
        },
        {"name": "export", "kind": "export", "path": "/export.csv", "patients": {"csv": "ipp"}},
        {
            "name": "report",
            "kind": "listing",
            "path": "/rapport",
            "methods": ["POST"],
            "patients": {"request_json": "$.ids[*]"},
        },
    ]
    rule = {**RULE, "success": {"status": 302}}
    realm = {"classes": {"standard": {"soft_share": 1}}}
    async with real(tmp_path, app, login=[rule], routes=routes, realm=realm) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/flux.atom")).status == 200
        assert await patients(gate) == 25
        assert (await browser.get("/recherche?q=a")).status == 200
        assert await patients(gate) == 35
        assert (await browser.get("/export.csv?size=10")).status == 200
        assert await patients(gate) == 95
        body = json.dumps({"ids": many[95:107]}).encode()
        got = await browser.request(
            "POST", "/rapport", body=body, headers={"Content-Type": "application/json"}
        )
        assert got.status == 200
        assert await patients(gate) == 107


# --- Who somebody is. ---


async def test_names_collapse_as_the_app_collapses_them(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))

    names = {
        "drop": "_",
        "strip_prefixes": ["ext-"],
        "strip_domains": ["CHU"],
        "email_domains": ["chu.example"],
    }
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], realm={"names": names}) as gate:
        for written in (
            "dr.martin", "DR.Martin", "dr._martin_", "ｄｒ.martin", "ext-dr.martin", "CHU\\dr.martin",
            "Dr.Martin@CHU.example",
        ):  # fmt: skip
            got = await gate.browser().post("/login", {"u": written, "p": "x"})
            assert got.header("location") == "/.ecluse/code", written
        assert {entry["account"] for entry in await gate.events("login-seen")} == {"dr.martin"}
        # Another name is another person, who has no factor and is asked for an invitation.
        got = await gate.browser().post("/login", {"u": "dr.martine", "p": "x"})
        assert got.header("location") == "/.ecluse/invitation"


async def test_a_reset_link_that_lets_in(tmp_path: Path) -> None:
    """Nobody types a name: the answer tells whom the app let in. Undeclared, such a link is shut."""

    def app(seen: Seen) -> Said:
        if seen.path == "/reset/jeton":
            page = "<p>Bienvenue <b id=who>dr.martin</b></p>"
            return Said(body=page, headers=(("Set-Cookie", "sid=s1; Path=/"),))
        return Said(body="Bonjour" if seen.cookies.get("sid") == "s1" else FORM)

    rules = [
        {**RULE, "success": {"status": 302}},
        {
            "name": "reset",
            "methods": ["GET"],
            "path": "/reset/{token}",
            "account": {"response_html": "#who"},
            "success": {"cookie_set": "sid"},
            "landing": "/",
        },
    ]
    routes = [LOGIN, HOME, {"name": "reset", "kind": "login", "path": "/reset/{token}"}]
    async with real(tmp_path / "declared", app, login=rules, routes=routes) as gate:
        browser = gate.browser()
        got = await browser.get("/reset/jeton")
        assert b"Bienvenue" not in got.raw
        assert (await prove(gate, browser, got)).header("location") == "/"
        assert (await browser.get("/")).text == "Bonjour"
    async with real(tmp_path / "undeclared", app, login=rules[:1], routes=[LOGIN, HOME]) as gate:
        before = len(gate.app.seen)
        got = await gate.browser().get("/reset/jeton")
        assert got.status == 403
        assert len(gate.app.seen) == before


async def test_acting_as_somebody_else_is_refused(tmp_path: Path) -> None:
    def app(seen: Seen) -> Said:
        if seen.path == "/login":
            return Said(302, headers=(("Location", "/"), ("Set-Cookie", "sid=s1; Path=/")))
        return Said(body="Bonjour")

    routes = [
        {"name": "act-as", "kind": "blocked", "path": "/*", "when": SWITCH},
        {"name": "impersonate", "kind": "blocked", "path": "/admin/impersonate/*"},
        LOGIN,
        HOME,
    ]  # fmt: skip
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], routes=routes) as gate:
        browser = gate.browser()
        await prove(gate, browser, await browser.post("/login", typed()))
        assert (await browser.get("/")).text == "Bonjour"
        for path in (
            "/?_switch_user=ben", "/?a=1&_switch_user=ben", "/?%5Fswitch_user=ben", "/?_SWITCH_user=ben",
            "/admin/impersonate/7", "/ADMIN/impersonate/7/", "/login?_switch_user=ben",
        ):  # fmt: skip
            before = len(gate.app.seen)
            got = await browser.get(path)
            assert got.status == 403, path
            assert len(gate.app.seen) == before
            refused = (await gate.events("refused"))[-1]
            assert (refused["reason"], refused["account"]) == ("route-blocked", "dr.martin")


# --- Machines, and addresses. ---


async def test_a_calendar_with_basic_on_each_request(tmp_path: Path) -> None:
    """No cookie, no second factor: held to its networks and its class; the first synchronisation is 70 records."""

    def app(seen: Seen) -> Said:
        if not (seen.header("authorization") or "").startswith("Basic "):
            return Said(401, "", (("WWW-Authenticate", "Basic realm=agenda"),))
        return record(seen.path.rpartition("/")[2])

    realm = {"classes": {"sync": {"requests_10s": 500, "patients_10min": 80, "patients_1h": 80}}}
    services = [{"account": "agenda", "networks": ["127.0.0.0/8"], "class": "sync"}]
    rule = {**RULE, "success": {"status": 302}}
    async with real(tmp_path, app, login=[rule], realm=realm, basic="service", services=services) as gate:
        machine = gate.browser(accept="*/*")
        for number in range(1001, 1071):
            got = await machine.get(f"/dossiers/{number}", Authorization=BASIC_AGENDA)
            assert got.status == 200, number
        assert await patients(gate) == 70
        accesses = await gate.events("access")
        assert {(entry["account"], entry["account_class"]) for entry in accesses} == {("agenda", "sync")}
        more = [
            (await machine.get(f"/dossiers/{n}", Authorization=BASIC_AGENDA)).status
            for n in range(1071, 1083)
        ]
        assert more == [200] * 10 + [429] * 2
        # Another name by Basic, or the same with a login in the body, is no service.
        got = await machine.get("/dossiers/1001", Authorization="Basic ZHIubWFydGluOng=")
        assert got.status == 403
        before = len(gate.app.seen)
        await gate.services.accounts.lock(gate.ref("agenda").id, "vol", ref=gate.ref("agenda"))
        assert (await machine.get("/dossiers/1001", Authorization=BASIC_AGENDA)).status == 403
        assert len(gate.app.seen) == before


async def test_hosts_schemes_and_absolute_addresses_pass_unchanged(tmp_path: Path) -> None:
    """The app compares Origin and Referer with its own address, and answers absolute redirects."""
    mine = f"https://{HOST}"

    def app(seen: Seen) -> Said:
        scheme = seen.header("x-forwarded-proto")
        own = f"{scheme}://{seen.header('host')}"
        if seen.method == "POST":
            fits = seen.header("origin") == own and (seen.header("referer") or "").startswith(own + "/")
            if not fits:
                return Said(403, f"CSRF: {seen.header('origin')} is not {own}")
            return Said(
                302, headers=(("Location", f"{own}/?next=a%2Fb&x=%C3%A9"), ("Set-Cookie", "sid=s1; Path=/"))
            )
        return Said(body=f"<a href='{own}{seen.path}?{seen.query}'>ici</a>")

    rule = {**RULE, "success": {"status": 302}}
    proxies = {"trusted_proxies": ["127.0.0.0/8"]}
    async with real(tmp_path, app, login=[rule], gateway=proxies) as gate:
        browser = gate.browser()
        front = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.7"}
        got = await browser.post("/login", typed(), Origin=mine, Referer=f"{mine}/login?a=b", **front)
        assert got.header("location") == "/.ecluse/code"
        page = await browser.get("/.ecluse/code", **front)
        code = {"code": gate.code(DR_MARTIN), "token": form_token(page)}
        got = await browser.post("/.ecluse/code", code, Origin=mine, **front)
        assert got.header("location") == f"{mine}/?next=a%2Fb&x=%C3%A9"
        got = await browser.get("/?q=%C3%A9t%C3%A9+%2F&vide=", **front)
        assert got.text == f"<a href='{mine}/?q=%C3%A9t%C3%A9+%2F&vide='>ici</a>"
        got = await gate.browser().post("/login", typed(NURSE_BEN), Origin="https://evil.example", **front)
        assert got.status == 403
