"""The edge check itself, without a front proxy: whom it believes, and what it lets nobody pass."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from gateway.edge.check import Check
from gateway.edge.service import ANSWER, BRIEF, CHECK, Service
from gateway.edge.wire import Answer, Coming
from gateway.engine import Engine
from gateway.ingress import Fields
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from tests.people import DR_MARTIN
from tests.stand import HOST, Browser, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "s" * 40


@dataclass(frozen=True)
class Said:
    """What the check answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Asker:
    """The front proxy, asking about the requests of one browser."""

    def __init__(self, gate: Stand, service: Service, browser: Browser) -> None:
        self.gate, self.service, self.browser = gate, service, browser

    async def ask(
        self, target: str, *lines: tuple[str, str], method: str = "GET", path: str = CHECK, **told: str
    ) -> Said:
        said = {
            "x-ecluse-front": SECRET,
            "x-forwarded-method": method,
            "x-forwarded-uri": target,
            "x-forwarded-host": told.get("host", HOST),
            "x-forwarded-proto": "https",
            "x-forwarded-for": told.get("address", "192.0.2.9"),
            "accept": "text/html",
        }
        if self.browser.cookies:
            said["cookie"] = "; ".join(f"{name}={value}" for name, value in self.browser.cookies.items())
        named = {name for name, _ in lines}
        kept = [(name, value) for name, value in said.items() if name not in named]
        return await self.raw(path, tuple((n.encode(), v.encode("latin-1")) for n, v in [*kept, *lines]))

    async def raw(self, path: str, fields: Fields) -> Said:
        lines = [b"GET %b HTTP/1.1" % path.encode(), *(b"%b: %b" % line for line in fields), b"", b""]
        answer, _ = await self._answered(b"\r\n".join(lines))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *rest = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest)
        return Said(int(status.split(" ")[1]), headers, body)

    async def _answered(self, head: bytes) -> Answer:
        """Ask as a connection does: quickly where the question was put before."""
        told: asyncio.Future[Answer | Coming] = asyncio.get_running_loop().create_future()
        if not self.service.hasten(head, told.set_result):
            return await self.service.respond(head, ("127.0.0.1", 4711))
        answer = await told
        return answer if isinstance(answer, tuple) else await answer

    async def refusals(self) -> list[dict[str, Any]]:
        return await self.gate.events("refused")


def _changed(config: dict[str, Any]) -> None:
    app = config["apps"]["parcours"]
    app["routes"] += [
        {"name": "kept", "kind": "page", "path": "/garde", "inspect": True},
        {"name": "socket", "kind": "page", "path": "/ws", "websocket": True},
        {"name": "by-query", "kind": "page", "path": "/vue", "when": {"query": {"v": "1"}}},
        {"name": "fresh", "kind": "page", "path": "/reglages", "step_up": "always"},
    ]
    app["login"].append(
        {
            "name": "anywhere",
            "methods": ["GET", "POST"],
            "when": {"query": {"u": {"present": True}}},
            "account": {"query": "u"},
            "success": {"status": 302},
        }
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asker]:
    async with stand(tmp_path_factory.mktemp("edge"), changes=_changed) as gate:
        browser = await gate.log_in(DR_MARTIN)
        yield Asker(gate, Service(Check(Engine(gate.services)), SECRET.encode()), browser)


@pytest.mark.parametrize("agent", ["GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0"])
async def test_no_agent_is_waved_through(asker: Asker, agent: str) -> None:
    """C09: the check asks everybody for a session, whatever he calls himself."""
    stranger = Asker(asker.gate, asker.service, asker.gate.browser())
    for target in ("/annuaire", "/", "/healthz", "/ping"):
        assert (await stranger.ask(target, ("user-agent", agent))).status in {303, 403, 503}
    assert (await asker.ask("/annuaire", ("user-agent", agent))).status == 200


async def test_a_page_passes_with_the_credentials_of_its_session_alone(asker: Asker) -> None:
    got = await asker.ask("/annuaire?x=1", ("authorization", "Bearer stolen"))
    assert (got.status, got.body) == (200, b"")
    assert got.headers["cookie"] == f"sid={asker.browser.cookies['sid']}"
    assert got.headers["x-ecluse-assertion"].count(".") == 2
    assert "authorization" not in got.headers
    assert got.headers["x-envoy-auth-headers-to-remove"] == "authorization"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/dossiers/1001"),
        ("HEAD", "/dossiers/1001"),
        ("GET", "/DOSSIERS/1001/"),
        ("GET", "/dossiers"),
        ("GET", "/api/dossiers?start=1001"),
        ("GET", "/export.csv"),
        ("GET", "/login"),
        ("GET", "/logout"),
        ("POST", "/login"),
        ("POST", "/annuaire"),
        ("PUT", "/annuaire"),
        ("DELETE", "/dossiers/1001"),
        ("GET", "/.ecluse/code"),
        ("GET", "/garde"),
        ("GET", "/ws"),
        ("GET", "/vue?v=1"),
        ("GET", "/annuaire?u=dr.martin&p=x"),
    ],
)
async def test_what_the_inspector_has_to_see_is_refused_and_told(
    asker: Asker, method: str, target: str
) -> None:
    before = len(await asker.refusals())
    got = await asker.ask(target, method=method)
    assert got.status == 503, got
    told = (await asker.refusals())[before:]
    assert [(entry["reason"], entry["status"], entry["client"]) for entry in told] == [
        ("misrouted", 503, "192.0.2.9")
    ]


@pytest.mark.parametrize(
    ("target", "lines", "status", "reason"),
    [
        ("/admin/x", (), 403, "route-blocked"),
        ("/nobody/knows", (), 403, "route-blocked"),
        ("/annuaire", (("x-forwarded-host", "autre.example"),), 421, "unknown-host"),
        ("/annuaire", (("x-forwarded-host", "app.example, b"),), 400, "malformed-request"),
        ("//annuaire", (), 400, "malformed-request"),
        ("/static/../dossiers/1001", (), 400, "malformed-request"),
        ("/annuaire%2f..%2fdossiers", (), 400, "malformed-request"),
        ("http://autre.example/annuaire", (), 400, "malformed-request"),
        ("/annuaire", (("content-length", "5"),), 400, "malformed-request"),
        ("/annuaire", (("transfer-encoding", "chunked"),), 400, "malformed-request"),
        ("/annuaire", (("upgrade", "websocket"),), 400, "malformed-request"),
        ("/annuaire", (("x-forwarded-for", "192.0.2.9, 192.0.2.1"),), 400, "malformed-request"),
        ("/annuaire", (("x-forwarded-method", "TRACE"),), 405, "malformed-request"),
        ("/annuaire", (("x-forwarded-method", "BREW"),), 405, "unknown-method"),
        ("/annuaire", (("x-original-url", "/dossiers/1001"),), 400, "malformed-request"),
        ("/annuaire", (("x_ecluse_assertion", "forged"),), 400, "malformed-request"),
        (
            "/annuaire",
            (("x-forwarded-uri", "/static/x"), ("x-forwarded-uri", "/annuaire")),
            400,
            "malformed-request",
        ),
    ],
)
async def test_what_is_refused_whoever_asks(
    asker: Asker, target: str, lines: tuple[tuple[str, str], ...], status: int, reason: str
) -> None:
    """C08 D01 D08 The description that a proxy gives is read as strictly as a request."""
    before = len(await asker.refusals())
    got = await asker.ask(target, *lines)
    assert got.status == status, got
    assert "cookie" not in got.headers
    assert [entry["reason"] for entry in (await asker.refusals())[before:]] == [reason]


@pytest.mark.parametrize(
    "lines",
    [
        (("x-ecluse-front", "wrong"),),
        (("x-ecluse-front", ""),),
        (("x-ecluse-front", SECRET), ("x-ecluse-front", SECRET)),
        (("x-ecluse-front", SECRET[:-1]),),
    ],
)
@pytest.mark.parametrize("path", [CHECK, BRIEF, ANSWER, "/other"])
async def test_nobody_but_the_front_proxy_is_answered(
    asker: Asker, path: str, lines: tuple[tuple[str, str], ...]
) -> None:
    """C08 Whoever reaches the check without the secret is told nothing."""
    before = len(await asker.refusals())
    got = await asker.ask("/annuaire", *lines, path=path)
    assert (got.status, got.body, set(got.headers)) == (403, b"", {"content-length"})
    assert len(await asker.refusals()) == before + 1


async def test_nginx_gets_a_status_and_fetches_the_page(asker: Asker) -> None:
    """What is fetched is what another proxy would have been given at once; nothing is decided a second time."""
    assert (await asker.ask("/annuaire", path=BRIEF)).status == 200
    before = len(await asker.refusals())
    brief = await asker.ask("/admin/x", path=BRIEF)
    assert (brief.status, brief.body) == (403, b"")
    assert len(brief.headers["x-ecluse-answer"]) < 8_000
    own = ("x-ecluse-front", SECRET), ("x-ecluse-answer", brief.headers["x-ecluse-answer"])
    answer = await asker.raw(ANSWER, tuple((name.encode(), value.encode()) for name, value in own))
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "cache-control" in answer.headers
    assert b"<html" in answer.body
    assert len(await asker.refusals()) == before + 1
    forged = own[0], ("x-ecluse-answer", brief.headers["x-ecluse-answer"][:-6] + "AAAAAA")
    assert (await asker.raw(ANSWER, tuple((n.encode(), v.encode()) for n, v in forged))).status == 503
    assert (await asker.raw(ANSWER, ((b"x-ecluse-front", SECRET.encode()),))).status == 503


async def test_strangers_and_half_sessions_are_led_on(asker: Asker) -> None:
    kept = dict(asker.browser.cookies)
    try:
        for gone in ("sid", "__Host-ecluse"):
            asker.browser.cookies = {name: value for name, value in kept.items() if name != gone}
            got = await asker.ask("/annuaire")
            assert (got.status, got.headers["location"].partition("?")[0]) == (303, "/login")
        got = await asker.ask("/annuaire", ("accept", "application/json"))
        assert (got.status, json.loads(got.body)["status"]) == (401, 401)
    finally:
        asker.browser.cookies = kept
    # A fresh code is owed at this door, and given at the inspector's.
    got = await asker.ask("/reglages")
    assert (got.status, got.headers["location"].partition("?")[0]) == (303, "/.ecluse/step-up")


async def test_a_public_file_takes_no_identity_along(asker: Asker) -> None:
    got = await asker.ask("/static/app.css", ("authorization", "Bearer eDp5"))
    assert got.status == 200
    assert not {"cookie", "authorization", "x-ecluse-assertion"} & got.headers.keys()
    assert got.headers["x-envoy-auth-headers-to-remove"] == "cookie,authorization,x-ecluse-assertion"


async def test_a_fault_or_a_store_that_is_down_lets_nothing_pass(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A01 A08 A10 Whatever fails within, what leaves is a refusal; even when it cannot be told."""
    store = asker.gate.services.store

    def failing(error: Exception) -> Callable[..., Awaitable[object]]:
        async def call(*_: object) -> object:
            raise error

        return call

    failures: tuple[tuple[Exception, str, str], ...] = (
        (StoreUnavailable("down"), "refused", "store-down"),
        (StoreEmptied("emptied"), "refused", "store-emptied"),
        (RuntimeError("bug"), "fail-closed", "fault"),
    )
    for error, kind, reason in failures:
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "ask", failing(error))
            got = await asker.ask("/annuaire")
        assert got.status == 503
        assert (await asker.gate.events(kind))[-1]["reason"] == reason
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "begin", None)
        patch.setattr(Engine, "faulted", None)
        got = await asker.ask("/annuaire", ("accept-language", "fr-FR"))
    assert (got.status, b"indisponible" in got.body) == (503, True)
    assert (await asker.ask("/annuaire")).status == 200
    asker.gate.services.stopping = True
    try:
        assert (await asker.ask("/annuaire")).status == 503
    finally:
        asker.gate.services.stopping = False
