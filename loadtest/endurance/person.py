"""One person before a gateway: comes in by password and code, mistypes both at times, and leaves again."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pyotp

from gateway.demo.client import Answer
from loadtest.endurance import content
from loadtest.endurance.app import password_of
from loadtest.endurance.content import Asked
from loadtest.endurance.line import Line
from loadtest.endurance.site import Site
from loadtest.endurance.tally import Tally

_STEP_S = 30
_WRONG_PASSWORD, _WRONG_CODE = 0.25, 0.25


@dataclass
class Person:
    """Somebody with an account of *site*. *jar* are the cookies of the one browser; *lines* its connections."""

    site: Site
    login: str
    tally: Tally
    chance: random.Random
    lines: int = 2
    jar: dict[str, str] = field(default_factory=dict)
    kept: list[Line] = field(default_factory=list)
    asked: int = 0
    last_step: int = 0

    def new_line(self) -> Line:
        """Return another connection of this browser, not opened yet."""
        return Line(self.site.port, tls=self.site.tls, cookies=self.jar)

    def number(self) -> Asked:
        """Return who asks, with a number that no other request has."""
        self.asked += 1
        return Asked(self.login, f"{self.login}-{self.asked}")

    async def get(
        self, line: Line, target: str, expected: str, patients: tuple[int, ...] = (), status: int = 200
    ) -> bool:
        """Get *target*, whose answer must be *expected*, whole; the *patients* it names are received then."""
        got = await line.request("GET", target)
        right = self.check(f"GET {target}", got, got.status == status and got.body == expected.encode())
        if right and patients:
            self.tally.received[self.login].append(patients)
        return right

    def check(self, what: str, got: Answer, right: bool) -> bool:
        """Count the answer *got*."""
        fault = None if right else f"{self.site.name} {self.login} {what}: {got.status} {got.text[:300]!r}"
        return self.tally.judge(fault, came=got.status != 0)

    async def enter(self) -> bool:
        """Come in; mistype the password or the code first, now and then."""
        self.jar.clear()
        self.kept = [self.new_line() for _ in range(self.lines)]
        line = self.kept[0]
        got = await line.request("GET", "/")
        to_login = got.status == 303 and got.header("location") == "/connexion"
        if not self.check("GET / as a stranger", got, to_login):
            return False
        if not await self.get(line, "/connexion", content.LOGIN_PAGE):
            return False
        if self.chance.random() < _WRONG_PASSWORD:
            got = await self._post(line, "/connexion", self._typed("Ecluse-de-travers"))
            right = got.status == 200 and got.text == content.wrong_password()
            self.check("a wrong password", got, right)
            self.tally.acts["wrong password"] += 1
        got = await self._post(line, "/connexion", self._typed(password_of(self.login)))
        to_code = got.status == 303 and got.header("location") == "/.ecluse/code" and not got.body.strip()
        if not self.check("a right password", got, to_code):
            return False
        return await self._give_code(line)

    async def _give_code(self, line: Line) -> bool:
        page = await line.request("GET", "/.ecluse/code")
        form = page.form_with("code")
        if not self.check(
            "GET /.ecluse/code", page, page.status == 200 and form is not None and _is_whole(page)
        ):
            return False
        if self.chance.random() < _WRONG_CODE:
            page = await self._post(line, form.action, form.fields | {"code": await self._code(right=False)})  # type: ignore[union-attr]
            form = page.form_with("code")
            self.check(
                "a wrong code",
                page,
                page.status in {400, 401, 403, 422} and form is not None and _is_whole(page),
            )
            self.tally.acts["wrong code"] += 1
        if form is None:
            return False
        code = await self._code(right=True)
        got = await self._post(line, form.action, form.fields | {"code": code})
        if not self.check("a right code", got, got.status in {302, 303} and got.header("location") == "/"):
            return False
        self.tally.acts["login"] += 1
        return await self.get(line, "/", content.home(Asked(self.login, "")))

    def _typed(self, password: str) -> dict[str, str]:
        return {"identifiant": self.login, "mot_de_passe": password}

    async def _post(self, line: Line, target: str, fields: dict[str, str]) -> Answer:
        lines = (("Content-Type", "application/x-www-form-urlencoded"), ("Origin", self.site.origin))
        return await line.request("POST", target, lines, urlencode(fields).encode())

    async def _code(self, *, right: bool) -> str:
        """Return a code of a step that was not used yet, once there is one; or one that fits no step."""
        factor = pyotp.TOTP(self.site.secrets[self.login])
        if not right:
            near = {factor.at(int(time.time()) + shift * _STEP_S) for shift in range(-3, 4)}
            return next(
                code for code in (f"{self.chance.randrange(10**6):06}" for _ in range(99)) if code not in near
            )
        while (step := int(time.time()) // _STEP_S) <= self.last_step:  # noqa: ASYNC110 - what is waited for is the clock
            await asyncio.sleep((self.last_step + 1) * _STEP_S - time.time() + 0.01)
        self.last_step = step
        return factor.generate_otp(step)

    async def leave(self) -> None:
        """Log out; what the browser held must open nothing any more."""
        before = dict(self.jar)
        got = await self._post(self.kept[0], "/deconnexion", {})
        self.check("logout", got, got.status in {302, 303} and content.SYSTEM not in got.text)
        self.tally.acts["logout"] += 1
        await self.must_be_out(before)
        await self.hang_up()

    async def must_be_out(self, cookies: dict[str, str]) -> None:
        """Try a record with *cookies* that open nothing."""
        old = Line(self.site.port, tls=self.site.tls, cookies=cookies)
        patient = self.chance.choice(content.RESERVED)
        got = await old.request("GET", f"/dossiers/{patient}")
        await old.close()
        out = got.status in {303, 401, 403} and content.surname(patient) not in got.text
        self.check("a record with a session that ended", got, out)

    async def hang_up(self) -> None:
        """Close every connection."""
        for line in self.kept:
            await line.close()
        self.kept = []


def _is_whole(page: Answer) -> bool:
    return page.text.rstrip().endswith("</html>")
