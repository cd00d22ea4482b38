"""Chromium through the whole gateway, in front of Django's administration: what a professional really meets."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Response, async_playwright

from tests.end_to_end.real_apps.bench import Bench, Child, bench
from tests.end_to_end.real_apps.django_site import CLERKS, PASSWORD
from tests.people import Person

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
LIST = "/admin/care/patient/"
SESSION = "__Host-ecluse"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
    pytest.mark.asyncio(loop_scope="module"),
]
_next_clerk = count()


@dataclass
class Ward:
    """The gateway in front of Django, on ``http://localhost``, and Chromium."""

    site: Bench
    chromium: Browser
    origin: str

    @asynccontextmanager
    async def desk(self, locale: str) -> AsyncIterator["Desk"]:
        """Open a browser profile of its own: another cookie jar, another language."""
        context = await self.chromium.new_context(locale=locale, base_url=self.origin)
        try:
            desk = Desk(self, context, await context.new_page())
            desk.page.on(
                "console", lambda said: desk.said.append(said.text) if said.type == "error" else None
            )
            desk.page.on("pageerror", lambda error: desk.said.append(str(error)))
            desk.page.on("response", desk.note)
            yield desk
        finally:
            await context.close()


@dataclass
class Desk:
    """One browser profile; remembers what went wrong in it."""

    ward: Ward
    context: BrowserContext
    page: Page
    said: list[str] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def note(self, answer: Response) -> None:
        """Keep what was refused."""
        if answer.status >= 400:
            self.failed.append((answer.status, answer.url.removeprefix(self.ward.origin)))

    @property
    def at(self) -> str:
        """Return the path shown in the address bar."""
        return self.page.url.removeprefix(self.ward.origin)

    async def h1(self) -> str:
        """Return the title of the page."""
        return (await self.page.locator("h1").last.inner_text()).strip()

    async def keys(self, *typed: str) -> None:
        """Type texts with the Tab key between them, and Enter at the end, as soon as a field has the focus."""
        await self.page.wait_for_function("document.activeElement.matches('input')")
        for position, text in enumerate(typed):
            if position:
                await self.page.keyboard.press("Tab")
            await self.page.keyboard.type(text)
        await self.enter()

    async def enter(self) -> None:
        """Press Enter and wait for the next page."""
        async with self.page.expect_navigation(wait_until="load"):
            await self.page.keyboard.press("Enter")

    async def tab_to(self, selector: str) -> None:
        """Press Tab until *selector* has the focus."""
        for _ in range(40):
            if await self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"no way to {selector} by keyboard at {self.at}")

    async def password(self, person: Person, wanted: str = "/admin/") -> None:
        """Ask for *wanted* and give Django the right password, by keyboard."""
        await self.page.goto(wanted)
        assert await self.page.evaluate("document.activeElement.name") == "username"
        await self.keys(person.login, person.password)

    async def code(self, person: Person) -> None:
        """Type the code; the code of this half minute may be used by each login of a test."""
        gate = self.ward.site.gate
        key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
        await gate.services.store.execute("HSET", key, "last_step", "0")
        assert await self.page.evaluate("document.activeElement.name") == "code"
        await self.keys(gate.code(person))

    async def session_cookie(self) -> object:
        """Return the gateway's cookie as the browser keeps it."""
        kept = [each for each in await self.context.cookies() if each["name"] == SESSION]
        return kept[0] if kept else None

    async def picture(self, name: str) -> None:
        """Keep a screenshot in the folder that ``SCREENSHOTS`` names, if any."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    folder = tmp_path_factory.mktemp("browser")
    module = "tests.end_to_end.real_apps.django_site"
    async with (
        Child("-m", module, str(folder)) as child,
        bench(folder, "django", child, host="localhost") as site,
        async_playwright() as player,
    ):
        chromium = await player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield Ward(site, chromium, f"http://localhost:{site.gate.port}")
        finally:
            await chromium.close()


@pytest.fixture
def clerk() -> Person:
    return Person(CLERKS[next(_next_clerk)], PASSWORD)


WORDS = {
    "fr-FR": ("Code d’invitation", "Code de vérification"),
    "en-GB": ("Invitation code", "Verification code"),
}


@pytest.mark.parametrize("locale", ["fr-FR", "en-GB"])
async def test_enrolment_by_keyboard_alone(ward: Ward, clerk: Person, locale: str) -> None:
    """From the first page asked for to the same page: password, invitation, QR code, first code, recovery codes."""
    await ward.site.gate.invite(clerk)
    async with ward.desk(locale) as desk:
        page = desk.page
        await desk.password(clerk, f"{LIST}9/change/")
        assert desk.at == "/.ecluse/invitation"
        assert await page.locator("html").get_attribute("lang") == locale[:2]
        await desk.picture(f"{locale}-1-invitation")
        assert await page.evaluate("document.activeElement.name") == "invitation"
        await desk.keys("ABCD-EFGH-JKLM-NPQR")
        assert await page.locator("input[name=invitation][aria-invalid=true]").count() == 1
        await desk.picture(f"{locale}-2-invitation-wrong")
        await desk.keys(ward.site.gate.secrets[f"invitation:{clerk.login}"])
        assert desk.at == "/.ecluse/enrol"
        drawn = await page.locator(".qr svg").bounding_box()
        assert drawn is not None
        assert drawn["width"] >= 150
        secret = (await page.locator(".secret code").inner_text()).replace(" ", "").replace("\n", "")
        await desk.picture(f"{locale}-3-enrol")
        await desk.tab_to("input[name=code]")
        await desk.keys(pyotp.TOTP(secret).now())
        assert await page.locator(".codes li").count() == 10
        recovery = await page.locator(".codes li code").first.inner_text()
        await desk.picture(f"{locale}-4-recovery-codes")
        await desk.tab_to("a.button")
        await desk.enter()
        assert desk.at == f"{LIST}9/change/"
        assert await page.locator("#id_prenom").input_value() == "Prénom9"
        await desk.picture(f"{locale}-5-record")

        cookie = await desk.session_cookie()
        assert isinstance(cookie, dict)
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
            True,
            True,
            "Lax",
            "/",
        )
        # Nothing but the one wrong invitation code failed: styles, scripts, translations of Django all came.
        assert desk.failed == [(403, "/.ecluse/invitation")]
        assert await page.locator(".datetimeshortcuts").count() == 1

    async with ward.desk(locale) as desk:
        await desk.password(clerk, f"{LIST}9/change/")
        assert desk.at == "/.ecluse/code"
        await desk.tab_to("a[href='/.ecluse/recovery']")
        await desk.enter()
        await desk.picture(f"{locale}-6-recovery")
        await desk.keys(recovery)
        await desk.picture(f"{locale}-7-recovery-used")
        await desk.tab_to("a.button")
        await desk.enter()
        assert desk.at == f"{LIST}9/change/"


@pytest.mark.parametrize("locale", ["fr-FR", "en-GB"])
async def test_a_wrong_code_then_the_right_one(ward: Ward, clerk: Person, locale: str) -> None:
    await ward.site.gate.enrol(clerk)
    async with ward.desk(locale) as desk:
        await desk.password(clerk, LIST)
        # "Not you?": out again, and in.
        await desk.tab_to("form[action$=logout] button")
        await desk.enter()
        assert desk.at == "/.ecluse/logout"
        assert await desk.session_cookie() is None
        await desk.password(clerk, LIST)
        assert await desk.h1() == WORDS[locale][1]
        await desk.picture(f"{locale}-8-code")
        await desk.keys("000 000")
        assert await desk.page.locator("#error").is_visible()
        assert "error" in (
            await desk.page.locator("input[name=code]").get_attribute("aria-describedby") or ""
        )
        await desk.picture(f"{locale}-9-code-wrong")
        await desk.code(clerk)
        assert desk.at == LIST
        assert await desk.page.locator("#result_list tbody tr").count() == 100
        assert desk.failed == [(403, "/.ecluse/code")]


async def test_the_back_button_shows_no_record_after_logout(ward: Ward, clerk: Person) -> None:
    """What a colleague finds on a shared ward PC."""
    await ward.site.gate.enrol(clerk)
    async with ward.desk("fr-FR") as desk:
        await desk.password(clerk, f"{LIST}11/change/")
        await desk.code(clerk)
        assert await desk.page.locator("#id_prenom").input_value() == "Prénom11"
        await desk.page.locator("#logout-form button").click()
        await desk.page.wait_for_url("**/admin/logout/")
        assert await desk.session_cookie() is None
        await desk.picture("fr-FR-10-logged-out")
        await desk.page.go_back()
        assert await desk.page.locator("#id_prenom").count() == 0
        assert desk.at.startswith("/admin/login/")
        assert desk.failed == []
        assert await ward.site.of("refused", clerk.login) == []


async def test_the_sessions_page_closes_the_other_session(ward: Ward, clerk: Person) -> None:
    await ward.site.gate.enrol(clerk)
    async with ward.desk("fr-FR") as office, ward.desk("en-GB") as lost:
        for desk in (lost, office):
            await desk.password(clerk)
            await desk.code(clerk)
            assert desk.at == "/admin/"
        await office.page.goto("/.ecluse/sessions")
        assert await office.page.locator(".sessions li").count() == 2
        assert "Chrome, Linux" in await office.page.locator(".sessions").inner_text()
        await office.picture("fr-FR-11-sessions")
        other = office.page.locator(".sessions li").filter(has_not=office.page.locator(".tag"))
        await other.locator("button").focus()
        await office.enter()
        assert await office.page.locator(".sessions li").count() == 1

        await lost.page.goto(LIST)
        assert lost.at.startswith("/admin/login/")
        await office.page.goto(LIST)
        assert await office.page.locator("#result_list tbody tr").count() == 100
        await office.page.goto("/.ecluse/")
        await office.picture("fr-FR-12-home")
        await office.tab_to("a.button")
        await office.enter()
        assert office.at == "/admin/"
        await office.page.goto("/.ecluse/")
        await office.tab_to("form[action$=logout] button")
        await office.enter()
        assert office.at == "/.ecluse/logout"
        await office.picture("fr-FR-13-signed-out")
        await office.page.goto(LIST)
        assert office.at.startswith("/admin/login/")
        assert office.failed == []


async def test_a_day_at_the_desk(ward: Ward, clerk: Person) -> None:
    """Search, open, save, and the message of success, with Django's own scripts running."""
    await ward.site.gate.enrol(clerk)
    async with ward.desk("fr-FR") as desk:
        page = desk.page
        await desk.password(clerk, LIST)
        await desk.code(clerk)
        await page.locator("#searchbar").fill("ABELARD-006")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**q=ABELARD-006")
        await page.get_by_role("link", name="ABELARD-006").click()
        await page.locator("#id_telephone").fill("01 99 00 55 55")
        await page.locator("input[name=_save]").click()
        await page.locator(".messagelist .success").wait_for()
        assert desk.at.partition("?")[0] == LIST
        assert desk.failed == []
        # One list of a hundred and one record opened are 20.8 of 40; another hundred would be one too many.
        await page.goto(f"{LIST}?p=2")
        await desk.picture("fr-FR-14-cap")
        assert await page.locator("#result_list").count() == 0
        reference = await page.locator(".reference code").inner_text()
        (event,) = await ward.site.of("withheld", clerk.login)
        assert event["reference"] == reference
        assert desk.failed == [(429, f"{LIST}?p=2")]
