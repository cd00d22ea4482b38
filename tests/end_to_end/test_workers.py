"""Several workers on one port: all serve, none is missed, and replacing them fails nobody's request."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.end_to_end.workers_site import (
    CROWD,
    NARROW_CAP,
    WAIT_S,
    Gateway,
    Site,
    Steady,
    Systemd,
    a_site,
    as_systemd,
    is_alive,
    kill,
    load,
    serving,
)
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN
from tests.stand import Browser

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with a_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unit() -> AsyncIterator[Systemd]:
    async with as_systemd() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(site: Site, unit: Systemd) -> AsyncIterator[Gateway]:
    async with serving(site, "--workers", "2", environment=unit.environment) as found:
        yield found


async def on_each_worker(gateway: Gateway, cookies: dict[str, str], login: str) -> list[Browser]:
    """Return browsers with connections to at least two workers: each worker has recorded an access of theirs."""
    browsers: list[Browser] = []

    def writers() -> set[str]:
        return {
            writer
            for writer, entries in gateway.site.journals().items()
            if any(entry["kind"] == "access" and entry["account"] == login for entry in entries)
        }

    async with asyncio.timeout(WAIT_S):
        while len(writers()) < 2:
            browsers.append(Browser(gateway.port))
            browsers[-1].cookies = dict(cookies)
            assert (await browsers[-1].get("/dossiers/1001")).status == 200
    return browsers


async def test_every_worker_serves_and_systemd_is_told(gateway: Gateway, unit: Systemd) -> None:
    assert len(gateway.workers()) == 2
    async with asyncio.timeout(WAIT_S):
        while "WATCHDOG=1" not in unit.told:
            await asyncio.sleep(0.05)
    told = unit.heard()
    assert told.count("READY=1") == 1
    assert "WATCHDOG=1" in told
    assert await gateway.probe("/healthz") == (200, "alive\n")
    assert await gateway.probe("/readyz") == (200, "ready\n")
    browsers = await on_each_worker(gateway, await gateway.log_in(NURSE_BEN), NURSE_BEN.login)
    _, metrics = await gateway.probe("/metrics")
    # What either counted is told once, and what is of one process is told of each.
    counted = re.findall(r'^ecluse_requests_total\{.*kind="record".*\} (\S+)$', metrics, re.MULTILINE)
    assert [float(value) for value in counted] == [float(len(browsers))]
    assert len(re.findall(r"^process_resident_memory_bytes\{worker=", metrics, re.MULTILINE)) == 3
    assert 'ecluse_workers{state="serving"} 2.0' in metrics
    # The supervisor has none of the keys' rooms in its memory, and nobody speaks to systemd in its name.
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text("ascii")
    assert "cryptography" not in maps
    assert "pydantic" not in maps
    for pid in gateway.workers().values():
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    for browser in browsers:
        await browser.close()


async def test_a_cap_is_one_for_all_workers(gateway: Gateway) -> None:
    """K07 Six connections over two workers: the cap is counted once."""
    cookies = await gateway.log_in(CLERK_LEA)
    browsers = [Browser(gateway.port) for _ in range(6)]
    shown: set[int] = set()

    async def opens(browser: Browser, first: int) -> None:
        browser.cookies = dict(cookies)
        for number in range(first, first + 3):
            got = await browser.get(f"/dossiers/{number}")
            assert got.status in {200, 429}
            if f"NOM{number}" in got.text:
                shown.add(number)

    await asyncio.gather(*(opens(browser, 1001 + 10 * place) for place, browser in enumerate(browsers)))
    assert len(shown) == NARROW_CAP
    for browser in browsers:
        await browser.close()


async def test_a_lock_holds_on_every_worker_within_a_second(gateway: Gateway) -> None:
    """J06 Whichever worker holds the connection, it asks before the app is asked."""
    browsers = await on_each_worker(gateway, await gateway.log_in(DR_MARTIN), DR_MARTIN.login)
    assert await gateway.site.types("account", "lock", DR_MARTIN.login, "--reason", "stolen") == 0
    before = len(gateway.site.app.bytes)
    # Kept connections to either worker, and no waiting: the store is asked each time.
    for browser in browsers:
        assert (await browser.get("/dossiers/1002")).status == 403
        await browser.close()
    assert len(gateway.site.app.bytes) == before


async def test_a_killed_worker_comes_back_and_what_was_served_is_recorded(gateway: Gateway) -> None:
    """M04 kill -9 of one worker under load: the others serve, and every record that left whole is in a log."""
    async with load(gateway) as steady:
        async with asyncio.timeout(WAIT_S):
            while sum(len(one.received) for one in steady) < 60:
                await asyncio.sleep(0.01)
        number, pid = min(gateway.workers().items())
        lines = len(gateway.said)
        kill(pid)
        await gateway.told("worker_ended", lines, worker=number, why="killed")
        # The other one serves on, and says so.
        assert (await gateway.probe("/readyz"))[0] == 200
        await gateway.told("worker_serves", lines, worker=number)
        served = sum(len(one.received) for one in steady)
        alive = [one for one in steady if not one.failed]
        assert alive, "every connection was one worker's"
        async with asyncio.timeout(WAIT_S):
            while sum(len(one.received) for one in steady) == served:
                await asyncio.sleep(0.01)
    assert gateway.workers()[number] != pid
    assert gateway.site.missing([each for one in steady for each in one.received]) == []
    _, metrics = await gateway.probe("/metrics")
    assert 'ecluse_worker_restarts_total{why="killed"} 1.0' in metrics


def assert_no_failure(steady: list[Steady]) -> None:
    assert [words for one in steady for words in one.failed] == []
    assert all(one.received for one in steady)


async def test_a_rolling_restart_fails_no_request(gateway: Gateway) -> None:
    before = gateway.workers()
    async with load(gateway) as steady:
        assert await gateway.site.types("workers", "restart") == 0
        await asyncio.sleep(0.1)
    assert_no_failure(steady)
    assert len(gateway.workers()) == 2
    assert not set(gateway.workers().values()) & set(before.values())
    assert not any(is_alive(pid) for pid in before.values())
    assert await gateway.site.types("workers", "status") == 0
    assert gateway.site.missing([each for one in steady for each in one.received]) == []


async def test_a_reload_fails_no_request_and_reaches_every_worker(gateway: Gateway, unit: Systemd) -> None:
    """O01 A good configuration reaches every worker, a faulty one none, under load and without a failure."""
    site, lines = gateway.site, len(gateway.said)
    unit.heard()
    async with load(gateway) as steady:
        site.change("drain_s: 20", "drain_s: 21")
        assert await site.types("config", "reload") == 0
        loaded = {
            line["worker"] for line in gateway.said[lines:] if line["event"] == "configuration_reloaded"
        }
        assert loaded == set(gateway.workers())
        told = unit.heard()
        assert told.index("RELOADING=1") < told.index("READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in told)
        # A faulty one changes nothing and replaces nobody, whichever way it is asked for.
        site.change("realms:", "royaumes:")
        serving_now = gateway.workers()
        assert await site.types("config", "reload") == 2
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.told("configuration_reload_refused", lines)
        gateway.process.send_signal(signal.SIGUSR2)
        await gateway.told("workers_restarted", lines, complete=False)
        assert gateway.workers() == serving_now
        site.change("royaumes:", "realms:")
    assert_no_failure(steady)


async def test_readiness_tells_that_the_store_is_away(gateway: Gateway) -> None:
    """A08 A frozen store: not ready, yet alive; ready again when it thaws."""
    browser = Browser(gateway.port)
    browser.cookies = dict(await gateway.log_in(NURSE_BEN))
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.children}
    (store,) = [pid for pid, command in commands.items() if b"valkey.sock" in command]
    os.kill(store, signal.SIGSTOP)
    try:
        assert (await browser.get("/dossiers/1001")).status == 503
        await gateway.until_probe("/readyz", 503)
        assert (await gateway.probe("/healthz"))[0] == 200
    finally:
        os.kill(store, signal.SIGCONT)
    async with asyncio.timeout(WAIT_S):
        while (await browser.get("/dossiers/1001")).status != 200:
            await asyncio.sleep(0.05)
    await gateway.until_probe("/readyz", 200)
    await browser.close()


async def test_its_end_drains_and_leaves_nothing(gateway: Gateway, unit: Systemd) -> None:
    """A12 The port closes, what is under way ends, every log is signed, and no process is left."""
    site = gateway.site
    children = gateway.children
    # The workers and the store; the others follow after a while.
    assert len(children) >= 3
    browser = Browser(gateway.port)
    browser.cookies = dict(await gateway.log_in(CROWD[0]))
    slow = asyncio.ensure_future(browser.get("/dossiers/2999"))
    await site.handler.asked.wait()
    gateway.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            except ConnectionError:
                break
            writer.close()
            await asyncio.sleep(0.02)
    assert not slow.done()
    site.handler.go_on.set()
    last = await slow
    assert (last.status, last.header("connection")) == (200, "close")
    assert "NOM2999" in last.text
    async with asyncio.timeout(WAIT_S):
        assert await gateway.process.wait() == 0
    assert not any(is_alive(pid) for pid in children)
    assert "STOPPING=1" in unit.heard()
    assert not (site.folder / "state" / "ecluse.pid").exists()
    assert not (site.folder / "state" / "workers.json").exists()
    site.assert_sound()
    # Each log of a worker ends with its end, signed, in a segment that can be archived and purged.
    for writer, entries in site.journals().items():
        assert entries[-1]["kind"] == "stopped", writer
        assert (site.folder / "audit" / writer / f"{len(entries):010}.jsonl").stat().st_size == 0
    await browser.close()


async def test_a_worker_past_its_memory_is_replaced_and_all_end_with_a_killed_supervisor(site: Site) -> None:
    site.change("gateway:", "gateway:\n  workers: 2\n  worker_memory_bytes: 50000000")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        site.change("port: 0", f"port: {port}")
        # Somebody else has the port: told with its address, exit code 2, before any worker is begun.
        with pytest.raises(AssertionError, match=f"listener 127.0.0.1:{port}: Address already in use"):
            async with serving(site):
                pass
        site.change(f"port: {port}", "port: 0")
    async with serving(site) as gateway:
        before = gateway.workers()
        async with load(gateway) as steady:
            await gateway.told("worker_left")
        assert_no_failure(steady)
        past = next(line for line in gateway.said if line["event"] == "worker_past_memory")
        assert not is_alive(before[past["worker"]])
        assert len(gateway.workers()) == 2
        children = gateway.children
        gateway.process.kill()
        async with asyncio.timeout(WAIT_S):
            while any(is_alive(pid) for pid in children):
                await asyncio.sleep(0.05)
