"""Reading on from where somebody stopped, whatever happened to the files meanwhile."""

from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.encoding import encode
from gateway.audit.segments import Journal
from gateway.audit.tail import Tail
from tests.unit.audit.logs import RING, SALT, SITE, an_event


def line(seq: int) -> bytes:
    return encode(an_event(seq), seq=seq, salt=SALT)


class Log:
    """A writer's journal that grows."""

    def __init__(self, folder: Path, name: str = "gateway", segment_bytes: int = 3_000) -> None:
        self.journal = Journal(folder / name, SITE, RING, segment_bytes=segment_bytes)
        self.journal.open()

    def write(self, count: int) -> None:
        for _ in range(count):
            self.journal.commit([line(self.journal.size)])
            if self.journal.is_full:
                self.journal.rotate()

    @property
    def segments(self) -> list[int]:
        return files.segment_starts(self.journal.directory)


def seqs(tail: Tail, writer: str = "gateway") -> list[int]:
    found: list[int] = []
    while events := tail.read(most=7):
        found += [event["seq"] for event in events if event["writer"] == writer]
    return found


def test_it_begins_at_the_present_end_and_misses_nothing_from_there_on(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(20)
    tail = Tail([tmp_path])
    assert seqs(tail) == []
    log.write(40)
    assert len(log.segments) > 3
    assert seqs(tail) == list(range(20, 60))


def test_another_reader_goes_on_from_the_place_that_was_kept(tmp_path: Path) -> None:
    log = Log(tmp_path)
    tail = Tail([tmp_path], {})
    log.write(15)
    assert [event["seq"] for event in tail.read(most=4)] == [0, 1, 2, 3]
    log.write(30)
    assert seqs(Tail([tmp_path], tail.places)) == list(range(4, 45))


def test_a_writer_that_appears_is_read_from_its_first_entry(tmp_path: Path) -> None:
    first = Log(tmp_path)
    first.write(5)
    tail = Tail([tmp_path])
    assert tail.read() == []
    Log(tmp_path, "operator").write(3)
    assert seqs(tail, "operator") == [0, 1, 2]


def test_no_folder_yet_is_nothing_yet(tmp_path: Path) -> None:
    tail = Tail([tmp_path / "audit"])
    assert tail.read() == []
    Log(tmp_path / "audit").write(2)
    assert seqs(tail) == [0, 1]


def test_an_unfinished_line_waits_and_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(2)
    tail = Tail([tmp_path], {})
    assert seqs(tail) == [0, 1]
    path, whole = files.segment_path(log.journal.directory, 0), line(2) + b"\n"
    with path.open("ab") as file:
        file.write(b"no entry\n" + whole[:20])
    assert seqs(tail) == []
    with path.open("ab") as file:
        file.write(whole[20:])
    assert seqs(tail) == [2]


def test_what_is_no_entry_takes_the_place_of_none_and_nothing_after_it_is_missed(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(25)
    first, second = log.segments[:2]
    path = files.segment_path(log.journal.directory, first)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"no entry\n", *lines[1:]]))
    assert len(lines) == second > 7
    assert seqs(Tail([tmp_path], {})) == list(range(25))


def test_what_a_writer_cuts_after_a_crash_is_not_read_twice(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(3)
    tail = Tail([tmp_path], {})
    assert seqs(tail) == [0, 1, 2]
    path = files.segment_path(log.journal.directory, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert seqs(tail) == []
    path.write_bytes(whole + line(3) + b"\n")
    assert 3 in seqs(tail)


def test_a_segment_that_was_purged_meanwhile_is_skipped(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(10)
    tail = Tail([tmp_path], {})
    tail.read(most=2)
    log.write(40)
    first, second = log.segments[0], log.segments[1]
    files.segment_path(log.journal.directory, first).unlink()
    assert seqs(tail) == list(range(second, 50))


def test_an_older_copy_that_was_put_back_is_not_judged_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(60)
    tail = Tail([tmp_path], {})
    assert len(seqs(tail)) == 60
    for start in log.segments[2:]:
        files.segment_path(log.journal.directory, start).unlink()
    assert seqs(tail) == []


def test_writers_are_mixed_by_time(tmp_path: Path) -> None:
    Log(tmp_path, "gateway.a").write(5)
    Log(tmp_path, "gateway.b").write(5)
    told = [(event["at_ms"], event["writer"]) for event in Tail([tmp_path], {}).read()]
    assert told == sorted(told)
    assert {writer for _, writer in told} == {"gateway.a", "gateway.b"}


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    Log(tmp_path).write(1)
    (tmp_path / "gateway" / "notes.jsonl").write_text("mine")
    with pytest.raises(files.LogDamaged, match=r"notes\.jsonl is no segment"):
        Tail([tmp_path]).read()
