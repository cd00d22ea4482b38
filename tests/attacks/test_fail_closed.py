"""Whatever breaks, nothing passes: faults of ours, uploads that outrun the verdict, clients and apps that hang up."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

import gateway.engine
from addons.guard import Guard
from gateway.engine import Engine
from tests.attacks.harness import Answered, RawClient, hang_up
from tests.attacks.witness import LAVISH, Outcome, assert_refused, attempt, detail, raw, told
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import MiniApp, Said, Seen, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = b"Patient1001"
MAX_REQUEST_BYTES = 200_000
_patients = itertools.count(2_001)


class FaultyApp(MiniApp):
    """An app that answers records with whatever the test wants."""

    said: Said | None = None

    def __call__(self, seen: Seen) -> Said:
        if self.said is not None and seen.path.startswith(("/dossiers", "/fichier")):
            return self.said
        if seen.path == "/fichier":
            return Said(body=b"\0" * 100_000, type="application/octet-stream")
        if seen.path == "/notes":
            return Said(body=f"note de {len(seen.body)} octets")
        return super().__call__(seen)


APP = FaultyApp()


def _config(config: dict[str, Any]) -> None:
    config["gateway"]["max_request_bytes"] = MAX_REQUEST_BYTES
    config["realms"]["region"] = {
        "classes": {"standard": dict(LAVISH), "narrow": {**LAVISH, "patients_10min": 3, "listed_weight": 1}}
    }
    config["apps"]["parcours"]["routes"] += [
        {"name": "file", "kind": "page", "path": "/fichier", "stream": True},
        {"name": "notes", "kind": "page", "path": "/notes"},
    ]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _sockets() -> AsyncIterator[None]:
    yield
    APP.said = None
    await hang_up()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("closed"), APP, _config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(gate: Stand) -> dict[str, str]:
    return (await gate.log_in(DR_MARTIN)).cookies


@pytest.fixture
def engine(gate: Stand) -> Iterator[Engine]:
    """Return the engine of *gate*; what a test hangs onto it is taken off again."""
    guard = next(addon for addon in gate.master.addons.chain if isinstance(addon, Guard))
    yield guard.engine
    for name in list(vars(guard.engine)):
        if name != "services":
            delattr(guard.engine, name)


def failing(error: BaseException) -> Callable[..., Any]:
    """Return a function, good for sync and async use alike, that raises *error*."""

    def boom(*args: object, **options: object) -> Any:
        raise error

    return boom


def assert_ours(outcome: Outcome, status: int) -> None:
    """Assert that *outcome* is a whole page of ours, without a byte of the app or a word of mitmproxy's."""
    head, _, body = outcome.answer.raw.partition(b"\r\n\r\n")
    assert outcome.status == status, outcome.answer.raw[:500]
    assert SECRET not in outcome.answer.raw
    assert b"content-length: %d" % len(body) in head.lower()
    for word in (b"mitmproxy", b"Traceback", b"127.0.0.1"):
        assert word.lower() not in outcome.answer.raw.lower()


# A01: an exception in any hook.

ERRORS = [KeyError("boom"), RecursionError("boom"), asyncio.CancelledError(), ValueError("boom")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", ["begin", "on_request"])
async def test_a_fault_before_the_app_was_asked(
    gate: Stand, cookies: dict[str, str], engine: Engine, step: str, error: BaseException
) -> None:
    """A01: 503, nothing upstream, fail-closed in the log with where it was; the next request is served."""
    # Naive: mitmproxy logs the exception and forwards the request.
    setattr(engine, step, failing(error))
    outcome = await attempt(gate, raw(cookies=cookies))
    assert_ours(outcome, 503)
    assert outcome.app_bytes == b""
    event = outcome.event
    assert (event["kind"], event["reason"], event["status"]) == ("fail-closed", "fault", 503)
    assert (detail(event, "where") or "").startswith("requestheaders:")
    delattr(engine, step)
    assert (await attempt(gate, raw(cookies=cookies))).status == 200


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", ["body_plan", "on_response"])
async def test_a_fault_while_the_app_answers(
    gate: Stand, cookies: dict[str, str], engine: Engine, step: str, error: BaseException
) -> None:
    """A01: the app has answered, and nothing of its answer leaves."""
    setattr(engine, step, failing(error))
    # Records are held back without asking for a plan, so that fault is tried on a page.
    target, route = ("/", "home") if step == "body_plan" else ("/dossiers/1001", "record")
    outcome = await attempt(gate, raw(target=target, cookies=cookies))
    assert_ours(outcome, 503)
    assert b"Bonjour" not in outcome.answer.raw
    assert len(outcome.requests) == 1
    event = outcome.event
    assert (event["kind"], event["account"], event["route"]) == ("fail-closed", "dr.martin", route)


async def test_a_fault_with_a_posted_body(gate: Stand, cookies: dict[str, str], engine: Engine) -> None:
    """A01: the same where the decision needed the body."""
    original, calls = engine.on_request, 0

    async def second_time(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("boom")
        return await original(*args, **options)

    engine.on_request = second_time  # type: ignore[method-assign]
    form = b"user=dr.martin&password=x"
    kind = "Content-Type: application/x-www-form-urlencoded"
    outcome = await attempt(gate, raw("POST", "/login", kind, body=form))
    assert calls == 2
    assert_ours(outcome, 503)
    assert outcome.app_bytes == b""
    assert (detail(outcome.event, "where") or "").startswith("request:")


@pytest.mark.parametrize("step", ["on_request", "on_response", "body_plan"])
async def test_a_fault_of_the_fault_page(
    gate: Stand, cookies: dict[str, str], engine: Engine, step: str
) -> None:
    """A01: when even the refusal fails, the page without any room's help leaves."""
    setattr(engine, step, failing(KeyError("boom")))
    engine.faulted = failing(KeyError("again"))  # type: ignore[method-assign]
    assert_ours(await attempt(gate, raw(target="/", cookies=cookies)), 503)


async def test_a_fault_before_there_is_an_exchange(
    gate: Stand, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A01: no request id, no name, but the log knows that something was shut."""
    monkeypatch.setattr(gateway.engine, "admit", failing(KeyError("boom")))
    outcome = await attempt(gate, raw(cookies=cookies))
    assert_ours(outcome, 503)
    assert outcome.app_bytes == b""
    assert (outcome.event["kind"], outcome.event["reason"]) == ("fail-closed", "fault")


# A02 to A04: uploads that outrun the verdict.


@pytest.mark.parametrize("target", ["/dossiers/1001", "/", "/admin/x", "/nulle-part"])
async def test_an_upload_without_session(gate: Stand, target: str) -> None:
    """A02 A03: refused on its head, before its body, and before the app sees a byte."""
    # Naive: over stream_large_bodies the request hook fires after the body has gone upstream.
    head = raw("POST", target, "Content-Length: 150000").replace(b"Content-Length: 0\r\n", b"")
    outcome = await attempt(gate, head, patience_s=3)
    assert outcome.status in {401, 403}, outcome.answer.raw[:300]
    assert outcome.app_bytes == b""
    told_as = {401: ("challenged", "no-session"), 403: ("refused", "route-blocked")}[outcome.status]
    assert (outcome.event["kind"], outcome.event["reason"]) == told_as
    whole = await attempt(gate, head + b"x" * 150_000)
    assert whole.status == outcome.status
    assert whole.app_bytes == b""


async def test_a_chunked_upload_that_grows(gate: Stand, cookies: dict[str, str]) -> None:
    """A04: no length, no end: refused at once without session, and at the bound with one."""
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    for jar, statuses in (({}, {401}), (cookies, {413})):
        head = raw("POST", "/notes", "Transfer-Encoding: chunked", cookies=jar)
        head = head.replace(b"Content-Length: 0\r\n", b"")
        outcome = await attempt(gate, head, *([chunk] * 16))
        assert outcome.status in statuses, outcome.answer.raw[:300]
        assert outcome.app_bytes == b""
        assert (outcome.event["status"], outcome.event["client"]) == (outcome.status, "127.0.0.1")


async def test_an_honest_upload(gate: Stand, cookies: dict[str, str]) -> None:
    """The neighbour: an upload under the bound arrives whole."""
    outcome = await attempt(gate, raw("POST", "/notes", cookies=cookies, body=b"x" * 150_000))
    assert outcome.status == 200
    assert outcome.answer.raw.endswith(b"note de 150000 octets")


# A05, A06: what is withheld is withheld whole.


async def test_a_cap_met_by_an_answer(gate: Stand) -> None:
    """A05 A06: the client gets our page alone, and none of the app's bytes, in however many pieces they come."""
    # Naive: flow.response set in responseheaders sends our head followed by the app's whole body.
    await gate.enrol(NURSE_BEN, "narrow")
    jar = (await gate.log_in(NURSE_BEN)).cookies
    rows = "".join(f'<tr data-id="{number}"><td>Patient1001</td></tr>' for number in range(1001, 1011))
    page = f"<table>{rows}</table>".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (page[:99], page[99:]))
    for said in (Said(body=page), Said(raw=head + chunks + b"0\r\n\r\n")):
        APP.said = said
        outcome = await attempt(gate, raw(target="/dossiers", cookies=jar))
        assert_ours(outcome, 429)
        assert len(outcome.requests) == 1
        event = outcome.event
        assert (event["kind"], event["reason"], event["control"]) == ("withheld", "cap", "patients-10min")
        assert event["reference"].encode() in outcome.answer.raw


# A07: a fault while an answer streams.


async def test_a_fault_inside_a_stream(gate: Stand, cookies: dict[str, str], engine: Engine) -> None:
    """A07: cut at once: the client sees an incomplete message and does not wait, and the log tells the fault."""
    # Naive: an exception in a stream callable leaves the client hanging.
    engine.piece_may_leave = failing(KeyError("boom"))  # type: ignore[method-assign]
    before = len(await told(gate))
    client = await RawClient.open(gate.port)
    await client.send(raw(target="/fichier", cookies=cookies))
    answered = await client.rest(3)
    assert answered.closed
    assert answered.raw.partition(b"\r\n\r\n")[2] == b""
    begun, event = (await told(gate))[before:]
    assert (begun["kind"], begun["request_id"]) == ("access", event["request_id"])
    assert (event["kind"], event["reason"], event["account"]) == ("fail-closed", "fault", "dr.martin")
    assert (event["route"], detail(event, "where")) == ("file", "stream:KeyError")


# A13: the client hangs up while we think.


async def test_a_client_that_leaves_before_the_verdict(
    gate: Stand, cookies: dict[str, str], engine: Engine
) -> None:
    """A13: nobody waits for the answer, so nobody is asked."""
    original, asked, go_on = engine.on_request, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        try:
            return await original(*args, **options)
        finally:
            done.set()

    done = asyncio.Event()
    engine.on_request = slowly  # type: ignore[method-assign]
    before, told_before = len(gate.app.bytes), len(await told(gate))
    client = await RawClient.open(gate.port)
    await client.send(raw(cookies=cookies))
    await asked.wait()
    client.writer.transport.abort()
    await asyncio.sleep(0.05)
    go_on.set()
    await done.wait()
    await asyncio.sleep(0.1)
    assert len(gate.app.bytes) == before
    # Nothing was shown and nobody was turned away: there is nothing to tell, and nothing is told.
    assert (await told(gate))[told_before:] == []


async def test_a_client_that_leaves_before_the_answer(
    gate: Stand, cookies: dict[str, str], engine: Engine
) -> None:
    """A13: what was charged is recorded once, and nothing lingers; the next client is served."""
    original, asked, go_on = engine.on_response, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await original(*args, **options)

    engine.on_response = slowly  # type: ignore[method-assign]
    before, number = len(await told(gate)), next(_patients)
    charged = f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:opened"
    charged_before = await gate.services.store.execute("ZCARD", charged)
    client = await RawClient.open(gate.port)
    await client.send(raw(target=f"/dossiers/{number}", cookies=cookies))
    await asked.wait()
    client.writer.transport.abort()
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.sleep(0.1)
    (event,) = (await told(gate))[before:]
    assert (event["kind"], len(event["patients"])) == ("access", 1)
    assert await gate.services.store.execute("ZCARD", charged) == charged_before + 1
    del engine.on_response  # type: ignore[method-assign]
    assert (await attempt(gate, raw(cookies=cookies))).status == 200


# A14, A15: the app hangs up, breaks off or talks nonsense.


async def _hang_up_at_the_next_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65_536)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_idle_connection_that_the_app_drops(
    gate: Stand, cookies: dict[str, str], method: str
) -> None:
    """A14: a request on a connection the app has left is a clean 502, and is never sent twice."""
    good = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
    APP.said = Said(raw=good, then=_hang_up_at_the_next_request)
    client = await RawClient.open(gate.port)
    await client.send(raw(target="/dossiers/1001", cookies=cookies))
    assert (await client.answer()).status == 200
    before, told_before, seen_before = len(gate.app.bytes), len(await told(gate)), len(gate.app.seen)
    await client.send(raw(method, "/notes", cookies=cookies, body=b"texte" if method == "POST" else b""))
    answered = await client.answer()
    assert answered.status == 502
    assert b"mitmproxy" not in answered.raw
    assert len(gate.app.bytes) == before
    assert len(gate.app.seen) == seen_before
    (event,) = (await told(gate))[told_before:]
    assert (event["kind"], event["reason"]) == ("withheld", "upstream-down")


async def test_a_connection_that_the_app_closed_between_two_requests(
    gate: Stand, cookies: dict[str, str]
) -> None:
    """A14: a closed connection is noticed and the next request opens another."""
    good = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
    APP.said = Said(raw=good)
    client = await RawClient.open(gate.port)
    for _ in range(3):
        await client.send(raw(target="/dossiers/1001", cookies=cookies))
        assert (await client.answer()).status == 200
        await asyncio.sleep(0.03)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
NONSENSE = {
    "nothing": b"",
    "no-http": b"bonjour Patient1001\r\n\r\n",
    "no-status": b"HTTP/1.1 Patient1001\r\n\r\n",
    "nul-in-head": OK + b"X: a\x00b\r\nContent-Length: 11\r\n\r\nPatient1001",
    "huge-head": OK + b"X: " + b"a" * 200_000 + b"\r\nContent-Length: 11\r\n\r\nPatient1001",
    "two-lengths": OK + b"Content-Length: 11\r\nContent-Length: 5\r\n\r\nPatient1001",
    "bad-length": OK + b"Content-Length: -5\r\n\r\nPatient1001",
    "bad-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nPatient1001\r\n0\r\n\r\n",
    "half-a-head": OK,
    "half-a-body": OK + b"Content-Length: 900\r\n\r\nPatient1001",
    "half-a-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nPatient1001",
    "no-last-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nb\r\nPatient1001\r\n",
}


@pytest.mark.parametrize("sent", NONSENSE.values(), ids=NONSENSE.keys())
async def test_an_app_that_talks_nonsense(gate: Stand, cookies: dict[str, str], sent: bytes) -> None:
    """A15: a calm 502, never half a record with a right length; the log says that nothing was shown."""
    # Naive: mitmproxy's page tells its version, the error and the app's address.
    APP.said = Said(raw=sent)
    outcome = await attempt(gate, raw(cookies=cookies))
    assert_ours(outcome, 502)
    event = outcome.event
    assert (event["kind"], event["reason"], event["status"]) == ("withheld", "upstream-down", 502)
    assert (event["account"], event["route"], event["app"]) == ("dr.martin", "record", "parcours")


async def test_an_app_that_breaks_off_a_stream(gate: Stand, cookies: dict[str, str]) -> None:
    """A15: what was streamed is seen to be incomplete, and the log tells that it was."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nContent-Length: 100000\r\n\r\n"
    APP.said = Said(raw=head + b"x" * 500)
    before = len(await told(gate))
    client = await RawClient.open(gate.port)
    await client.send(raw(target="/fichier", cookies=cookies))
    answered: Answered = await client.rest(3)
    assert answered.closed
    assert answered.status == 200
    assert len(answered.raw.partition(b"\r\n\r\n")[2]) <= 500
    begun, event = (await told(gate))[before:]
    assert (begun["kind"], begun["request_id"]) == ("access", event["request_id"])
    assert (event["kind"], event["reason"], event["route"]) == ("stream-cut", "upstream-down", "file")


async def test_an_app_that_never_answers(gate: Stand, cookies: dict[str, str]) -> None:
    """A15: 504 of ours after a while, and the log knows whose request it was."""
    APP.said = Said(raw=b"", then=_hang_up_at_the_next_request)
    bounds = gate.master.wire.bounds
    gate.master.wire.bounds = replace(bounds, head_timeout_s=0.2, answer_timeout_s=0.2)
    try:
        outcome = await attempt(gate, raw(cookies=cookies))
    finally:
        gate.master.wire.bounds = bounds
    assert_ours(outcome, 504)
    event = outcome.event
    assert (event["kind"], event["reason"], event["account"]) == ("withheld", "upstream-down", "dr.martin")


async def test_an_answer_too_large_to_read(gate: Stand, cookies: dict[str, str]) -> None:
    """A15: what cannot be held back whole is given up, and called uninspectable."""
    APP.said = Said(body=SECRET * 10_000)
    bounds = gate.master.wire.bounds
    gate.master.wire.bounds = replace(bounds, max_response_bytes=50_000)
    try:
        outcome = await attempt(gate, raw(cookies=cookies))
    finally:
        gate.master.wire.bounds = bounds
    assert_ours(outcome, 502)
    assert (outcome.event["kind"], outcome.event["reason"]) == ("withheld", "uninspectable")


async def test_an_app_that_is_not_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    """O09, A15: 502 of ours without address or version, recorded; strangers' and public doors too."""
    async with stand(tmp_path_factory.mktemp("away"), MiniApp()) as alone:
        jar = (await alone.log_in(DR_MARTIN)).cookies
        await alone.app.__aexit__(None, None, None)
        for request in (raw(cookies=jar), raw(target="/login"), raw(target="/static/x.css")):
            outcome = await attempt(alone, request)
            assert_ours(outcome, 502)
            event = outcome.event
            assert (event["kind"], event["reason"]) == ("withheld", "upstream-down")
        assert_refused(await attempt(alone, raw(host="autre.example")), 421, "unknown-host")
