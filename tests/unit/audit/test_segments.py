"""A journal on disk: what a crash, a mistake or an intruder leaves, and what opening makes of it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import parse, verify
from gateway.audit.encoding import decode, encode
from gateway.audit.files import LogDamaged
from gateway.audit.segments import Journal, LogInUse, Recovery
from tests.unit.audit.logs import KEY, NOW_MS, OTHER_RING, RING, SALT, an_event, journal, root_of, write


def lines(log: Path) -> list[bytes]:
    return [
        line.removesuffix(b"\n")
        for start in files.segment_starts(log)
        for line in files.read_lines(files.segment_path(log, start))
    ]


def reopen(log: Path) -> tuple[Journal, Recovery]:
    made = journal(log)
    recovery = made.open()
    return made, recovery


def test_what_was_committed_is_signed_and_read_back(tmp_path: Path) -> None:
    log = tmp_path / "gw-1"
    write(log, 10, per_segment=4)
    assert files.segment_starts(log) == [0, 4, 8]
    assert [decode(line)["seq"] for line in lines(log)] == list(range(10))
    signed = verify((log / "checkpoint").read_bytes(), [KEY])
    assert (signed.origin, signed.size, signed.root) == ("site/gw-1", 10, root_of(lines(log)))
    made, recovery = reopen(log)
    assert (made.size, recovery) == (10, Recovery(0, 0))
    made.close()


def test_a_segment_ends_at_its_size(tmp_path: Path) -> None:
    made = journal(tmp_path / "gw", segment_bytes=500)
    made.open()
    for number in range(6):
        made.commit([encode(an_event(number), seq=made.size, salt=SALT)])
        if made.is_full:
            made.rotate()
    made.close()
    assert files.segment_starts(tmp_path / "gw") == [0, 2, 4, 6]
    assert parse((tmp_path / "gw" / "0000000002.checkpoint").read_bytes()).size == 4


def test_a_segment_ends_with_its_day_whoever_opens_it(tmp_path: Path) -> None:
    day_ms, log = 86_400_000, tmp_path / "gw"
    evening_ms = NOW_MS // day_ms * day_ms + day_ms - 1
    made = journal(log)
    made.open()
    assert not made.is_of_a_day_before(evening_ms)
    made.commit([encode(an_event(at_ms=evening_ms), seq=0, salt=SALT)])
    assert not made.is_of_a_day_before(evening_ms)
    assert made.is_of_a_day_before(evening_ms + 1)
    made.close()
    made, _ = reopen(log)
    assert made.is_of_a_day_before(evening_ms + 1)
    # A clock that was put back ends nothing.
    assert not made.is_of_a_day_before(evening_ms - day_ms)
    made.rotate()
    assert not made.is_of_a_day_before(evening_ms + 1)
    made.close()
    assert files.segment_starts(log) == [0, 1]


def purge(log: Path, *starts: int) -> None:
    for start in starts:
        files.segment_path(log, start).unlink()


def test_a_log_opens_over_purged_segments(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 10, per_segment=4)
    signed = parse((log / "checkpoint").read_bytes())
    purge(log, 0, 4)
    # With the tree file, and without it: then the leaf hashes make it again.
    for lost in ((), ("tree",)):
        for name in lost:
            (log / name).unlink()
        made, recovery = reopen(log)
        assert (made.size, recovery) == (10, Recovery(0, 0))
        made.close()
        assert parse((log / "checkpoint").read_bytes()) == signed
    write(log, 3, first=10)
    assert parse((log / "checkpoint").read_bytes()).size == 13


@pytest.mark.parametrize("gone", [(8,), (4, 8), (0, 4, 8)])
def test_a_log_without_its_last_segment_does_not_open_as_purged(
    tmp_path: Path, gone: tuple[int, ...]
) -> None:
    log = tmp_path / "gw"
    write(log, 12, per_segment=4)
    made, _ = reopen(log)
    tree = (log / "tree").read_bytes()
    made.rotate()
    made.release()
    # The crash came before the tree was saved: the last segment has its checkpoint and is still the last.
    purge(log, 12)
    (log / "tree").write_bytes(tree)
    purge(log, *gone)
    with pytest.raises(LogDamaged, match="missing"):
        reopen(log)


def test_two_writers_never_share_a_log(tmp_path: Path) -> None:
    first = journal(tmp_path / "gw")
    first.open()
    with pytest.raises(LogInUse, match="another process"):
        journal(tmp_path / "gw").open()
    first.close()
    second = journal(tmp_path / "gw")
    second.open()
    second.close()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_entry_is_cut_and_told(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "gw"
    write(log, 5)
    path = files.segment_path(log, 0)
    torn = encode(an_event(5), seq=5, salt=SALT)[:cut]
    with path.open("ab") as file:
        file.write(torn)
    made, recovery = reopen(log)
    assert (made.size, recovery) == (5, Recovery(cut, 0))
    made.commit([encode(an_event(5), seq=5, salt=SALT)])
    made.close()
    assert [decode(line)["seq"] for line in lines(log)] == list(range(6))


def test_entries_after_the_last_checkpoint_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 5)
    made, _ = reopen(log)
    for number in range(5, 8):
        made.commit([encode(an_event(number), seq=number, salt=SALT)])
    made.release()
    made, recovery = reopen(log)
    assert (made.size, recovery) == (8, Recovery(0, 3))
    made.close()
    assert parse((log / "checkpoint").read_bytes()).size == 8


@pytest.mark.parametrize("junk", [b"\0" * 700 + b"\n", b"{}\n", b'{"v":1}\n', b"\0\0\0\n{\n"])
def test_what_the_disk_made_up_after_a_power_cut_is_cut(tmp_path: Path, junk: bytes) -> None:
    log = tmp_path / "gw"
    write(log, 5)
    with files.segment_path(log, 0).open("ab") as file:
        file.write(junk)
    made, recovery = reopen(log)
    assert (made.size, recovery) == (5, Recovery(len(junk), 0))
    made.close()


def unsigned(log: Path, count: int) -> bytes:
    """Let a journal write *count* entries and be killed before it signs them; return its segment."""
    made, _ = reopen(log)
    for _ in range(count):
        made.commit([encode(an_event(made.size), seq=made.size, salt=SALT)])
    made.release()
    return files.segment_path(log, 0).read_bytes()


def test_entries_that_somebody_appended_are_never_signed(tmp_path: Path) -> None:
    """Whoever can write to the files, and has no key, cannot have the next start sign his entries."""
    log = tmp_path / "gw"
    write(log, 2)
    unsigned(log, 2)
    forged = b"".join(encode(an_event(seq), seq=seq, salt=SALT) + b"\n" for seq in (4, 5))
    with files.segment_path(log, 0).open("ab") as file:
        file.write(forged)
    made, recovery = reopen(log)
    aside = log / "0000000000.foreign-1"
    assert (made.size, recovery) == (4, Recovery(len(forged), 2, 2, aside))
    assert aside.read_bytes() == forged
    made.close()
    assert [decode(line)["seq"] for line in lines(log)] == [0, 1, 2, 3]
    assert parse((log / "checkpoint").read_bytes()).size == 4


def edited(data: bytes) -> bytes:
    return data[::-1].replace(b"nitram.rd", b"dnarud.rd", 1)[::-1]


def other_mark(data: bytes) -> bytes:
    at = data.rfind(b'","seq"') - 1
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


def renumbered(data: bytes) -> bytes:
    return data.replace(b'"seq":3', b'"seq":2')


@pytest.mark.parametrize("change", [edited, other_mark, renumbered])
def test_an_unsigned_entry_that_was_changed_is_put_aside(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    log = tmp_path / "gw"
    write(log, 2)
    data = unsigned(log, 2)
    changed = change(data)
    assert changed != data
    files.segment_path(log, 0).write_bytes(changed)
    made, recovery = reopen(log)
    assert (made.size, recovery.unsigned, recovery.foreign) == (3, 1, 1)
    made.close()


def test_what_another_writer_of_the_site_wrote_is_foreign(tmp_path: Path) -> None:
    for name in ("gw-1", "gw-2"):
        write(tmp_path / name, 2)
    unsigned(tmp_path / "gw-1", 1)
    theirs = unsigned(tmp_path / "gw-2", 1).splitlines(keepends=True)[-1]
    path = files.segment_path(tmp_path / "gw-1", 0)
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True)[:-1], theirs]))
    made, recovery = reopen(tmp_path / "gw-1")
    assert (made.size, recovery.foreign) == (2, 1)
    made.close()


def test_a_crash_between_two_segments_is_mended(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 4, per_segment=4)
    made, _ = reopen(log)
    made.rotate()
    made.release()
    # The crash came before the new segment reached the disk.
    files.segment_path(log, 4).unlink()
    files.segment_path(log, 4, ".leaves").unlink()
    made, recovery = reopen(log)
    assert (made.size, recovery) == (4, Recovery(0, 0))
    made.commit([encode(an_event(4), seq=4, salt=SALT)])
    made.close()
    assert len(lines(log)) == 5


def test_lost_leaf_hashes_and_a_lost_tree_are_made_again(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    write(log, 10, per_segment=4)
    leaves = {path.name: path.read_bytes() for path in log.glob("*.leaves")}
    for path in (*log.glob("*.leaves"), log / "tree"):
        path.unlink()
    made, _ = reopen(log)
    assert made.size == 10
    made.close()
    assert (log / "0000000008.leaves").read_bytes() == leaves["0000000008.leaves"]


def edit(log: Path) -> None:
    path = files.segment_path(log, 8)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand", 1))


def cut_tail(log: Path) -> None:
    path = files.segment_path(log, 8)
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")


def cut_inside(log: Path) -> None:
    path = files.segment_path(log, 8)
    path.write_bytes(path.read_bytes()[:-20])


def drop_segment(log: Path) -> None:
    files.segment_path(log, 8).unlink()


def drop_checkpoint(log: Path) -> None:
    (log / "checkpoint").unlink()


def forge_checkpoint(log: Path) -> None:
    shutil.copy(log / "0000000000.checkpoint", log / "checkpoint")


def garble_checkpoint(log: Path) -> None:
    path = log / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n10\n", b"\n11\n"))


def garble_tree(log: Path) -> None:
    (log / "tree").write_bytes(b"{}")


def alter_tree(log: Path) -> None:
    path = log / "tree"
    path.write_bytes(path.read_bytes().replace(b'"hashes":["', b'"hashes":["AAAA')[: -len(b"AAAA")])


def stray_file(log: Path) -> None:
    (log / "notes.jsonl").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [edit, cut_tail, cut_inside, drop_segment, drop_checkpoint, forge_checkpoint, garble_checkpoint, garble_tree,
     alter_tree, stray_file],
)  # fmt: skip
def test_a_log_that_is_not_what_was_signed_is_not_opened(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    log = tmp_path / "gw"
    write(log, 10, per_segment=4)
    damage(log)
    before = {path.name: path.read_bytes() for path in log.iterdir()}
    with pytest.raises(LogDamaged) as caught:
        journal(log).open()
    assert str(log) in str(caught.value)
    # Evidence is left as it was found, and the lock is free again.
    assert {path.name: path.read_bytes() for path in log.iterdir()} == before
    with pytest.raises(LogDamaged):
        journal(log).open()


def test_the_log_of_another_writer_or_site_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "gw-1", 3)
    (tmp_path / "gw-1").rename(tmp_path / "gw-2")
    with pytest.raises(LogDamaged, match="site/gw-1"):
        journal(tmp_path / "gw-2").open()
    with pytest.raises(LogDamaged, match="not signed"):
        journal(tmp_path / "gw-2", ring=OTHER_RING).open()


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb"])
def test_an_origin_that_cannot_sign_is_refused_at_once(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        Journal(tmp_path / "gw", origin, RING, segment_bytes=1)


def test_healing_drops_what_was_never_promised_and_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    log = tmp_path / "gw"
    made = journal(log)
    made.open()
    made.commit([encode(an_event(0), seq=0, salt=SALT)])
    # A write that failed half way.
    with files.segment_path(log, 0).open("ab") as file:
        file.write(encode(an_event(1), seq=1, salt=SALT) + b"\n{half")
    made.heal()
    made.commit([encode(an_event(7), seq=1, salt=SALT)])
    made.close()
    assert files.segment_starts(log) == [0, 1]
    assert [decode(line)["request_id"] for line in lines(log)] == ["r0", "r7"]
    made, recovery = reopen(log)
    assert (made.size, recovery) == (2, Recovery(0, 0))
    made.close()


def lose(path: Path) -> None:
    path.unlink()


def shorten(path: Path) -> None:
    os.truncate(path, 20)


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))


def wipe(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir()


@pytest.mark.parametrize("damage", [lose, shorten, alter, wipe])
def test_healing_refuses_when_something_promised_is_gone(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    log = tmp_path / "gw"
    made = journal(log)
    made.open()
    made.commit([encode(an_event(0), seq=0, salt=SALT)])
    damage(files.segment_path(log, 0))
    for _ in range(2):
        with pytest.raises((LogDamaged, OSError)):
            made.heal()
    made.release()


@pytest.mark.parametrize("damage", [lose, shorten, wipe])
def test_a_segment_taken_away_under_the_writer_is_noticed(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    log = tmp_path / "gw"
    made = journal(log)
    made.open()
    made.commit([encode(an_event(0), seq=0, salt=SALT)])
    damage(files.segment_path(log, 0))
    made.commit([encode(an_event(1), seq=1, salt=SALT)])
    with pytest.raises(OSError, match=r"moved|No such file"):
        made.checkpoint()
    made.release()


def test_files_are_not_for_everybody(tmp_path: Path) -> None:
    log = tmp_path / "audit" / "gw"
    write(log, 1)
    assert all(path.stat().st_mode & 0o007 == 0 for path in (log, log.parent, *log.iterdir()))
