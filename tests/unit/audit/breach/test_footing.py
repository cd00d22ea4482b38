"""What a report stands on: the state of each log at the end of the period, proven entry by entry."""

import shutil
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.breach.footing import Footing, NotYetSigned, Reading, ReadingDiffers, stand
from gateway.audit.checkpoint import Checkpoint
from gateway.audit.encoding import encode
from gateway.audit.files import LogDamaged
from gateway.audit.operator import operator_log
from gateway.audit.purges import Purge, purge_event
from gateway.audit.query import Question, ask
from gateway.audit.scope import Asked
from tests.people import DR_MARTIN
from tests.unit.audit.logs import KEY, NOW_MS, RING, SALT, SITE, an_event, journal, root_of, write


def reading(to: int, from_: int = 0) -> Reading:
    return Reading(Asked((DR_MARTIN.login,), NOW_MS + from_, NOW_MS + to))


def footing(directory: Path, to: int, as_of: Checkpoint | None = None) -> Footing | None:
    return stand(directory, [KEY], reading(to), as_of=as_of)


def lines(directory: Path) -> list[bytes]:
    return [
        line.removesuffix(b"\n")
        for start in files.segment_starts(directory)
        for line in files.read_lines(files.segment_path(directory, start))
    ]


@pytest.mark.parametrize("per_segment", [1, 3, 100])
@pytest.mark.parametrize("to", [1, 4, 6, 7, 99])
def test_the_state_is_that_of_the_last_entry_of_the_period(tmp_path: Path, per_segment: int, to: int) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=per_segment)
    found = footing(log, to)
    assert found is not None
    size = min(7, to)
    assert (found.origin, found.size, found.root) == ("site/gw-1", size, root_of(lines(log)[:size]))
    # It does not move while the log grows.
    write(log, 5, per_segment=per_segment, first=200)
    again = footing(log, to)
    assert again is not None
    assert (again.size, again.root, again.signed_size) == (found.size, found.root, 12)


def test_nothing_before_the_end_of_the_period_is_no_footing(tmp_path: Path) -> None:
    write(tmp_path / "gw-1", 3)
    assert footing(tmp_path / "gw-1", 0) is None


@pytest.mark.parametrize(
    ("old", "new"), [(b'"app":"demo"', b'"app":"bemo"'), (b"k1:0000", b"k1:0001"), (b"\n", b"\n\n")]
)
def test_an_altered_entry_carries_no_report(tmp_path: Path, old: bytes, new: bytes) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=3)
    path = files.segment_path(log, 3)
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(LogDamaged, match="ecluse audit verify"):
        footing(log, 99)


@pytest.mark.parametrize("gone", ["0000000003.*", "0000000006.*"])
def test_missing_entries_carry_no_report(tmp_path: Path, gone: str) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=3)
    for path in log.glob(gone):
        path.unlink()
    with pytest.raises(LogDamaged):
        footing(log, 99)


def test_a_log_under_another_name_carries_no_report(tmp_path: Path) -> None:
    write(tmp_path / "gw-1", 2)
    (tmp_path / "gw-1").rename(tmp_path / "gw-2")
    with pytest.raises(LogDamaged, match="own name"):
        footing(tmp_path / "gw-2", 9)


def test_a_period_that_ends_after_the_signature_waits(tmp_path: Path) -> None:
    log = tmp_path / "gw-1"
    write(log, 2)
    open_log = journal(log)
    open_log.open()
    open_log.commit([encode(an_event(2), seq=2, salt=SALT)])
    try:
        assert footing(log, 2) is not None
        with pytest.raises(NotYetSigned, match="from 2 on"):
            footing(log, 3)
        # The clock was set back: of two entries that are not signed, the second stands in the period.
        open_log.checkpoint()
        open_log.commit([encode(an_event(number), seq=seq, salt=SALT) for seq, number in ((3, 50), (4, 3))])
        with pytest.raises(NotYetSigned, match="from 3 on"):
            footing(log, 4)
        open_log.checkpoint()
        found = footing(log, 4)
        assert found is not None
        assert found.size == 5
    finally:
        open_log.close()


def test_purged_text_is_bridged_by_its_leaf_hashes_and_told(tmp_path: Path) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=3)
    whole = footing(log, 99)
    files.segment_path(log, 0).unlink()
    with pytest.raises(LogDamaged, match="before 3 is missing and no purge of them is on record"):
        footing(log, 99)
    with operator_log(tmp_path, SITE, RING) as office:
        purge = Purge("gw-1", 0, 3, 1, 1_000)
        office.record(purge_event(purge, NOW_MS, "sysop", "yearly", older_than="", retention="183 days"))
    found = footing(log, 99)
    assert whole is not None
    assert found is not None
    assert (found.size, found.root) == (whole.size, whole.root)
    assert (found.kept_from, found.kept_from_ms) == (3, NOW_MS + 3)
    assert (whole.kept_from, whole.kept_from_ms) == (0, NOW_MS)


def test_an_earlier_state_bounds_the_log_and_must_still_hold(tmp_path: Path) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=3)
    state = Checkpoint("site/gw-1", 5, root_of(lines(log)[:5]))
    found = footing(log, 99, state)
    assert found is not None
    assert (found.size, found.root) == (5, state.root)
    with pytest.raises(LogDamaged, match="first 5 entries"):
        footing(log, 99, Checkpoint("site/gw-1", 5, bytes(32)))
    with pytest.raises(LogDamaged, match="put back"):
        footing(log, 99, Checkpoint("site/gw-1", 8, bytes(32)))


def test_what_was_counted_is_what_is_signed(tmp_path: Path) -> None:
    log = tmp_path / "gw-1"
    write(log, 7, per_segment=3)
    signed = reading(6, 1)
    stand(log, [KEY], signed)
    assert signed.counted["gw-1"][0] == 5
    events = list(ask(tmp_path, Question(accounts=(DR_MARTIN.login,))))
    for altered, refused in (
        (events, False),
        (events[::-1], False),
        (events[:2] + events[3:], True),
        ([*events, events[2]], True),
        ([event | ({"rows": 9} if event["seq"] == 2 else {}) for event in events], True),
    ):
        counted = reading(6, 1)
        for event in altered:
            counted.add(event["writer"], event)
        if refused:
            with pytest.raises(ReadingDiffers, match="gw-1"):
                counted.check(signed)
        else:
            counted.check(signed)
    # What the journal no longer holds, nothing proves.
    with pytest.raises(ReadingDiffers, match="tells entry 0"):
        Reading(signed.asked, {"gw-1": 3}).add("gw-1", events[0])


def test_a_copy_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a" / "gw-1", 4)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert footing(tmp_path / "a" / "gw-1", 9) == footing(tmp_path / "b" / "gw-1", 9)
