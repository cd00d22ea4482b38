"""What the tests of factor, caps and trail share: a crowd of people, and words for what must not happen."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from selectolax.lexbor import LexborHTMLParser

from gateway.cli import main
from gateway.clock import FixedClock
from tests.people import Person
from tests.stand import Browser, Change, Got, MiniApp, Stand, form_token, stand

STEP_UP = "/.ecluse/step-up"
PEOPLE = tuple(Person(f"agent{number:02}", f"Saule-Pleureur-{number}") for number in range(100))


def crowd() -> Iterator[Person]:
    """Return people nobody has used yet, so that tests can share a gateway."""
    return iter(PEOPLE)


@asynccontextmanager
async def crowded(folder: Path, changes: Change | None = None) -> AsyncIterator[Stand]:
    """Run a gateway before an app that knows the whole crowd."""
    async with stand(folder, MiniApp(PEOPLE), changes) as gate:
        yield gate


@contextmanager
def silent(gate: Stand) -> Iterator[None]:
    """Hold that the app gets no byte meanwhile."""
    before = len(gate.app.bytes)
    yield
    assert gate.app.bytes[before:] == b""


async def operate(gate: Stand, *words: str) -> int:
    """Run a command of ours beside the gateway, as an operator of this machine; return its exit code."""

    def run() -> int:
        try:
            main([*words, "--config", str(gate.folder / "ecluse.yaml")])
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else 1
        return 0

    return await asyncio.to_thread(run)


async def about(
    gate: Stand, kind: str, person: Person | None = None, *, writer: str = "gateway", **fields: Any
) -> list[dict[str, Any]]:
    """Return the events of *kind* about *person* that say *fields*, in the journal of *writer*."""
    wanted = dict(fields) if person is None else {"account": person.login, **fields}
    return [
        entry
        for entry in await gate.events(kind, writer)
        if all(entry.get(name) == value for name, value in wanted.items())
    ]


def is_specific(entry: Mapping[str, Any], person: Person | None = None) -> bool:
    """Tell whether an event says who, from where, and in which exchange."""
    who = person is None or entry.get("account") == person.login
    return who and entry.get("client") == "127.0.0.1" and len(entry.get("request_id", "")) == 32


async def show_invitation(gate: Stand, browser: Browser, code: str) -> Got:
    """Type an invitation."""
    page = await browser.get("/.ecluse/invitation")
    return await browser.post("/.ecluse/invitation", {"invitation": code, "token": form_token(page)})


async def at_enrolment(gate: Stand, person: Person) -> tuple[Browser, Got]:
    """Invite *person*, take the password and the invitation, and return the page with the secret."""
    await gate.invite(person)
    browser = await gate.password_only(person)
    proven = await show_invitation(gate, browser, gate.secrets["invitation:" + person.login])
    assert (proven.status, proven.header("location")) == (303, "/.ecluse/enrol")
    return browser, await browser.get("/.ecluse/enrol")


def shown_secret(page: Got) -> str:
    """Return the base32 secret of an enrolment page."""
    found = LexborHTMLParser(page.text).css_first(".secret code")
    assert found is not None, page.text[:800]
    return found.text().replace(" ", "").replace("\u00a0", "").strip()


async def type_code(browser: Browser, code: str, page: str = "code") -> Got:
    """Type *code* into the form of *page*."""
    shown = await browser.get(f"/.ecluse/{page}")
    assert shown.status == 200, (shown.status, shown.header("location"))
    return await browser.post(f"/.ecluse/{page}", {"code": code, "token": form_token(shown)})


async def recovery_codes(gate: Stand, person: Person) -> tuple[Browser, list[str]]:
    """Enrol *person* through the pages; return the browser and the recovery codes that were shown."""
    browser, page = await at_enrolment(gate, person)
    secret = gate.secrets[person.login] = shown_secret(page)
    assert secret
    got = await type_code(browser, gate.code(person), "enrol")
    assert got.status == 200, got.text[:500]
    codes = [node.text().strip() for node in LexborHTMLParser(got.text).css("main code")]
    return browser, [code for code in codes if code.count("-") == 4]


@contextmanager
def time_stands(gate: Stand, after_s: float = 0.0) -> Iterator[FixedClock]:
    """Stop the gateway's clock in the middle of a step, *after_s* from now, so that no test meets an edge."""
    right = gate.services.clock
    now_ms = right.now_ms() + int(after_s * 1000)
    gate.services.clock = FixedClock(now_ms - now_ms % 30_000 + 15_000)
    try:
        yield gate.services.clock
    finally:
        gate.services.clock = right


async def ask_store(gate: Stand, *words: str | bytes) -> Any:
    """Ask the store itself, as somebody who holds its socket."""
    reader, writer = await asyncio.open_unix_connection(
        str(gate.loaded.settings.state_dir / "store" / "valkey.sock")
    )
    raw = [word.encode() if isinstance(word, str) else word for word in words]
    writer.write(b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw))
    try:
        return await _answer(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> Any:
    line = (await reader.readline())[:-2]
    kind, rest = line[:1], line[1:]
    assert kind != b"-", line
    if kind == b"*":
        return [await _answer(reader) for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else (await reader.readexactly(int(rest) + 2))[:-2]
    return int(rest) if kind == b":" else rest


async def log_in_early(gate: Stand, person: Person, account_class: str = "standard") -> Browser:
    """Log *person* in with the code before this one, so that this one is left to give."""
    await gate.enrol(person, account_class)
    return await gate.log_in(person, code=gate.code(person, -1))


async def give(
    gate: Stand, browser: Browser, path: str, code: str, need: str = "care", words: str = ""
) -> Got:
    """Open the step-up page at *path* and send its form."""
    page = await browser.get(path)
    assert page.status == 200, (page.status, page.header("location"))
    to = next(iter(parse_qs(urlsplit(path).query).get("to", [])), "")
    form = {"code": code, "need": need, "words": words, "to": to, "token": form_token(page)}
    return await browser.post(path.partition("?")[0], form)
