"""Which files are opened for a question, and what of a journal is read."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import parquet
from gateway.audit.embedded import Span, open_embedded
from gateway.audit.encoding import encode
from gateway.audit.files import segment_path
from gateway.audit.keeper import keep
from gateway.audit.manifest import File, read_manifest
from gateway.audit.query import Question, accesses, ask
from gateway.audit.sql import select_events
from tests.people import CLERK_LEA, DR_MARTIN
from tests.unit.audit.archives import day_ms, patient, write_days
from tests.unit.audit.logs import KEY, SALT, an_event, journal

FILE = File(Path("x"), 1, 1, first_ms=100, last_ms=200, sha256="")


@pytest.mark.parametrize(
    ("span", "opened"),
    [
        (Span(), True),
        (Span(from_ms=200), True),
        (Span(from_ms=201), False),
        (Span(to_ms=100), False),
        (Span(to_ms=101), True),
        (Span(from_ms=120, to_ms=130), True),
        (Span(moments=[]), False),
        (Span(moments=[99, 201]), False),
        (Span(moments=[99, 100]), True),
        (Span(moments=[200, 300]), True),
        (Span(moments=[1, 150, 900]), True),
    ],
)
def test_a_file_of_another_time_is_not_opened(span: Span, opened: bool) -> None:
    assert span.may_be_in(FILE) is opened


@pytest.mark.parametrize(
    ("keys", "opened"),
    [
        (None, True),
        (["ben"], True),
        (["dr.martin"], True),
        (["lea"], True),
        (["aaa", "zoé"], False),
        (["aaa", "cora", "zoé"], True),
        (["lea.admission"], False),
        ([], False),
    ],
)
def test_a_file_of_other_people_is_not_opened(keys: list[str] | None, opened: bool) -> None:
    assert Span().may_be_in(replace(FILE, least="ben", most="lea"), keys) is opened
    assert Span().may_be_in(FILE, keys)
    assert not Span(from_ms=201).may_be_in(replace(FILE, least="ben", most="lea"), keys)


@given(st.lists(st.integers(90, 210)))
def test_moments_open_a_file_when_one_is_in_it(moments: list[int]) -> None:
    assert Span(moments=sorted(moments)).may_be_in(FILE) is any(100 <= one <= 200 for one in moments)


@pytest.mark.parametrize(
    "login", ["dr.martin", "zoé", "a", '"', "back\\slash", "x\u2028y", "o'hara", "tab\there", "{", "é" * 60]
)
def test_a_journal_searched_as_text_hides_nothing(tmp_path: Path, login: str) -> None:
    log = journal(tmp_path / "gw")
    log.open()
    others = ["dr.martin2", "other", "zoe", 'q"', "back", "xy"]
    for number, account in enumerate([login, *others, login]):
        line = encode(an_event(number, account=account, request_id=login), seq=log.size, salt=SALT)
        log.commit([line])
    log.close()
    with segment_path(tmp_path / "gw", 0).open("ab") as file:
        file.write(encode(an_event(99, account=login), seq=8, salt=SALT)[:-20])
    every = list(ask(tmp_path, Question()))
    stored = every[0]["account"]
    assert list(ask(tmp_path, Question(accounts=(stored,)))) == [
        event for event in every if event["account"] == stored
    ]
    assert len(every) == 8


def test_only_lines_with_a_needle_are_read(tmp_path: Path) -> None:
    log = journal(tmp_path / "gw")
    log.open()
    lines = [encode(an_event(number, account=f"u{number}"), seq=number, salt=SALT) for number in range(9)]
    log.commit(lines)
    log.rotate()
    log.commit([encode(an_event(9, account="u3"), seq=9, salt=SALT)])
    log.close()
    with open_embedded([tmp_path]) as engine:
        found = list(engine.run(select_events(Question()), Span(), ["u3", "u5"]))
    assert [row[3] for row in found] == [3, 5, 9]


def test_one_patient_and_one_account_open_one_part_of_a_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 2_000)
    write_days(tmp_path / "gw", range(4), per_day=60)
    every = list(ask(tmp_path, Question()))
    keep(tmp_path, [KEY], day_ms(40))
    manifest = read_manifest(tmp_path)
    assert len(manifest.events) > 3
    assert len(manifest.accesses) > 3
    missed = patient(6)
    for account in (DR_MARTIN.login, CLERK_LEA.login, "nobody"):
        expected = [event for event in every if event.get("account") == account]
        assert list(ask(tmp_path, Question(accounts=(account,)))) == expected
    for named in (patient(0), missed, "k1:ffff"):
        expected = [event for event in every if named in event.get("patients", ())]
        assert list(ask(tmp_path, Question(patients=(named,)))) == expected
    # Whatever cannot hold the patient is not even looked for.
    for item in manifest.accesses:
        if not (item.least or "") <= missed <= (item.most or ""):
            item.path.unlink()
    found = list(accesses(tmp_path, Question(patients=(missed,))))
    assert len(found) == len([event for event in every if missed in event.get("patients", ())]) > 3
