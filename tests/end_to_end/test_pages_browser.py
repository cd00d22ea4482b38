"""The pages in Chromium: accessible (axe-core, WCAG 2.2 AA), readable, and usable without script or mouse."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gateway.pages import views
from gateway.pages.language import LANGUAGES, Language, language
from gateway.vocabulary.messages import Reply
from tests.thorough import THOROUGH
from tests.unit.pages.samples import FORMS, OTHERS, PREFIX, REFUSALS, STEP_UPS, TOKEN, look

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
]

SHOWN = {
    **{
        name: page
        for name, page in (FORMS | STEP_UPS).items()
        if not name.endswith(("-malformed", "-expired", "-too-many"))
    },
    **{name: page for name, page in OTHERS.items() if name != "onward"},
    "refusal-break-glass": REFUSALS["refusal-break-glass"],
    "refusal-step-up": REFUSALS["refusal-step-up"],
    "refusal-login": REFUSALS["refusal-login"],
    "refusal-cap-patients-24h": REFUSALS["refusal-cap-patients-24h"],
}
# Languages differ in words alone: for a change, each page is looked at in one of them, in turns.
IN_TURNS = [
    (language_, name)
    for place, name in enumerate(SHOWN)
    for turn, language_ in enumerate(LANGUAGES)
    if THOROUGH or (place + turn) % len(LANGUAGES) == 0
]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Site:
    """Serves the sample pages on loopback and keeps what forms sent to it."""

    address: str
    elsewhere: str
    posts: list[tuple[str, dict[str, list[str]], str | None]] = field(default_factory=list)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            at = look(language(self.headers["accept-language"]), secure=False)
            if path == "/ailleurs":
                self._send(Reply(200, (("content-type", "text/html"),), b"<h1>ailleurs</h1>"))
            elif path == f"{PREFIX}style.css":
                self._send(views.stylesheet())
            elif path.removeprefix(PREFIX) in SHOWN:
                self._send(SHOWN[path.removeprefix(PREFIX)](at))
            else:
                self._send(Reply(404, (("content-type", "text/plain"),), b"absent"))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            served.posts.append((self.path, parse_qs(body.decode()), self.headers["origin"]))
            at = look(language(self.headers["accept-language"]), secure=False)
            if b"code=000000" in body:
                self._send(views.onward(at, location=f"{served.elsewhere}/ailleurs"))
            else:
                self._send(views.code(at, token=TOKEN, error=views.FormError.WRONG))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for key, value in reply.headers:
                self.send_header(key, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Site(f"http://127.0.0.1:{server.server_port}", f"http://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = (
        "--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    with sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=str(CHROMIUM), args=flags.split())
        yield chromium
        chromium.close()


@dataclass
class Tab:
    """One browser tab, what it fetched and what it complained about."""

    page: Page
    address: str
    fetched: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, name: str) -> Page:
        """Go to the page *name*, and wait until the field that wants the focus has it."""
        self.fetched.clear()
        self.complaints.clear()
        self.page.goto(f"{self.address}{PREFIX}{name}")
        self.settle()
        return self.page

    def answered(self) -> None:
        """Wait for the page that answers a form."""
        self.page.wait_for_selector("[role=alert]")
        self.settle()

    def settle(self) -> None:
        """Wait for the focus: browsers give it a moment after the page has loaded."""
        if self.page.locator("[autofocus]").count():
            self.page.wait_for_selector("[autofocus]:focus")


def tab(browser: Browser, site: Site, speech: Language, *, script: bool = True, width: int = 1_000) -> Tab:
    context = browser.new_context(
        locale=f"{speech}-{'FR' if speech == 'fr' else 'GB'}",
        java_script_enabled=script,
        viewport={"width": width, "height": 800},
    )
    opened = Tab(context.new_page(), site.address)
    opened.page.on("request", lambda request: opened.fetched.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    return opened


@pytest.fixture(scope="module", params=LANGUAGES)
def reader(request: pytest.FixtureRequest, browser: Browser, site: Site) -> Iterator[Tab]:
    """Somebody reading in one language, with scripts on because axe is one."""
    opened = tab(browser, site, request.param)
    yield opened
    opened.page.context.close()


@pytest.fixture
def keyboard(browser: Browser, site: Site) -> Iterator[Tab]:
    """Somebody with neither script nor mouse."""
    opened = tab(browser, site, "fr", script=False)
    site.posts.clear()
    yield opened
    opened.page.context.close()


AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, only: dict[str, Any] | None = None) -> list[tuple[str, list[Any]]]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("only => axe.run({runOnly: only})", only or WCAG)
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]


def test_axe_sees_a_fault_that_is_there(reader: Tab) -> None:
    page = reader.open("code")
    # Whoever had the tab before may have left it dark, and there this colour is no fault.
    page.emulate_media(color_scheme="light")
    page.evaluate("document.querySelector('label').remove(); document.getElementById('code').title = ''")
    page.evaluate("document.querySelector('.app').style.color = '#ddd'")
    assert {"label", "color-contrast"} <= {rule for rule, _ in violations(page)}


@pytest.mark.parametrize(("reader", "name"), IN_TURNS, indirect=["reader"], scope="module")
def test_no_violation_of_wcag_in_light_and_dark(reader: Tab, name: str) -> None:
    page = reader.open(name)
    page.emulate_media(color_scheme="light")
    assert violations(page) == []
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    # The palette changes colours only.
    page.emulate_media(color_scheme="dark")
    assert violations(page, {"type": "rule", "values": ["color-contrast"]}) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


@pytest.mark.parametrize(("reader", "name"), IN_TURNS, indirect=["reader"], scope="module")
def test_reflows_at_320_pixels_and_with_doubled_text(reader: Tab, name: str) -> None:
    page = reader.open(name)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate(overflow) == 0
    page.set_viewport_size({"width": 640, "height": 640})
    page.evaluate("document.documentElement.style.fontSize = '212.5%'")
    assert page.evaluate(overflow) == 0
    page.set_viewport_size({"width": 1_000, "height": 800})


@pytest.mark.parametrize(("reader", "name"), IN_TURNS, indirect=["reader"], scope="module")
def test_targets_are_large_and_focus_shows(reader: Tab, name: str) -> None:
    page = reader.open(name)
    sizes = page.evaluate(
        "Array.from(document.querySelectorAll('button, .button, select, input:not([type=hidden]), .others a, a.wide'),"
        "target => {const box = target.getBoundingClientRect(); return Math.min(box.width, box.height)})"
    )
    assert all(size >= 44 for size in sizes), sizes
    # From the start of the page, Tab reaches every control, and each shows that it has the focus.
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    controls = page.locator("a, button, select, input:not([type=hidden])").count()
    for _ in range(controls):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(() => {const s = getComputedStyle(document.activeElement);"
            "return [document.activeElement.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]})()"
        )
        assert style[0] in {"A", "BUTTON", "INPUT", "SELECT"}
        assert style[1] == "solid"
        assert style[2] >= 2


@pytest.mark.parametrize(("reader", "name"), IN_TURNS, indirect=["reader"], scope="module")
def test_fetches_only_its_stylesheet_and_breaks_no_rule(reader: Tab, name: str) -> None:
    page = reader.open(name)
    assert reader.fetched[0] == f"{reader.address}{PREFIX}{name}"
    assert [urlsplit(url).path for url in reader.fetched[1:]] == [f"{PREFIX}style.css"]
    assert all(url.startswith(f"{reader.address}/") for url in reader.fetched)
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 50
    # A refusal's own status is the one thing Chromium remarks on.
    assert [text for text in reader.complaints if "Failed to load resource" not in text] == []


def test_code_is_typed_at_once_without_script_or_mouse(keyboard: Tab, site: Site) -> None:
    page = keyboard.open("code")
    page.keyboard.type("123456")
    page.keyboard.press("Enter")
    keyboard.answered()
    assert site.posts == [(f"{PREFIX}code", {"token": [TOKEN], "code": ["123456"]}, site.address)]
    # The answer has the focus in the field again, which names the error.
    assert page.locator("#code:focus").get_attribute("aria-describedby") == "error code-hint"
    page.keyboard.type("654321")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert [post[1]["code"] for post in site.posts] == [["123456"], ["654321"]]


def test_a_pasted_code_may_have_a_space(keyboard: Tab, site: Site) -> None:
    page = keyboard.open("start")
    page.keyboard.type("123 456")
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+C")
    page.keyboard.type("dr.martin")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+V")
    page.keyboard.press("Enter")
    keyboard.answered()
    sent = {"token": [TOKEN], "next": ["/dossiers?page=2"], "login": ["dr.martin"], "code": ["123 456"]}
    assert site.posts == [(f"{PREFIX}start", sent, site.address)]


def test_a_form_leads_to_another_address_through_a_page_of_ours(keyboard: Tab, site: Site) -> None:
    page = keyboard.open("code")
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.elsewhere}/**")
    assert page.locator("h1").inner_text() == "ailleurs"
    assert site.posts[-1][1]["code"] == ["000000"]


def test_letters_are_stopped_before_they_are_sent(keyboard: Tab, site: Site) -> None:
    page = keyboard.open("code")
    page.keyboard.type("azerty")
    page.keyboard.press("Enter")
    assert page.locator("#code:invalid").count() == 1
    assert site.posts == []


def test_recovery_code_and_sign_out_by_keyboard(keyboard: Tab, site: Site) -> None:
    page = keyboard.open("recovery")
    page.keyboard.type("k7fp-9qd0-w2mx")
    page.keyboard.press("Enter")
    keyboard.answered()
    keyboard.open("code")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    keyboard.answered()
    assert [(path, set(form)) for path, form, _ in site.posts] == [
        (f"{PREFIX}recovery", {"token", "code"}),
        (f"{PREFIX}logout", {"token"}),
    ]


def test_recovery_codes_print_without_buttons(reader: Tab) -> None:
    page = reader.open("recovery-codes")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".codes li:visible").count() == 10
    assert page.locator(".button:visible, button:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.codes code')).color") == "rgb(0, 0, 0)"
    page.emulate_media(media="screen")


def test_language_follows_the_browser(reader: Tab) -> None:
    page = reader.open("code")
    expected = {"fr": "Code de vérification", "en": "Verification code"}
    speech = page.locator("html").get_attribute("lang")
    assert page.locator("h1").inner_text() == expected[speech or ""]
    assert page.evaluate("navigator.language").startswith(speech)
