"""What others write must not act in our pages, and our pages must not act for others (P01 to P04)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyotp
import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.configuration.faults import ConfigurationFaults
from tests.attacks.factor import PEOPLE, about, at_enrolment, shown_secret, silent, type_code
from tests.people import Person
from tests.stand import Got, MiniApp, Said, Seen, Stand, form_token, stand, write_config

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("cheap_hashes")]

BEFORE = "avant.example"
MARKUP = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
HOSTILE = Person("o'hara&<b>", "Saule-Hostile-1")


class LeadingApp(MiniApp):
    """The app in miniature; after a login it leads to wherever the test says."""

    location = "/"

    def __call__(self, seen: Seen) -> Said:
        said = super().__call__(seen)
        if seen.path == "/login" and said.status == 302 and self.location != "/":
            kept = tuple(line for line in said.headers if line[0] != "Location")
            return Said(302, headers=(("Location", self.location), ("X-Welcome", "1"), *kept))
        return said


def _two_flows(config: dict[str, Any]) -> None:
    app = config["apps"]["parcours"]
    app["login"][0]["success"] = {"status": 302, "cookie_changed": "sid"}
    config["apps"]["avant"] = {**app, "hosts": [BEFORE], "flow": "before-login", "title": "<i>Avant</i>"}
    config["body"] = {"name": "GRADeS <b>Exemple</b>", "contact": "a&b<c>"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    handler = LeadingApp((*PEOPLE, HOSTILE))
    async with stand(tmp_path_factory.mktemp("pages"), handler, _two_flows) as running:
        yield running


def is_inert(page: Got) -> bool:
    """Tell whether a page holds nothing that acts: no script, no handler, no frame, no style of its own."""
    tree = LexborHTMLParser(page.text)
    acting = tree.css_first(
        "script, iframe, object, embed, base, style, meta[http-equiv], form[action*='//']"
    )
    handlers = [
        name for node in tree.css("*") for name in node.attributes if name.startswith("on") or name == "style"
    ]
    return acting is None and not handlers


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/admin/" + quote(MARKUP, safe=""), {}),
        ("/dossiers/" + quote(MARKUP, safe=""), {}),
        ("/nulle-part?x=" + quote(MARKUP, safe=""), {}),
        ("/.ecluse/" + quote("<script>", safe=""), {}),
        ("/.ecluse/logout?next=" + quote(MARKUP, safe=""), {}),
        ("/admin/x", {"Referer": "https://mechant.example/" + MARKUP}),
        ("/admin/x", {"User-Agent": MARKUP}),
        ("/admin/x", {"Accept-Language": MARKUP}),
        ("/admin/x", {"X-Forwarded-Host": MARKUP}),
        ("/admin/x", {"Cookie": f"__Host-ecluse={MARKUP}"}),
        ("/login%00" + MARKUP.replace(" ", ""), {}),
    ],
    ids=[
        *("blocked", "record", "unknown", "own", "own-query", "referer", "agent", "language", "host"),
        *("cookie", "malformed"),
    ],
)
async def test_p01_nothing_of_a_request_stands_in_a_page(
    gate: Stand, path: str, headers: dict[str, str]
) -> None:
    """P01 CVE-2024-21496: the refusal page quotes the address, the referrer, the language."""
    browser = gate.browser()
    with silent(gate):
        got = await browser.request("GET", path, headers=headers)
    assert got.status in {200, 303, 400, 401, 403, 404}
    assert b"alert(" not in got.body
    assert b"<script" not in got.raw.lower()
    assert got.status == 303 or is_inert(got)
    location = got.header("location")
    assert location is None or (location.startswith("/") and "<" not in location and '"' not in location)


async def test_p01_a_hostile_login_is_text_on_the_pages(gate: Stand) -> None:
    """P01 The login is shown beside the QR code; an app may allow any character in it."""
    _, page = await at_enrolment(gate, HOSTILE)
    assert is_inert(page)
    assert "o&#39;hara&amp;&lt;b&gt;" in page.text
    assert LexborHTMLParser(page.text).css_first("main b") is None
    assert "GRADeS &lt;b&gt;Exemple" in page.text
    assert "a&amp;b&lt;c&gt;" in page.text


async def test_p01_a_hostile_browser_name_is_text_on_the_sessions_page(gate: Stand, person: Person) -> None:
    """P01 Stored: the thief's browser is called a script, and the owner looks at the open sessions."""
    await gate.enrol(person)
    thief = gate.browser()
    await thief.get("/login")
    form = {"user": person.login, "password": person.password}
    await thief.post("/login", form, User_Agent=f"Mozilla {MARKUP}")
    await type_code(thief, gate.code(person))
    page = await thief.get("/.ecluse/sessions")
    assert page.status == 200
    assert is_inert(page)
    assert "<img" not in page.text


@pytest.mark.parametrize(
    "wanted",
    [
        "https://mechant.example/",
        "//mechant.example/",
        "/\\mechant.example",
        "\\\\mechant.example",
        "javascript:alert(1)",
        "/ok\r\nSet-Cookie: a=b",
        "/\t/mechant.example",
        MARKUP,
    ],
)
async def test_p01_nobody_is_led_elsewhere_after_the_code(
    gate: Stand, people: Iterator[Person], wanted: str
) -> None:
    """P01 CVE-2024-52947: where to go next comes with the link that a mail held."""
    person = next(people)
    await gate.enrol(person)
    browser = gate.browser(host=BEFORE)
    page = await browser.get(f"/.ecluse/start?next={quote(wanted, safe='')}")
    assert (page.status, is_inert(page)) == (200, True)
    field = LexborHTMLParser(page.text).css_first('input[name="next"]')
    assert field is not None
    assert field.attributes["value"] == "/"
    form = {"login": person.login, "code": gate.code(person), "next": wanted, "token": form_token(page)}
    got = await browser.post("/.ecluse/start", form)
    assert (got.status, got.header("location")) == (303, "/")
    assert "a" not in got.set_cookies()


async def test_p01_a_wanted_page_of_the_app_is_kept(gate: Stand, person: Person) -> None:
    """The honest neighbour: a bookmark of a record survives the code."""
    await gate.enrol(person)
    browser = gate.browser(host=BEFORE)
    page = await browser.get("/.ecluse/start?next=%2Fdossiers%2F1001%3Fvue%3D2")
    form = {
        "login": person.login,
        "code": gate.code(person),
        "next": "/dossiers/1001?vue=2",
        "token": form_token(page),
    }
    assert (await browser.post("/.ecluse/start", form)).header("location") == "/dossiers/1001?vue=2"


@pytest.mark.parametrize(
    "location",
    [
        'https://autre.example/"><script>alert(1)</script>',
        "https://autre.example/?a=1&b=<x>",
        "//autre.example/x",
        "javascript:alert(1)",
        "https://autre.example\\@parcours.example/",
    ],
)
async def test_p01_the_apps_own_redirect_acts_in_no_page(
    gate: Stand, people: Iterator[Person], location: str
) -> None:
    """P01 The app leads to another host after its login: our page that does so quotes the address as text."""
    person = next(people)
    await gate.enrol(person)
    handler = gate.app.handler
    assert isinstance(handler, LeadingApp)
    handler.location = location
    try:
        browser = await gate.password_only(person)
    finally:
        handler.location = "/"
    got = await type_code(browser, gate.code(person))
    assert got.status in {200, 302, 303}
    assert b"<script" not in got.body
    if got.status == 200:
        tree = LexborHTMLParser(got.text)
        assert tree.css_first("script, iframe, img[onerror]") is None
        for node in tree.css("a"):
            assert str(node.attributes.get("href", "")).startswith(
                ("/", "https://autre.example", "http://autre.example", "mailto:")
            )


async def _pages(gate: Stand, person: Person) -> list[tuple[str, Got]]:
    found = []
    stranger = gate.browser()
    found += [("blocked", await stranger.get("/admin/x")), ("own 404", await stranger.get("/.ecluse/rien"))]
    found += [("signed out", await stranger.get("/.ecluse/logout"))]
    found += [("own 405", await stranger.request("DELETE", "/.ecluse/code"))]
    found += [("malformed", await stranger.get("/a/../b"))]
    found += [("unknown host", await gate.browser(host="autre.example").get("/"))]
    found += [("start", await gate.browser(host=BEFORE).get("/.ecluse/start"))]
    found += [("no session, posted", await stranger.request("POST", "/dossiers/1001"))]
    browser, page = await at_enrolment(gate, person)
    found += [("enrol", page)]
    gate.secrets[person.login] = shown_secret(page)
    wrong = await browser.post("/.ecluse/enrol", {"code": "1", "token": form_token(page)})
    found += [("enrol, wrong", wrong)]
    code = pyotp.TOTP(shown_secret(page)).now()
    found += [
        ("recovery codes", await browser.post("/.ecluse/enrol", {"code": code, "token": form_token(page)}))
    ]
    for name in ("", "sessions"):
        found.append((f"own {name}", await browser.get(f"/.ecluse/{name}")))
    pending = await gate.password_only(person)
    for name in ("code", "recovery"):
        page = await pending.get(f"/.ecluse/{name}")
        found.append((name, page))
        wrong = await pending.post(f"/.ecluse/{name}", {"code": "1", "token": form_token(page)})
        found.append((f"{name}, wrong", wrong))
    return found


async def test_p02_no_page_is_framed_sniffed_stored_or_told_on(gate: Stand, person: Person) -> None:
    """P02 Every page of ours, right, wrong and refused, carries what browsers need to be strict."""
    pages = await _pages(gate, person)
    assert len(pages) == 17
    for name, got in pages:
        assert got.status != 303, name
        policy = got.header("content-security-policy") or ""
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
            assert rule in policy, (name, rule)
        assert "unsafe" not in policy, name
        assert got.header("x-content-type-options") == "nosniff", name
        assert got.header("x-frame-options") == "DENY", name
        assert got.header("cache-control") == "no-store", name
        assert got.header("referrer-policy") in {"no-referrer", "same-origin"}, name
        assert (got.header("content-type") or "").startswith("text/html"), name
        assert got.header("server") is None, name
        assert is_inert(got), name
        assert "mitmproxy" not in got.text.lower(), name


async def test_p02_a_problem_is_no_page(gate: Stand) -> None:
    """P02 What programs get can be neither framed, run nor stored."""
    got = await gate.browser(accept="application/json").get("/dossiers/1001")
    assert (got.status, got.header("content-type")) == (401, "application/problem+json")
    assert got.header("cache-control") == "no-store"
    assert got.header("x-content-type-options") == "nosniff"
    assert got.header("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "path",
    [
        "/.ecluse",
        "/.Ecluse/code",
        "/.ECLUSE/code",
        "/%2eecluse/code",
        "/.%65cluse/code",
        "/.ecluse%2fcode",
        "//.ecluse/code",
        "/./.ecluse/code",
        "/x/../.ecluse/code",
        "/.ecluse;a=b/code",
        "/.ecluse/../.ecluse/code",
        "/.ecluse/code/",
        "/.ecluse/code%00",
    ],
)
async def test_p03_no_spelling_of_our_prefix_reaches_the_app(gate: Stand, path: str) -> None:
    """P03 An app that answers under our prefix could show our pages' likeness on our own address."""
    browser = gate.browser()
    with silent(gate):
        got = await browser.get(path)
    assert got.status in {303, 400, 403, 404}


@pytest.mark.parametrize("path", ["/.ecluse/code", "/.ecluse/{rest:path}", "/.ecluse/*"])
async def test_p03_a_route_below_our_prefix_is_a_fault(tmp_path: Path, path: str) -> None:
    """P03 Found when the configuration is read, with its place, and not by somebody's code page."""

    def collide(config: dict[str, Any]) -> None:
        config["apps"]["parcours"]["routes"].append({"name": "mine", "kind": "page", "path": path})

    from gateway.configuration import load

    with pytest.raises(ConfigurationFaults) as caught:
        load(write_config(tmp_path, 9, collide))
    assert "/.ecluse/" in str(caught.value)
    assert "routes" in str(caught.value)


async def test_p04_the_form_works_for_everybody(gate: Stand, person: Person) -> None:
    """P04 Without scripts, with a screen reader, by paste and by autofill; an error is tied to its field."""
    await gate.enrol(person)
    browser = await gate.password_only(person)
    shown = await browser.get("/.ecluse/code")
    wrong = await browser.post("/.ecluse/code", {"code": "abc", "token": form_token(shown)})
    for page, is_wrong in ((shown, False), (wrong, True)):
        tree = LexborHTMLParser(page.text)
        field = tree.css_first("input#code")
        assert field is not None
        told = field.attributes
        assert (told["autocomplete"], told["inputmode"], told["type"]) == ("one-time-code", "numeric", "text")
        assert int(told["maxlength"] or 0) >= len("123 456 ")
        assert tree.css_first('label[for="code"]') is not None
        for reference in (told["aria-describedby"] or "").split():
            assert tree.css_first(f"#{reference}") is not None
        assert ("error" in (told["aria-describedby"] or "").split()) is is_wrong
        assert (told.get("aria-invalid") == "true") is is_wrong
        alert = tree.css_first('[role="alert"]')
        assert (alert is not None) is is_wrong
        assert tree.css_first("html").attributes["lang"] in {"fr", "en"}
        viewport = tree.css_first('meta[name="viewport"]').attributes["content"]
        assert "user-scalable" not in viewport
        assert "maximum-scale" not in viewport
    code = gate.code(person)
    got = await browser.post("/.ecluse/code", {"code": f"{code[:3]} {code[3:]}", "token": form_token(wrong)})
    assert (got.status, got.header("location")) == (303, "/")
    assert len(await about(gate, "code-accepted", person)) == 1
