"""What the check decided before is taken again only while question, policy and the store's reply are the very same."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import jwt
import msgspec
import pytest
import pytest_asyncio

from gateway.clock import Clock
from gateway.configuration import load
from gateway.edge.check import Check
from gateway.edge.service import Service
from gateway.engine import Engine
from gateway.policy.routes import RouteMatch
from gateway.valkey.client import StoreUnavailable
from gateway.valkey.lane import Call
from gateway.valkey.prepared import Listener, Prepared
from gateway.vocabulary.records import RouteKind
from tests.attacks.test_edge import SECRET, Asker
from tests.people import CLERK_LEA, DR_MARTIN, NURSE_BEN
from tests.stand import MiniApp, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Shifted:
    """The machine's clock, moved."""

    clock: Clock
    by_ms: int = 0

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.by_ms


class Counted:
    """What the store is asked by prepared calls, counted."""

    def __init__(self, asker: Asker, patch: pytest.MonkeyPatch) -> None:
        store, self.times = asker.gate.services.store, 0
        for name in ("ask", "join"):
            patch.setattr(store, name, self._counting(getattr(store, name)))

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(prepared: Prepared, *more: Any) -> Any:
            self.times += 1
            return real(prepared, *more)

        return counted


def _changed(config: dict[str, Any]) -> None:
    config["apps"]["parcours"]["routes"].append({"name": "rest", "kind": "page", "path": "/*"})
    # Nobody is to be stopped here by how often they ask.
    config["realms"]["region"]["classes"]["standard"]["requests_10s"] = 100_000
    config["realms"]["region"]["classes"]["burst"] = {"requests_10s": 50, "soft_share": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asker]:
    app = MiniApp((DR_MARTIN, NURSE_BEN, CLERK_LEA))
    async with stand(tmp_path_factory.mktemp("repeats"), app, changes=_changed) as gate:
        gate.services.clock = Shifted(gate.services.clock)
        browser = await gate.log_in(NURSE_BEN)
        yield Asker(gate, Service(Check(Engine(gate.services)), SECRET.encode()), browser)


async def test_every_question_asks_the_store_once(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await asker.ask("/annuaire")).status == 200
    counted, seen = Counted(asker, monkeypatch), set()
    for number in range(6):
        got = await asker.ask("/annuaire" if number % 2 else f"/annuaire?n={number}")
        assert got.status == 200
        seen.add((got.headers["cookie"], got.headers["x-ecluse-assertion"]))
    assert (counted.times, len(seen)) == (6, 1)


async def test_a_lock_is_felt_at_the_next_question_and_so_is_its_end(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containment holds for what has just passed, too; and a change costs no second request."""
    accounts, account_id = asker.gate.services.accounts, asker.gate.ref(DR_MARTIN.login).id
    other = Asker(asker.gate, asker.service, await asker.gate.log_in(DR_MARTIN))
    for _ in range(2):
        assert (await other.ask("/annuaire")).status == 200
    counted = Counted(asker, monkeypatch)
    await accounts.lock(account_id, "phished")
    for _ in range(2):
        got = await other.ask("/annuaire")
        assert (got.status, "clear-site-data" in got.headers) == (403, True)
    await accounts.unlock(account_id)
    # The lock ended the session: it does not come back.
    assert (await other.ask("/annuaire")).status == 303
    assert counted.times == 3
    assert (await asker.ask("/annuaire")).status == 200


async def test_the_apps_cookie_and_ours_are_asked_about_together_every_time(asker: Asker) -> None:
    kept = dict(asker.browser.cookies)
    assert (await asker.ask("/annuaire")).status == 200
    try:
        asker.browser.cookies = kept | {"sid": "of-somebody-else"}
        assert (await asker.ask("/annuaire")).status == 303
        asker.browser.cookies = {name: value for name, value in kept.items() if name != "sid"}
        assert (await asker.ask("/annuaire")).status == 303
    finally:
        asker.browser.cookies = kept
    assert (await asker.ask("/annuaire")).status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [("/export.csv.bak", 400), ("/dossiers/1001", 503), ("/login", 503), ("/admin/x", 403)],
)
async def test_another_address_is_not_taken_for_the_one_that_passed(
    asker: Asker, target: str, status: int
) -> None:
    """The lines are the same; the door is not, or is not plainly reached."""
    assert (await asker.ask("/quelconque")).status == 200
    assert (await asker.ask(target)).status == status
    assert (await asker.ask("/quelconque", method="POST")).status == 503
    assert (await asker.ask("/quelconque", ("content-length", "5"))).status == 400


async def test_another_policy_decides_anew(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    services = asker.gate.services
    assert (await asker.ask("/annuaire")).status == 200
    path = asker.gate.folder / "ecluse.yaml"
    text = path.read_text("utf-8")
    try:
        path.write_text(
            text.replace("{kind: page, name: directory", "{inspect: true, kind: page, name: directory")
        )
        assert path.read_text("utf-8") != text
        monkeypatch.setattr(services, "policy", load(path).policy)
        assert (await asker.ask("/annuaire")).status == 503
        assert (await asker.ask("/quelconque")).status == 200
    finally:
        path.write_text(text, "utf-8")
    monkeypatch.undo()
    assert (await asker.ask("/annuaire")).status == 200
    monkeypatch.setattr(services, "stopping", True)
    assert (await asker.ask("/annuaire")).status == 503


async def test_what_time_changes_is_not_taken_again(asker: Asker) -> None:
    clock = asker.gate.services.clock
    assert isinstance(clock, Shifted)
    first = (await asker.ask("/annuaire")).headers["x-ecluse-assertion"]
    try:
        clock.by_ms += 31_000
        second = (await asker.ask("/annuaire")).headers["x-ecluse-assertion"]
        issued = [jwt.decode(one, options={"verify_signature": False})["iat"] for one in (first, second)]
        assert issued[1] - issued[0] >= 30
        # The cookie has expired, though the store, whose clock stands still here, still knows the session.
        clock.by_ms += 13 * 3_600_000
        assert (await asker.ask("/annuaire")).status == 303
        clock.by_ms = -3_600_000
        assert (await asker.ask("/annuaire")).status == 200
    finally:
        clock.by_ms = 0


async def test_a_door_fits_only_when_nothing_is_amiss_with_it(asker: Asker) -> None:
    assert (await asker.ask("/quelconque")).status == 200
    repeats = [repeat for one in asker.service._askers.values() for repeat in one.asker.repeats.values()]
    repeat = next(one for one in repeats if one.route.name == "rest")
    match = RouteMatch(RouteKind.PAGE, repeat.route)
    assert repeat.fits(match)
    for other in (
        msgspec.structs.replace(match, alias=True),
        msgspec.structs.replace(match, unknown_method=True),
        msgspec.structs.replace(match, route=None),
        msgspec.structs.replace(match, route=replace(repeat.route)),
    ):
        assert not repeat.fits(other)


async def test_a_store_that_lost_its_functions_gets_them_back(asker: Asker) -> None:
    for _ in range(2):
        assert (await asker.ask("/annuaire")).status == 200
    await asker.gate.services.store.execute("FUNCTION", "FLUSH")
    assert (await asker.ask("/annuaire")).status == 200


async def test_a_page_and_all_that_belongs_to_it_asks_at_once_and_is_counted_whole(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their addresses and lines, a session's questions of one moment are one call, by so many."""
    await asker.gate.enrol(CLERK_LEA, "burst")
    lea = Asker(asker.gate, asker.service, await asker.gate.log_in(CLERK_LEA))
    doors = ["/annuaire", "/quelconque"]
    lines = [("accept-language", "fr"), ("accept-language", "en")]
    for line in lines:
        for door in doors:
            assert (await lea.ask(door, line)).status == 200
    began_s, link, left = time.monotonic(), asker.gate.services.store._link, []
    put = link.put

    def noted(call: Call) -> None:
        left.append(b"ecluse_enter" in call.words())
        put(call)

    with monkeypatch.context() as patch:
        patch.setattr(link, "put", noted)
        answers = await asyncio.gather(*(lea.ask(door, line) for line in lines for door in doors * 4))
    assert ([got.status for got in answers], sum(left)) == ([200] * 16, 1)
    # Sixteen were spent by that call, and a few by the login: the bound is met to the request.
    answers = await asyncio.gather(*(lea.ask("/annuaire", lines[0]) for _ in range(60)))
    passed = [got.status for got in answers].count(200)
    assert [got.status for got in answers].count(429) == 60 - passed
    assert 50 - 16 - 12 <= passed <= 50 - 16 + (time.monotonic() - began_s) * 5


@pytest.mark.parametrize(
    "fault", [StoreUnavailable("gone"), ConnectionResetError()], ids=["known", "unforeseen"]
)
async def test_what_the_store_does_not_say_passes_nobody(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """A question that was put before its store failed is refused, and is not put a second time."""
    for _ in range(2):
        assert (await asker.ask("/annuaire")).status == 200
    times = 0

    def join(prepared: Prepared, began_s: float, listener: Listener) -> None:
        nonlocal times
        times += 1
        listener(fault)

    with monkeypatch.context() as patch:
        patch.setattr(asker.gate.services.store, "join", join)
        got = await asker.ask("/annuaire")
    assert (got.status, times) == (503, 1)
    assert (await asker.ask("/annuaire")).status == 200
