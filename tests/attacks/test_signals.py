"""Correlation, anomalies and decoys (L01 to L08), against whoever is let in by password and code."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.attacks.factor import about, crowd, crowded
from tests.people import Person
from tests.stand import Stand

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("signals")) as running:
        yield running


@pytest.fixture(scope="module")
def people() -> Iterator[Person]:
    return crowd()


@pytest.mark.parametrize(
    ("numbers", "walk"),
    [
        (range(1001, 1011), "ascending"),
        (range(1010, 1000, -1), "descending"),
        (range(1001, 1071, 7), "strided"),
        ((1003, 1001, 1004, 1002, 1007, 1005, 1008, 1006, 1009, 1010), "block"),
    ],
)
async def test_l03_the_log_tells_a_walk_and_no_number(
    gate: Stand, people: Iterator[Person], numbers: range, walk: str
) -> None:
    """L03 A thief opens numbers in a row: the entries tell that and how many, and neither number nor distance."""
    person = next(people)
    browser = await gate.log_in(person)
    for number in numbers:
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    accesses = await about(gate, "access", person)
    assert [entry.get("detail") for entry in accesses[:7]] == [None] * 7
    assert [entry["detail"] for entry in accesses[7:]] == [
        {"walk": walk, "walked": str(count)} for count in (8, 9, 10)
    ]


async def test_l03_honest_work_adds_nothing_to_the_log(gate: Stand, people: Iterator[Person]) -> None:
    """L03 The same patients again, and patients without order: the entries tell no walk."""
    person = next(people)
    browser = await gate.log_in(person)
    for number in (1001, 1002, 1001, 1002, 1400, 2999, 1873, 1201, 1650, 2222, 1099, 1001):
        assert (await browser.get(f"/dossiers/{number}")).status == 200
    assert [entry.get("detail") for entry in await about(gate, "access", person)] == [None] * 12
