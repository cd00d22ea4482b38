"""An app that records, and the tiny guard's door in front of it; and people whom no test of a module has used yet."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.accounts import recovery
from gateway.engine import factor_pages
from gateway.policy.policy import Upstream
from tests.attacks.factor import crowd
from tests.attacks.harness import Door, RecordingUpstream, TinyGuard, hang_up, policy_for
from tests.people import Person


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


@pytest.fixture(scope="module")
def people() -> Iterator[Person]:
    return crowd()


@pytest.fixture
def person(people: Iterator[Person]) -> Person:
    return next(people)


@pytest.fixture(scope="module")
def cheap_hashes() -> Iterator[None]:
    """Recovery codes cost as little as they may: what they are worth is tried elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factor_pages, "HASH_COST", recovery.CHEAPEST)
        yield
