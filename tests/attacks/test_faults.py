"""Store, disk, app and process fail, for real: what may not pass does not pass, what was promised is kept."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
import pytest_asyncio
from ruamel.yaml import YAML

from gateway import telemetry
from gateway.assembly.services import open_services
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.verify import Broken, Verified, verify_log
from gateway.audit.writer import AuditUnavailable
from gateway.cli import main
from gateway.cli.loading import load_or_exit
from gateway.cli.reloading import check_now, reload_now
from gateway.cli.serve import run
from gateway.configuration import Loaded, init_keys, load, load_keys
from gateway.disclosure import pseudonym
from gateway.valkey import marker
from tests.attacks.factor import ask_store, operate
from tests.attacks.harness import hang_up
from tests.attacks.witness import LAVISH, assert_refused, attempt, raw, told
from tests.people import DR_MARTIN, NURSE_BEN, Person
from tests.stand import App, Browser, Got, MiniApp, Said, Seen, Stand, form_token, stand, write_config

TIMEOUT_S = 0.8
MARGIN_S = 1.2
"""What a busy machine may add to a deadline."""
HEALED_S = 8.0


@pytest.fixture(autouse=True)
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


def _lavish(config: dict[str, Any]) -> None:
    windows = {f"patients_{window}": 1_000_000 for window in ("10min", "1h", "24h", "7d")}
    config["realms"]["region"] = {"classes": {"standard": {**LAVISH, **windows}}}
    config["store"]["timeout_ms"] = round(1_000 * TIMEOUT_S)


async def healed(gate: Stand, cookies: dict[str, str]) -> None:
    """Wait until records are served again to the session that was there before."""
    async with asyncio.timeout(HEALED_S):
        while (await attempt(gate, raw(cookies=cookies))).status != 200:
            await asyncio.sleep(0.1)


async def others_are_served(gate: Stand) -> None:
    """Assert that what needs no store is served at once."""
    began = time.monotonic()
    outcome = await attempt(gate, raw(target="/static/app.css"))
    assert outcome.status == 200
    assert time.monotonic() - began < MARGIN_S


async def store_process(gate: Stand) -> int:
    """Return the process of this stand's own store."""
    info = (await gate.services.store.execute("INFO", "server")).decode()
    return int(info.partition("process_id:")[2].split()[0])


# The store.


async def test_the_store_is_killed(tmp_path: Path) -> None:
    """A08: records are refused until it is back; nobody is logged out, nothing is served meanwhile."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        os.kill(await store_process(gate), signal.SIGKILL)
        outcome = await attempt(gate, raw(cookies=cookies))
        if outcome.status != 200:
            event = assert_refused(outcome, 503, "store-down")
            assert b"retry-after" in outcome.answer.raw.lower()
            assert (event["app"], event["route"]) == ("parcours", "record")
        await others_are_served(gate)
        await healed(gate, cookies)
        browser = gate.browser()
        browser.cookies = dict(cookies)
        assert (await browser.get("/dossiers/1002")).status == 200


async def test_the_store_is_frozen(tmp_path: Path) -> None:
    """A08: an answer within the deadline, refusals at once after it, and everything as before when it thaws."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        server = await store_process(gate)
        os.kill(server, signal.SIGSTOP)
        try:
            began = time.monotonic()
            first, asset = await asyncio.gather(
                attempt(gate, raw(cookies=cookies)), gate.browser().get("/static/app.css")
            )
            assert time.monotonic() - began < TIMEOUT_S + MARGIN_S
            assert first.status == 503
            assert b" NOM" not in first.answer.raw
            assert asset.status == 200
            assert gate.app.paths()[-1] == "/static/app.css"
            (event,) = first.events
            assert (event["kind"], event["reason"]) == ("refused", "store-down")
            began = time.monotonic()
            assert_refused(await attempt(gate, raw(cookies=cookies)), 503, "store-down")
            assert_refused(await attempt(gate, raw(target="/", cookies=cookies)), 503, "store-down")
            assert_refused(
                await attempt(gate, raw(target="/.ecluse/code", cookies=cookies)), 503, "store-down"
            )
            assert time.monotonic() - began < TIMEOUT_S + MARGIN_S
        finally:
            os.kill(server, signal.SIGCONT)
        await healed(gate, cookies)


class FreezingApp(MiniApp):
    """An app during whose answer the store freezes."""

    server = 0

    def __call__(self, seen: Seen) -> Said:
        if self.server and seen.path.startswith("/dossiers/"):
            os.kill(self.server, signal.SIGSTOP)
        return super().__call__(seen)


async def test_the_store_freezes_while_the_app_answers(tmp_path: Path) -> None:
    """A08: an answer that cannot be charged does not leave."""
    app = FreezingApp()
    async with stand(tmp_path, app, _lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        app.server = server = await store_process(gate)
        try:
            began = time.monotonic()
            outcome = await attempt(gate, raw(cookies=cookies))
            assert time.monotonic() - began < TIMEOUT_S + MARGIN_S
            assert outcome.status == 503
            assert len(outcome.requests) == 1
            assert b" NOM" not in outcome.answer.raw
            assert (outcome.event["kind"], outcome.event["reason"]) == ("withheld", "store-down")
        finally:
            app.server = 0
            os.kill(server, signal.SIGCONT)
        await healed(gate, cookies)


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("ACL", "SETUSER", "default", "-fcall"), ("ACL", "SETUSER", "default", "+fcall")),
    ],
    ids=["full", "read-only", "forbidden"],
)
async def test_the_store_answers_with_an_error(
    tmp_path: Path, break_it: tuple[str, ...], mend_it: tuple[str, ...]
) -> None:
    """A09: OOM, READONLY and NOPERM refuse like a store that is away: nothing that must be counted passes."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        await gate.services.store.execute(*break_it)
        outcome = await attempt(gate, raw(cookies=cookies))
        assert outcome.status == 503, outcome.answer.raw[:300]
        assert outcome.app_bytes == b""
        assert b" NOM" not in outcome.answer.raw
        assert {event["reason"] for event in outcome.events} == {"store-down"}
        stranger = gate.browser()
        await stranger.get("/login")
        person = {"user": DR_MARTIN.login, "password": DR_MARTIN.password}
        assert (await stranger.post("/login", person)).status == 503
        await others_are_served(gate)
        # The gateway asks nothing of a replica any more, not even that.
        await ask_store(gate, *mend_it)
        await healed(gate, cookies)


async def test_the_store_is_busy_with_somebody_elses_script(tmp_path: Path) -> None:
    """A09: BUSY: the store answers, at once, that it will not work. So nobody is served who must be counted."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        await gate.services.store.execute("CONFIG", "SET", "busy-reply-threshold", "50")
        endless = asyncio.ensure_future(ask_store(gate, "EVAL", "while true do end", "0"))
        try:
            await asyncio.sleep(0.2)
            assert_refused(await attempt(gate, raw(cookies=cookies)), 503, "store-down")
            await others_are_served(gate)
        finally:
            await ask_store(gate, "SCRIPT", "KILL")
            with pytest.raises(AssertionError, match="killed"):
                await endless
        await healed(gate, cookies)


async def test_the_store_comes_back_empty(tmp_path: Path) -> None:
    """A10: nobody is silently un-enrolled, no cap is silently reset: refused until an operator adopts it."""
    # Naive: an empty store has no factor for anybody, so the password alone enrols a new one.
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        store = gate.services.store
        await store.execute("FLUSHALL")
        assert_refused(await attempt(gate, raw(cookies=cookies)), 503, "store-emptied")
        assert_refused(
            await attempt(gate, raw(target="/.ecluse/code", cookies=cookies)), 503, "store-emptied"
        )
        thief = gate.browser()
        await thief.get("/login")
        person = {"user": DR_MARTIN.login, "password": DR_MARTIN.password}
        stolen = await thief.post("/login", person)
        assert stolen.status == 503
        assert not any(
            name.startswith("sid") and value.startswith("auth") for name, value in thief.cookies.items()
        )
        await others_are_served(gate)
        await gate.services.store.execute("FUNCTION", "FLUSH")
        assert_refused(await attempt(gate, raw(cookies=cookies)), 503, "store-emptied")
        assert await marker.adopt(store, store.store_id)
        outcome = await attempt(gate, raw(cookies=cookies))
        assert (outcome.status, outcome.app_bytes) == (401, b"")
        assert (outcome.event["kind"], outcome.event["reason"]) == ("challenged", "session-expired")
        late = gate.browser()
        await late.get("/login")
        denied = await late.post("/login", person)
        # Who was never invited is asked for an invitation too, and has none: no QR code, no record.
        assert (denied.status, denied.header("location")) == (303, "/.ecluse/invitation")
        assert "otpauth" not in (await late.get("/.ecluse/enrol")).text
        before = len(gate.app.bytes)
        assert (await late.get("/dossiers/1001")).header("location") == "/.ecluse/invitation"
        assert len(gate.app.bytes) == before
        assert [event["reason"] for event in await gate.events("enrolment-denied")] == ["not-invited"]


# The audit disk.


def _system(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the audit folder on a disk of its own of 400 kB."""
    folder = tmp_path / "audit"
    folder.mkdir()
    if not _system("mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)):
        pytest.skip("no right to mount a disk")
    yield folder
    _system("umount", "-l", str(folder))


def assert_sound(loaded: Loaded) -> Verified:
    """Assert that the journal of *loaded* is whole, by its files alone."""
    keys = load_keys(loaded.settings.keys_dir)
    ring = files.verifier_keys(keys.checkpoint, LOG_NAME)
    verdict = verify_log(loaded.settings.audit_dir / "gateway", ring)
    assert not isinstance(verdict, Broken), verdict
    return verdict


async def _withheld_for_the_audit(gate: Stand, cookies: dict[str, str]) -> None:
    browser = gate.browser()
    browser.cookies = dict(cookies)
    got = await browser.get("/dossiers/1001")
    assert got.status == 503, got.status
    assert " NOM" not in got.text
    assert got.header("retry-after") is not None
    # Refusals reveal nobody: they are answered all the same, and so is what is public.
    assert (await gate.browser().get("/dossiers/1001")).status == 303
    assert (await gate.browser().get("/admin/x")).status == 403
    assert (await gate.browser().get("/static/app.css")).status == 200


async def _contained_all_the_same(gate: Stand, stolen: Browser) -> None:
    """J06: a thief is not left in because a disk is full; that it could not be recorded is told by the exit code."""
    reason = ("--reason", "stolen")
    for words, status in (
        (("sessions", NURSE_BEN.login, "--close-all"), 303),
        (("lock", NURSE_BEN.login), 403),
    ):
        assert await operate(gate, "account", *words, *reason) == 2
        before = len(gate.app.bytes)
        assert (await stolen.get("/dossiers/1001")).status == status
        assert len(gate.app.bytes) == before


async def _serves_again(gate: Stand, cookies: dict[str, str]) -> None:
    browser = gate.browser()
    browser.cookies = dict(cookies)
    async with asyncio.timeout(HEALED_S):
        while (await browser.get("/dossiers/1001")).status != 200:
            await asyncio.sleep(0.1)


async def test_the_audit_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    """Records are withheld while nothing can be recorded; space frees, a gap is told, the log is sound."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        stolen = await gate.log_in(NURSE_BEN)
        assert (await gate.browser().get("/static/app.css")).status == 200
        stone = small_disk / "stone"
        with contextlib.suppress(OSError), stone.open("wb", buffering=0) as file:
            while file.write(b"\0" * 1_024):
                pass
        browser = gate.browser()
        browser.cookies = dict(cookies)
        # A page of the disk that the log has begun may still take a few entries.
        async with asyncio.timeout(HEALED_S):
            while (await browser.get("/dossiers/1001")).status == 200:
                pass
        await _withheld_for_the_audit(gate, cookies)
        await _contained_all_the_same(gate, stolen)
        stone.unlink()
        await _serves_again(gate, cookies)
        gaps = [event for event in await gate.events("gap") if "No space" in json.dumps(event)]
        assert gaps
        assert_sound(gate.loaded)


async def test_the_audit_disk_is_read_only(tmp_path: Path) -> None:
    """The same when the folder takes no change, as after an error of the file system."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        folder = tmp_path / "audit" / "gateway"
        journal = max(folder.glob("*.jsonl"))
        if not (_system("chattr", "+i", str(folder)) and _system("chattr", "+i", str(journal))):
            _system("chattr", "-i", str(folder))
            pytest.skip("no right to make files immutable")
        try:
            async with asyncio.timeout(HEALED_S):
                browser = gate.browser()
                browser.cookies = dict(cookies)
                while (await browser.get("/dossiers/1001")).status == 200:
                    await asyncio.sleep(0.05)
            await _withheld_for_the_audit(gate, cookies)
        finally:
            _system("chattr", "-i", str(folder))
            _system("chattr", "-i", str(journal))
        await _serves_again(gate, cookies)
        assert_sound(gate.loaded)


# The process.

CROWD = tuple(Person(f"garde.{number}", f"Ecluse-{number}-Nord") for number in range(4))


class SlowApp(MiniApp):
    """An app that can be made to think."""

    def __init__(self) -> None:
        super().__init__((DR_MARTIN, NURSE_BEN, *CROWD))
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def think(self, seen: Seen) -> Said:
        """Answer after *go_on*."""
        self.asked.set()
        await self.go_on.wait()
        return MiniApp.__call__(self, seen)

    def __call__(self, seen: Seen) -> Any:
        return self.think(seen) if seen.path == "/dossiers/2999" else super().__call__(seen)


@dataclass
class House:
    """A configuration with enrolled people, for gateways that run as processes of their own."""

    folder: Path
    path: Path
    app: App
    handler: SlowApp
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def loaded(self) -> Loaded:
        """Return the configuration as it now stands."""
        return load(self.path)

    def change(self, **gateway: object) -> None:
        """Write *gateway* over the configuration's section of that name."""
        yaml = YAML(typ="safe")
        config = yaml.load(self.path)
        config["gateway"].update(gateway)
        with self.path.open("w") as file:
            yaml.dump(config, file)

    def journal(self) -> list[dict[str, Any]]:
        """Return every whole entry of the gateway's log."""
        found = []
        for file in sorted((self.folder / "audit" / "gateway").glob("*.jsonl")):
            lines = file.read_bytes().splitlines(keepends=True)
            found += [json.loads(line) for line in lines if line.endswith(b"\n")]
        return found


@dataclass
class Running:
    """A gateway process that is ready."""

    process: asyncio.subprocess.Process
    port: int
    policy_id: str

    async def log_in(self, house: House, person: Person) -> Browser:
        """Log *person* in, code and all."""
        browser = Browser(self.port)
        await password_only(browser, person)
        page = await browser.get("/.ecluse/code")
        code = one_time_code(house.secrets[person.login])
        got = await browser.post("/.ecluse/code", {"code": code, "token": form_token(page)})
        assert got.status == 303, got.text[:500]
        return browser

    async def ends(self) -> int:
        """Wait for the end of the process and return its exit code."""
        async with asyncio.timeout(20):
            return await self.process.wait()


def one_time_code(secret: str) -> str:
    """Return the present code for *secret*."""
    return pyotp.TOTP(secret).now()


async def password_only(browser: Browser, person: Person) -> Got:
    """Log *person* in with the password alone."""
    await browser.get("/login")
    got = await browser.post("/login", {"user": person.login, "password": person.password})
    assert got.status == 303, got.text[:500]
    assert got.header("location") == "/.ecluse/code"
    return got


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    handler = SlowApp()
    async with App(handler) as app:
        path = write_config(tmp_path, app.port, _lavish)
        made = House(tmp_path, path, app, handler)
        async with open_services(made.loaded) as services:
            gate = Stand(made.loaded, services, None, 0, app, tmp_path)  # type: ignore[arg-type]
            for person in (DR_MARTIN, NURSE_BEN, *CROWD):
                made.secrets[person.login] = await gate.enrol(person)
        yield made


ON_A_SLOW_DISK = """
import time
from gateway.audit import files
from gateway.cli import main
quick = files.write_all
def slow(handle, data):
    time.sleep(0.02)
    quick(handle, data)
files.write_all = slow
main()
"""
"""What a kill finds unwritten is lost: on a slow disk that is enough to show who did not wait for it."""


@asynccontextmanager
async def running(house: House, *flags: str) -> AsyncIterator[Running]:
    """Run ``serve`` until the block ends; a process that is still there is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *(flags or ("-m", "gateway")), "serve", "--config", str(house.path)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while line := await process.stderr.readline():
                said = json.loads(line) if line.startswith(b"{") else {}
                if said.get("event") == "gateway_ready":
                    yield Running(process, said["port"], said["policy_id"])
                    return
        raise AssertionError("the gateway did not start")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_gateway_is_killed_under_load(house: House) -> None:
    """kill -9 with records in flight: every record a client received whole is in the log, and the log is sound."""
    received: list[tuple[str, str]] = []

    async def read_records(browser: Browser, person: Person, first: int) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in range(first, first + 400):
                got = await _once(browser, f"/dossiers/{number}")
                if got.status == 200 and f"NOM{number}" in got.text:
                    received.append((person.login, str(number)))

    async with running(house, "-c", ON_A_SLOW_DISK) as gateway:
        browsers = [await gateway.log_in(house, person) for person in CROWD]
        readers = [
            asyncio.ensure_future(read_records(browser, person, 1001 + 400 * place))
            for place, (browser, person) in enumerate(zip(browsers, CROWD, strict=True))
        ]
        async with asyncio.timeout(15):
            while len(received) < 60:
                await asyncio.sleep(0.01)
        gateway.process.kill()
        await asyncio.gather(*readers)
        assert await gateway.ends() == -signal.SIGKILL
        for browser in browsers:
            await browser.close()
    loaded = house.loaded
    keys = load_keys(loaded.settings.keys_dir)
    recorded = {
        (entry["account"], text)
        for entry in house.journal()
        if entry["kind"] == "access"
        for text in entry["patients"]
    }
    missing = [
        (login, number)
        for login, number in received
        if (login, pseudonym(keys, "parcours", number).text) not in recorded
    ]
    assert len(received) >= 60
    assert missing == []
    size_before = len(house.journal())
    async with open_services(loaded):
        pass
    assert assert_sound(loaded).size >= size_before


async def _once(browser: Browser, path: str) -> Got:
    """Ask without a second try, which would hide what the first one lost."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    assert browser._writer is not None
    browser._writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {browser.host}\r\nCookie: {cookies}\r\n\r\n".encode()
    )
    return await browser._read("GET")


async def test_the_product_without_asserts_and_its_end(house: House) -> None:
    """A12: ``python -O`` guards alike; SIGTERM closes the port first, lets what began finish, and ends with 0."""
    async with running(house, "-O", "-m", "gateway") as gateway:
        thief = Browser(gateway.port)
        await password_only(thief, NURSE_BEN)
        before = len(house.app.bytes)
        got = await thief.get("/dossiers/1001")
        assert (got.status, got.header("location")) == (303, "/.ecluse/code")
        assert len(house.app.bytes) == before
        browser = await gateway.log_in(house, DR_MARTIN)
        assert "NOM1001" in (await browser.get("/dossiers/1001")).text
        slow = asyncio.ensure_future(browser.get("/dossiers/2999"))
        await house.handler.asked.wait()
        gateway.process.send_signal(signal.SIGTERM)
        # Naive: mitmproxy's shutdown leaves the port accepting.
        async with asyncio.timeout(5):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                except ConnectionRefusedError:
                    break
                writer.close()
                await asyncio.sleep(0.02)
        assert not slow.done()
        assert gateway.process.returncode is None
        house.handler.go_on.set()
        last = await slow
        assert (last.status, last.header("connection")) == (200, "close")
        assert "NOM2999" in last.text
        assert await gateway.ends() == 0
        await thief.close()
        await browser.close()
    kinds = [entry["kind"] for entry in house.journal()]
    assert kinds[-1] == "stopped"
    assert kinds.count("access") == 2
    verdict = assert_sound(house.loaded)
    assert verdict.signed == verdict.size
    assert not house.loaded.settings.pid_file.exists()


async def _policy_in_use(house: House, browser: Browser) -> str:
    got = await browser.get("/dossiers/1001")
    assert got.status == 200
    return str([entry for entry in house.journal() if entry["kind"] == "access"][-1]["policy_id"])


def _command(*arguments: str) -> int:
    """Run a command of ours in this process and return its exit code."""
    try:
        main(arguments)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0


async def test_a_reload_that_breaks_is_answered(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """O01: Whatever breaks in it, the old policy stays and who asked is told, without what it broke at."""

    def breaks() -> Loaded:
        raise TypeError(DR_MARTIN.password)

    async with stand(tmp_path) as gate:
        held = gate.services.policy
        answers = [
            await reload_now(gate.services, breaks, lambda _: (), lambda _: None),
            await check_now(gate.services, breaks, lambda _: ()),
        ]
        assert gate.services.policy is held
        for answer in answers:
            assert (answer["loaded"], answer["policy_id"]) == (False, held.policy_id)
            assert [fault.split(":")[0] for fault in answer["faults"]] == ["TypeError"]
        assert (await gate.events("config-refused"))[-1]["detail"]["faults"] == "1"
    assert DR_MARTIN.password not in "".join(capfd.readouterr())


async def test_a_reload_swaps_or_keeps(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """O01: A good configuration comes into force for the next request, a bad one changes nothing."""
    async with running(house) as gateway:
        browser = await gateway.log_in(house, DR_MARTIN)
        first = await _policy_in_use(house, browser)
        assert first == gateway.policy_id
        house.change(max_url_bytes=4_000)
        assert await asyncio.to_thread(_command, "config", "reload", "--config", str(house.path)) == 0
        second = await _policy_in_use(house, browser)
        assert second != first
        assert second in capsys.readouterr().out
        good = house.path.read_text()
        settings = house.loaded.settings
        # Bad in three ways: no such key, a key that needs a restart, and no YAML at all.
        for text in (
            good.replace("realms:", "royaumes:", 1),
            good.replace(str(settings.state_dir), str(house.folder / "elsewhere")),
            ": : :\n- [",
        ):
            settings.reload_file.unlink(missing_ok=True)
            house.path.write_text(text)
            gateway.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while not settings.reload_file.exists():
                    await asyncio.sleep(0.02)
            told_by = json.loads(settings.reload_file.read_text())
            assert (told_by["loaded"], told_by["policy_id"]) == (False, second)
            assert told_by["faults"]
            assert await _policy_in_use(house, browser) == second
        house.path.write_text(good)
        assert [entry["kind"] for entry in house.journal()].count("config-refused") == 3
        loads = [entry for entry in house.journal() if entry["kind"] == "config-loaded"]
        assert len(loads) == 2
        await browser.close()
        gateway.process.terminate()
        assert await gateway.ends() == 0


def test_readable_keys_refuse_to_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A11: a key that others can read: told with file and mend, exit code 2, nothing made."""
    monkeypatch.setattr(telemetry, "configure", lambda: None)
    path = write_config(tmp_path, 9)
    key = max(path for path in (tmp_path / "keys").rglob("*") if path.is_file())
    key.chmod(0o644)
    assert _command("serve", "--config", str(path)) == 2
    assert f"{key} can be read by others (mode 0644)" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()


async def test_other_keys_refuse_to_start(tmp_path: Path) -> None:
    """A11: with other keys nobody's factor could be read: refused, before any port."""
    loaded = load(write_config(tmp_path, 9))
    async with open_services(loaded):
        pass
    init_keys(tmp_path / "other-keys")
    other = load(
        write_config(
            tmp_path, 9, lambda config: config["gateway"].update(keys_dir=str(tmp_path / "other-keys"))
        )
    )
    with pytest.raises(marker.KeysDisagree, match="restore the right keys_dir"):
        await run(other)


async def test_a_log_in_use_refuses_to_start(tmp_path: Path) -> None:
    """A11: a second process on the same log is refused, and the first one goes on."""
    async with stand(tmp_path, changes=_lavish) as gate:
        with pytest.raises(AuditUnavailable, match="another process writes the log"):
            await run(gate.loaded)
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        assert (await attempt(gate, raw(cookies=cookies))).status == 200


def test_a_bad_configuration_refuses_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A11: every fault with its file and line, exit code 2, nothing made."""
    path = write_config(tmp_path, 9)
    path.write_text(
        path.read_text().replace("realms:", "royaumes:", 1).replace("version: 1", "version: 2", 1)
    )
    assert _command("config", "check", "--config", str(path)) == 2
    said = capsys.readouterr().err
    assert said.count("ecluse.yaml:") >= 2
    with pytest.raises(SystemExit) as leaving:
        load_or_exit(str(path))
    assert leaving.value.code == 2
    assert not (tmp_path / "state").exists()


async def test_the_log_tells_what_was_refused_meanwhile(tmp_path: Path) -> None:
    """What was refused while the store was away stands in the log when it is back."""
    async with stand(tmp_path, changes=_lavish) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
        server = await store_process(gate)
        os.kill(server, signal.SIGSTOP)
        try:
            await asyncio.gather(*(attempt(gate, raw(cookies=cookies)) for _ in range(5)))
        finally:
            os.kill(server, signal.SIGCONT)
        refused = [event for event in await told(gate) if event.get("reason") == "store-down"]
        assert len(refused) == 5
        assert len({event["request_id"] for event in refused}) == 5
