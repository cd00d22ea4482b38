"""What a witness answers: the table of C2SP tlog-witness, "add-checkpoint"."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.checkpoint import Checkpoint, sign, verifier_of
from gateway.audit.merkle import EMPTY_ROOT
from gateway.audit.proofs import consistency_ranges
from gateway.audit.witness import (
    AddCheckpoint,
    Granted,
    Refused,
    RequestRefused,
    decide,
    load_request,
    origin_of,
    parse_logs,
)
from tests.unit.audit.logs import KEY, PRIVATE, SITE, root_of

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tlog.json").read_text())
ORIGIN = "site/gw"
LOGS = {ORIGIN: (KEY,)}
ENTRIES = [b"%d" % number for number in range(20)]
REWRITTEN = [b"rewritten", *ENTRIES[1:]]
OTHER_PRIVATE = bytes(range(1, 33))


def state(size: int, entries: list[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(entries[:size]))


def ask(old: int, new: int, entries: list[bytes] = ENTRIES, private: bytes = PRIVATE) -> AddCheckpoint:
    proof = tuple(root_of(entries[start:end]) for start, end in consistency_ranges(min(old, new), new))
    return AddCheckpoint(old, proof, sign(state(new, entries), SITE, private))


FORGED = AddCheckpoint(0, (), ask(0, 5).note.replace(b"\n5\n", b"\n6\n"))
NO_EMPTY_TREE = AddCheckpoint(0, (), sign(Checkpoint(ORIGIN, 0, bytes(32)), SITE, PRIVATE))
ELSEWHERE = AddCheckpoint(0, (), sign(Checkpoint("site/other", 5, bytes(32)), SITE, PRIVATE))


@pytest.mark.parametrize(
    ("request_", "known", "status"),
    [
        (ask(0, 5), None, 200),
        (ask(0, 0), None, 200),
        (ask(5, 9), 5, 200),
        (ask(8, 16), 8, 200),
        (ask(9, 9), 9, 200),
        (ask(0, 5), 0, 200),
        (ELSEWHERE, None, 404),
        (ask(0, 5, private=OTHER_PRIVATE), None, 403),
        (FORGED, None, 403),
        (AddCheckpoint(9, (), ask(0, 5).note), 9, 400),
        (AddCheckpoint(0, (), b"junk"), None, 400),
        (ask(0, 9), 5, 409),
        (ask(4, 9), 5, 409),
        (ask(6, 9), 5, 409),
        (ask(5, 9), None, 409),
        (NO_EMPTY_TREE, None, 422),
        (AddCheckpoint(0, (bytes(32),), ask(0, 5).note), None, 422),
        (AddCheckpoint(5, (), ask(5, 9).note), 5, 422),
        (AddCheckpoint(5, (bytes(32), *ask(5, 9).proof), ask(5, 9).note), 5, 422),
        (ask(5, 9, REWRITTEN), 5, 422),
        (ask(5, 5, REWRITTEN), 5, 422),
    ],
)
def test_each_answer_of_the_protocol(request_: AddCheckpoint, known: int | None, status: int) -> None:
    found = decide(request_, LOGS, state(known) if known is not None else None)
    if status == 200:
        assert isinstance(found, Granted)
        assert found.checkpoint.origin == ORIGIN
        return
    assert isinstance(found, Refused)
    assert found.status == status
    if status == 409:
        assert found.size == (known or 0)
        assert found.text == str(known or 0)


def test_the_order_of_the_checks_tells_strangers_nothing() -> None:
    # Who cannot sign for the log does not learn how far it has come.
    found = decide(ask(0, 9, private=OTHER_PRIVATE), LOGS, state(5))
    assert isinstance(found, Refused)
    assert (found.status, found.size) == (403, None)


def test_each_key_of_a_log_that_turns_its_key_is_known() -> None:
    logs = {ORIGIN: (KEY, verifier_of(SITE, OTHER_PRIVATE))}
    assert isinstance(decide(ask(0, 5), logs, None), Granted)
    assert isinstance(decide(ask(5, 9, private=OTHER_PRIVATE), logs, state(5)), Granted)


def test_the_request_of_the_specification_is_read_and_written_back() -> None:
    shown = VECTORS["request"]
    found = load_request(shown["text"].encode())
    assert (found.old, len(found.proof)) == (shown["old"], shown["hashes"])
    assert origin_of(found) == "example.com/behind-the-sofa"
    assert found.dump().decode() == shown["text"]


@given(st.integers(0, 20), st.integers(0, 20))
def test_what_is_asked_is_read_back(first: int, second: int) -> None:
    made = ask(min(first, second), max(first, second))
    assert load_request(made.dump()) == made


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"old\n\nx",
        b"old 01\n\nx",
        b"old -1\n\nx",
        b"old 1 \n\nx",
        b"old 1\r\n\r\nx",
        "old \u0661\n\nx".encode(),
        b"old " + b"9" * 30 + b"\n\nx",
        b"old 1\nAAAA\n\nx",
        b"old 1\n!\n\nx",
        b"old 1\n" + b"A" * 43 + b"=\n" * 64 + b"\nx",
        b"old 1\n\n" + b"x" * 200_000,
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        load_request(body)


@given(st.binary(max_size=300))
def test_reading_never_fails_in_another_way(junk: bytes) -> None:
    for body in (junk, b"old 0\n\n" + junk, b"old 0\n" + junk):
        try:
            found = load_request(body)
        except RequestRefused:
            continue
        assert isinstance(decide(found, LOGS, None), Refused)


def test_known_logs_are_read_with_every_key_of_each() -> None:
    other = verifier_of(SITE, OTHER_PRIVATE)
    text = f"# of the region\n{ORIGIN} {KEY.text()}\n\n  {ORIGIN}\t{other.text()}\nsite {KEY.text()}\n"
    assert parse_logs(text) == {ORIGIN: (KEY, other), "site": (KEY,)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ORIGIN}\n", "line 1: expected"),
        (f"\n{ORIGIN} junk\n", "line 2: verifier key"),
        (f"elsewhere/gw {KEY.text()}\n", "may not sign"),
        (f"sitemap {KEY.text()}\n", "may not sign"),
    ],
)
def test_a_faulty_line_of_known_logs_is_named(text: str, said: str) -> None:
    with pytest.raises(RequestRefused, match=said):
        parse_logs(text)


def test_the_empty_state_has_the_root_of_nothing() -> None:
    assert state(0).root == EMPTY_ROOT
