"""Apps that show their login form in place of any page: what a stranger's own cookies may open there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.people import DR_MARTIN
from tests.stand import MiniApp, Said, Seen, form_token, stand

FORM = Said(body="<form method=post><input name=user><input name=password type=password></form>")


class InPlace(MiniApp):
    """Answers 200 with the login form at every address, takes the login at every address, and logs in by a link."""

    def __call__(self, seen: Seen) -> Said:
        session = seen.cookies.get("sid", "")
        if seen.method == "POST":
            said = self._login(seen, session)
            return said if said.status == 302 else replace(said, body=f"{said.body!s}{FORM.body!s}")
        if seen.path == "/lien":
            self.sessions["by-link"] = DR_MARTIN.login
            return Said(body="Bienvenue", headers=(("Set-Cookie", "sid=by-link; Path=/"),))
        if session not in self.sessions:
            return Said(body=FORM.body, headers=() if session else (("Set-Cookie", "sid=anon; Path=/"),))
        return super().__call__(seen)


def shown(config: dict[str, Any]) -> None:
    app = config["apps"]["parcours"]
    app |= {"strangers": "show"}
    app.pop("login_page")
    app["login"] = [
        {
            "name": "form",
            "when": {"form": {"password": {"present": True}}},
            "account": "user",
            "success": {"status": 302},
        }
    ]
    app["routes"].append({"name": "link", "kind": "page", "path": "/lien"})


async def test_a_link_that_logs_in_opens_no_record(tmp_path: Path) -> None:
    """F04 A GET that logs in (reset link, magic link, confirmed registration) gives a stranger a live app cookie.

    Naive: the cookie was set through the gateway, so it is the stranger's, so it is sent on; and the record's id
    stands in the path, so that the answer is not seen to name anybody.
    """
    async with stand(tmp_path, InPlace(), shown) as gate:
        await gate.enrol(DR_MARTIN)
        thief = gate.browser()
        await thief.get("/lien")
        for path in ("/dossiers/1001", "/dossiers", "/api/dossiers", "/export.csv"):
            got = await thief.get(path)
            assert "Patient" not in got.text
            assert b"by-link" not in gate.app.bytes
        assert await gate.events("access") == []


class Heedless(InPlace):
    """Takes no notice of a login when the cookie is already somebody's: the record is shown."""

    def __call__(self, seen: Seen) -> Said:
        if seen.method == "POST" and seen.cookies.get("sid") in self.sessions:
            return MiniApp.__call__(self, seen)
        return super().__call__(seen)


async def test_a_pointless_login_does_not_show_the_record(tmp_path: Path) -> None:
    """F04 The same cookie, which a login attempt at the record's own address carries along."""
    async with stand(tmp_path, Heedless(), shown) as gate:
        await gate.enrol(DR_MARTIN)
        thief = gate.browser()
        await thief.get("/lien")
        got = await thief.post("/dossiers/1001", {"user": DR_MARTIN.login, "password": "faux"})
        assert (got.status, "Patient" in got.text) == (401, False)
        (event,) = await gate.events("withheld")
        assert (event["reason"], event["rule"], event["client"]) == ("no-session", "form", "127.0.0.1")
        # The neighbour: a wrong password brings the form back, with the app's own words.
        honest = gate.browser()
        form = await honest.get("/dossiers/1001")
        assert form.set_cookies()["sid"] == "anon"
        wrong = await honest.post("/dossiers/1001", {"user": DR_MARTIN.login, "password": "faux"})
        assert (wrong.status, "mot de passe incorrect" in wrong.text) == (200, True)
        assert gate.app.seen[-1].cookies == {"sid": "anon"}


async def test_the_form_in_place_of_a_record_leads_to_that_record(tmp_path: Path) -> None:
    """The honest neighbour: form, password and code on the record's own address."""
    async with stand(tmp_path, InPlace(), shown) as gate:
        await gate.enrol(DR_MARTIN)
        browser = gate.browser()
        form = await browser.get("/dossiers/1001")
        assert (form.status, "password" in form.text) == (200, True)
        typed = {"user": DR_MARTIN.login, "password": DR_MARTIN.password}
        got = await browser.post("/dossiers/1001", typed)
        assert (got.status, got.header("location")) == (303, "/.ecluse/code")
        assert gate.app.seen[-1].cookies == {"sid": "anon"}
        page = await browser.get("/.ecluse/code")
        await browser.post("/.ecluse/code", {"code": gate.code(DR_MARTIN), "token": form_token(page)})
        record = await browser.get("/dossiers/1001")
        assert "Patient1001" in record.text
        assert len(await gate.events("access")) == 1
