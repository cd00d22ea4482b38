"""Questions to the journals of several writers."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.audit import files
from gateway.audit.encoding import encode
from gateway.audit.follow import follow
from gateway.audit.query import COLUMNS, Question, ask, pseudonyms
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import KeyRing
from tests.people import CLERK_LEA, DR_MARTIN, INTRUDER, NURSE_BEN
from tests.unit.audit.logs import NOW_MS, SALT, journal

PSEUDONYMS = KeyRing("pseudonyms", "k2", {"k1": b"1" * 32, "k2": b"2" * 32})
SYSTEM = "urn:oid:1.2.250.1.999"
JEANNE = pseudonyms(PSEUDONYMS, SYSTEM, "4711")
PAUL = pseudonyms(PSEUDONYMS, SYSTEM, "4712")


def told(kind: EventKind, second: int, **values: Any) -> AuditEvent:
    return AuditEvent(kind, NOW_MS + second * 1000, **values)


GW_1 = [
    told(EventKind.STARTED, 0),
    told(EventKind.LOGIN_SEEN, 1, account=DR_MARTIN.login, app="demo", realm="region"),
    told(EventKind.ACCESS, 2, account=DR_MARTIN.login, app="demo", realm="region", patients=(JEANNE[1],), opened=True,
         rows=1, request_id="a1", establishment="590000001", detail=(("note", "x"),)),
    told(EventKind.ACCESS, 4, account=CLERK_LEA.login, app="bis", realm="region", rows=2,
         patients=(JEANNE[0], PAUL[0])),
]  # fmt: skip
GW_2 = [
    told(EventKind.ACCESS, 3, account=NURSE_BEN.login, app="demo", realm="other", patients=(PAUL[0],),
         reason="within-caps"),
    told(EventKind.WITHHELD, 5, account=DR_MARTIN.login, app="demo", realm="region", reason="cap",
         control="patients-24h", reference="REF-1", status=429),
]  # fmt: skip


@pytest.fixture
def audit_dir(tmp_path: Path) -> Path:
    """Two writers: gw-1 has turned to a new segment at each entry, gw-2 is being written and ends torn."""
    for name, events in (("gw-1", GW_1), ("gw-2", GW_2)):
        log = journal(tmp_path / name)
        log.open()
        for event in events:
            log.commit([encode(event, seq=log.size, salt=SALT)])
            if name == "gw-1":
                log.rotate()
        log.close()
    with files.segment_path(tmp_path / "gw-2", 0).open("ab") as file:
        file.write(b'{"account":"dr.martin","at":"2026')
    return tmp_path


def seconds(found: list[dict[str, Any]]) -> list[int]:
    return [(event["at_ms"] - NOW_MS) // 1000 for event in found]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        # Nothing asked: everything of every writer, in order of time.
        (Question(), [0, 1, 2, 3, 4, 5]),
        (Question(newest=True), [5, 4, 3, 2, 1, 0]),
        (Question(limit=2), [0, 1]),
        (Question(newest=True, limit=2), [5, 4]),
        # One filter at a time.
        (Question(accounts=(DR_MARTIN.login,)), [1, 2, 5]),
        (Question(accounts=(DR_MARTIN.login, NURSE_BEN.login)), [1, 2, 3, 5]),
        (Question(accounts=(INTRUDER.login,)), []),
        (Question(realm="other"), [3]),
        (Question(patients=JEANNE), [2, 4]),
        (Question(patients=PAUL), [3, 4]),
        (Question(patients=(JEANNE[0],)), [4]),
        (Question(apps=("bis",)), [4]),
        (Question(establishments=("590000001",)), [2]),
        (Question(kinds=("access", "started")), [0, 2, 3, 4]),
        (Question(outcomes=("cap",)), [5]),
        (Question(outcomes=("patients-24h",)), [5]),
        (Question(request_id="a1"), [2]),
        (Question(reference="REF-1"), [5]),
        (Question(from_ms=NOW_MS + 4000), [4, 5]),
        (Question(to_ms=NOW_MS + 1000), [0]),
        # Together.
        (Question(accounts=(DR_MARTIN.login,), patients=JEANNE, from_ms=NOW_MS, to_ms=NOW_MS + 9000), [2]),
        (Question(accounts=(NURSE_BEN.login,), patients=JEANNE), []),
        # What is asked is a value, never a piece of the question.
        (Question(accounts=("' or 1=1 --",)), []),
        (Question(accounts=("x') or (1=1",), apps=('"',)), []),
        (Question(realm="region' union select 1 --"), []),
    ],
)
def test_a_question_finds_what_it_asks_for(audit_dir: Path, question: Question, expected: list[int]) -> None:
    assert seconds(list(ask(audit_dir, question))) == expected


def test_an_answer_tells_its_writer_and_leaves_out_what_is_empty(audit_dir: Path) -> None:
    (found,) = ask(audit_dir, Question(request_id="a1"))
    assert found == {
        "writer": "gw-1",
        "at": "2026-09-21T14:13:22.000Z",
        "at_ms": NOW_MS + 2000,
        "seq": 2,
        "kind": "access",
        "realm": "region",
        "account": "dr.martin",
        "establishment": "590000001",
        "app": "demo",
        "opened": True,
        "rows": 1,
        "patients": [JEANNE[1]],
        "request_id": "a1",
        "detail": {"note": "x"},
    }


def test_a_hostile_directory_name_is_only_a_name(audit_dir: Path) -> None:
    odd = audit_dir / "it's *.jsonl [x]"
    (audit_dir / "gw-2").rename(odd)
    assert {event["writer"] for event in ask(audit_dir, Question())} == {"gw-1", odd.name}


def test_one_writers_directory_can_be_asked_alone(audit_dir: Path) -> None:
    assert seconds(list(ask(audit_dir / "gw-1", Question()))) == [0, 1, 2, 4]


def test_no_journal_answers_nothing(tmp_path: Path) -> None:
    assert list(ask(tmp_path, Question())) == []


def test_every_field_of_an_event_can_be_asked_for() -> None:
    assert set(COLUMNS) == {item.name for item in msgspec.structs.fields(AuditEvent)} | {
        "at",
        "seq",
        "salt",
        "v",
    }


def test_a_pseudonym_is_a_keyed_hash_of_system_and_id() -> None:
    expected = hmac.new(b"2" * 32, b"urn:oid:1.2.250.1.999\x1f4711", hashlib.sha256).hexdigest()[:32]
    assert JEANNE[0] == f"k2:{expected}"
    assert [name.partition(":")[0] for name in JEANNE] == ["k2", "k1"]
    assert len({*JEANNE, *PAUL, *pseudonyms(PSEUDONYMS, SYSTEM + "1", "4711")}) == 6


def test_following_tells_what_comes_and_nothing_twice(audit_dir: Path) -> None:
    torn = files.segment_path(audit_dir / "gw-2", 0)
    torn.write_bytes(torn.read_bytes().rpartition(b"\n")[0] + b"\n")
    log = journal(audit_dir / "gw-1")
    log.open()
    line = encode(told(EventKind.STOPPED, 9), seq=4, salt=SALT)

    def write_next() -> None:
        log.commit([line])

    def turn_and_write() -> None:
        log.rotate()
        log.commit([encode(told(EventKind.STOPPED, 10), seq=5, salt=SALT)])

    def write_half() -> None:
        with torn.open("ab") as file:
            file.write(encode(told(EventKind.STOPPED, 11), seq=2, salt=SALT)[:30])

    def write_rest() -> None:
        with torn.open("ab") as file:
            file.write(encode(told(EventKind.STOPPED, 11), seq=2, salt=SALT)[30:] + b"\n")

    def new_writer() -> None:
        other = journal(audit_dir / "operator")
        other.open()
        other.commit([encode(told(EventKind.INVITED, 12), seq=0, salt=SALT)])
        other.close()

    steps = [write_next, turn_and_write, write_half, write_rest, new_writer]

    def again() -> bool:
        if not steps:
            return False
        steps.pop(0)()
        return True

    assert seconds(list(follow(audit_dir, again))) == [9, 10, 11, 12]
    log.close()
    assert seconds(list(follow(audit_dir, lambda: False, from_start=True))) == [
        0,
        1,
        2,
        3,
        4,
        5,
        9,
        10,
        11,
        12,
    ]


def test_following_survives_a_cut_end(audit_dir: Path) -> None:
    path = files.segment_path(audit_dir / "gw-2", 0)
    whole = path.read_bytes()
    kept = whole.rpartition(b"\n")[0] + b"\n"
    half = kept[: len(kept) // 2]
    gap = encode(told(EventKind.GAP, 20), seq=1, salt=SALT)
    steps = [lambda: path.write_bytes(half), lambda: path.write_bytes(half + b"\n" + gap + b"\n")]

    def again() -> bool:
        if not steps:
            return False
        steps.pop(0)()
        return True

    assert seconds(list(follow(audit_dir, again))) == [20]


def test_following_tells_a_place_that_is_not_there(audit_dir: Path) -> None:
    gone = audit_dir.with_name("gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        list(follow([audit_dir, gone], lambda: False))
