"""The endurance runs see what is wrong: another's answer, a part of one, memory that grows."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.client import Answer
from loadtest.endurance import content, memory
from loadtest.endurance.content import Asked
from loadtest.endurance.person import Person
from loadtest.endurance.tally import Tally

LEA = Asked("lea", "lea-7")
PATIENT = content.FIRST_ID


class _Fixed:
    """A connection on which the same answer always comes."""

    def __init__(self, status: int, body: str) -> None:
        self.answer = Answer(status, (), body.encode())

    async def request(self, *_words: object) -> Answer:
        return self.answer


class _Site:
    name = "nowhere"


RIGHT = content.record_html(LEA, PATIENT)
ANSWERS = [
    ("right", 200, RIGHT, (0, 0)),
    ("of another person", 200, content.record_html(Asked("ben", "lea-7"), PATIENT), (1, 0)),
    ("of another request", 200, content.record_html(Asked("lea", "lea-6"), PATIENT), (1, 0)),
    ("of another patient", 200, content.record_html(LEA, PATIENT + 1), (1, 0)),
    ("cut off", 200, RIGHT[:-1], (1, 0)),
    ("with something behind it", 200, RIGHT + " ", (1, 0)),
    ("under another status", 503, RIGHT, (1, 0)),
    ("none at all", 0, "", (0, 1)),
]


@pytest.mark.parametrize(("said", "status", "body", "counts"), ANSWERS, ids=[one[0] for one in ANSWERS])
async def test_only_the_right_answer_is_right(
    said: str, status: int, body: str, counts: tuple[int, int]
) -> None:
    tally = Tally()
    lea = Person(_Site(), "lea", tally, random.Random(1))  # type: ignore[arg-type]
    right = await lea.get(_Fixed(status, body), "/dossiers/1001", RIGHT, (PATIENT,))  # type: ignore[arg-type]
    assert right == (said == "right")
    assert (tally.wrong, tally.failed) == counts
    assert tally.requests == 1
    assert tally.received == ({"lea": [(PATIENT,)]} if right else {})
    assert len(tally.told) == (not right)


@given(st.integers(0, 300_000), st.text(max_size=5))
def test_a_file_has_its_length_and_no_two_blocks_alike(size: int, seed: str) -> None:
    made = list(content.blocks(seed, size))
    assert sum(map(len, made)) == size
    assert all(one[:16] != other[:16] for one, other in pairwise(made))
    assert made == list(content.blocks(seed, size))


def test_files_of_two_requests_differ_in_every_block() -> None:
    ours, theirs = content.blocks("lea-7", 200_000), content.blocks("lea-8", 200_000)
    assert all(one != other for one, other in zip(ours, theirs, strict=True))


@given(st.integers(1, 120), st.integers(1, content.MOST_ROWS))
def test_no_list_shows_whom_only_given_up_requests_ask_for(page: int, rows: int) -> None:
    shown = content.page_of(page, rows)
    assert len(shown) <= rows
    assert all(content.exists(one) and one not in content.RESERVED for one in shown)


@pytest.mark.parametrize("words", ["1", "42", "7001", "", "NOM", "99999"])
def test_a_search_is_bounded_and_finds_nobody_reserved(words: str) -> None:
    found = content.found_by(words)
    assert len(found) <= content.MOST_ROWS
    assert all(str(one).endswith(words) and one not in content.RESERVED for one in found)


def test_flat_memory_is_flat_however_it_began() -> None:
    warming = [(float(at), 60.0 + at / 10) for at in range(100)]
    level = [(float(at), 70.0 + at % 3) for at in range(100, 400)]
    grown = memory.growth(warming + level)
    assert abs(grown.last_mb - grown.first_mb) <= 1
    assert abs(grown.mb_an_hour) < 5
    assert grown.most_mb == 72


@given(st.floats(0.01, 1.0))
def test_a_leak_shows_as_its_slope(mb_a_second: float) -> None:
    grown = memory.growth([(float(at), 70 + at * mb_a_second) for at in range(0, 600, 5)])
    assert grown.mb_an_hour == pytest.approx(mb_a_second * 3_600)
    assert grown.last_mb - grown.first_mb > 250 * mb_a_second


def test_too_few_samples_tell_nothing() -> None:
    for few in ([], [(0.0, 1.0), (1.0, 1.0)]):
        with pytest.raises(ValueError, match="sample"):
            memory.growth(few)


def test_only_the_kinds_asked_for_are_summed() -> None:
    samples = memory.Samples([(1.0, {"worker": 80.0, "store": 6.0, "keeper": 50.0})])
    assert samples.totals(frozenset({"worker", "store"})) == [(1.0, 86.0)]
    assert samples.totals() == [(1.0, 136.0)]
