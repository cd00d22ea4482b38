"""An app that records, and the tiny guard's door in front of it."""

from collections.abc import AsyncIterator

import pytest

from gateway.policy.policy import Upstream
from tests.attacks.harness import Door, RecordingUpstream, TinyGuard, hang_up, policy_for


@pytest.fixture(autouse=True)
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest.fixture
async def app() -> AsyncIterator[RecordingUpstream]:
    async with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(app: RecordingUpstream) -> Upstream:
    return Upstream("http", "127.0.0.1", app.port)


@pytest.fixture
def guard(upstream: Upstream) -> TinyGuard:
    return TinyGuard(policy_for(upstream))


@pytest.fixture
async def door(guard: TinyGuard, upstream: Upstream) -> AsyncIterator[Door]:
    async with Door([guard], [upstream]) as open_door:
        yield open_door
