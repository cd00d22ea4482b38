"""Framing and smuggling at the whole gateway: what is refused goes nowhere, and the log tells from where it came."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attacks.harness import hang_up
from tests.attacks.test_facts_about_mitmproxy import AMBIGUOUS, LARGE
from tests.attacks.test_framing import REFUSED
from tests.attacks.witness import attempt
from tests.stand import HOST, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("framing")) as running:
        yield running


@pytest.mark.parametrize(
    "request_bytes",
    [pytest.param(each.values[0], id=each.id) for each in (*REFUSED, *AMBIGUOUS)],
)
async def test_what_has_two_readings_is_refused_and_told(gate: Stand, request_bytes: bytes) -> None:
    """B01 B02 B03 B04 B05 B06 B07 B08 B09 B10 B11 B12 B13 B14 B16: one answer, no byte upstream, told."""
    outcome = await attempt(gate, request_bytes.replace(b"app.example", HOST.encode()))
    assert outcome.status in {400, 405, 413}
    assert outcome.answer.raw.count(b"HTTP/1.1 ") == 1
    assert outcome.app_bytes == b""
    # A good head may be refused for its address first; that its body broke off on the wire is told as well.
    *_, event = outcome.events
    assert (event["kind"], event["status"], event["client"]) == ("refused", outcome.status, "127.0.0.1")
    assert event["reason"] in {"malformed-request", "unknown-method"}
    assert len(event["request_id"]) == 32
    assert {each["kind"] for each in outcome.events} == {"refused"}


@pytest.mark.parametrize(
    ("request_bytes", "status"), [pytest.param(*each.values, id=each.id) for each in LARGE]
)
async def test_what_is_too_large_is_refused_and_told(gate: Stand, request_bytes: bytes, status: int) -> None:
    """B19: a head or an address of a megabyte ends at its bound."""
    outcome = await attempt(gate, request_bytes.replace(b"app.example", HOST.encode()))
    assert (outcome.status, outcome.app_bytes) == (status, b"")
    event = outcome.event
    assert (event["kind"], event["reason"], event["status"]) == ("refused", "malformed-request", status)
