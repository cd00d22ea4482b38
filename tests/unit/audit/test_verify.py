"""Verification names the first bad entry, whatever was done to the files."""

import base64
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, open_checkpoint, sign
from gateway.audit.encoding import encode
from gateway.audit.merkle import leaf_hash
from gateway.audit.verify import Broken, CannotRead, Verified, verify_log
from tests.unit.audit.logs import KEY, OTHER_RING, PRIVATE, SALT, an_event, journal, write


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twelve entries in three segments of four."""
    write(tmp_path / "gw", 12, per_segment=4)
    return tmp_path / "gw"


def segment(log: Path, start: int) -> Path:
    return files.segment_path(log, start)


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def edit(line: bytes) -> bytes:
    return line.replace(b"dr.martin", b"dr.durand")


def releaf(path: Path) -> None:
    entries = path.read_bytes().splitlines()
    path.with_suffix(".leaves").write_bytes(b"".join(leaf_hash(entry) for entry in entries))


def renumbered(number: int, seq: int) -> bytes:
    return encode(an_event(number), seq=seq, salt=SALT) + b"\n"


@dataclass(frozen=True)
class Tampering:
    """What somebody does to a log of twelve, and where it has to be seen."""

    name: str
    act: Callable[[Path], object]
    file: str
    line: int | None
    seq: int | None
    what: str


def on(
    start: int, change: Callable[[list[bytes]], list[bytes]], *, leaves: bool = False, seal: bool = True
) -> Callable[[Path], None]:
    """Change the lines of one segment, and on request its leaf hashes and its checkpoint."""

    def act(log: Path) -> None:
        rewrite(segment(log, start), change)
        if leaves:
            releaf(segment(log, start))
        if not seal:
            segment(log, start).with_suffix(".checkpoint").unlink()

    return act


def drop_all(log: Path) -> None:
    for start in (0, 4, 8):
        segment(log, start).unlink()


def edit_checkpoint(log: Path) -> None:
    path = log / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n12\n", b"\n11\n"))


def signed_as(origin: str) -> Callable[[Path], object]:
    note = sign(Checkpoint(origin, 12, bytes(32)), "site", PRIVATE)
    return lambda log: (log / "checkpoint").write_bytes(note)


FIRST, SECOND, LAST = "0000000000.jsonl", "0000000004.jsonl", "0000000008.jsonl"


def swap(log: Path) -> None:
    one, other, aside = segment(log, 0), segment(log, 4), log / "aside"
    for suffix in (".jsonl", ".leaves"):
        one.with_suffix(suffix).rename(aside)
        other.with_suffix(suffix).rename(one.with_suffix(suffix))
        aside.rename(other.with_suffix(suffix))


def forge_all(log: Path) -> None:
    """Edit an entry, its leaf hash, and sign the result with a key of one's own."""
    rewrite(segment(log, 8), lambda x: [x[0], edit(x[1]), *x[2:]])
    releaf(segment(log, 8))
    made = Checkpoint("site/gw", 12, bytes(32))
    (log / "checkpoint").write_bytes(sign(made, "site", OTHER_RING.key()))


def shift_tail(log: Path) -> None:
    """Delete entry 9 and renumber what follows, leaf hashes included."""
    rewrite(segment(log, 8), lambda x: [x[0], renumbered(10, 9), renumbered(11, 10)])
    releaf(segment(log, 8))


TAMPERINGS = [
    # Edits: anywhere, one byte, white space only, the line end.
    Tampering("edit", on(4, lambda x: [x[0], edit(x[1]), *x[2:]]), SECOND, 2, 5, "edited"),
    Tampering("edit-first", on(0, lambda x: [edit(x[0]), *x[1:]]), FIRST, 1, 0, "edited"),
    Tampering("edit-last", on(8, lambda x: [*x[:3], edit(x[3])]), LAST, 4, 11, "edited"),
    Tampering("space", on(4, lambda x: [x[0].replace(b",", b", ", 1), *x[1:]]), SECOND, 1, 4, "edited"),
    Tampering("crlf", on(4, lambda x: [x[0][:-1] + b"\r\n", *x[1:]]), SECOND, 1, 4, "edited"),
    Tampering("garbage", on(4, lambda x: [*x[:2], b"garbage\n", x[3]]), SECOND, 3, 6, "not a JSON line"),
    Tampering("blank", on(4, lambda x: [*x[:2], b"\n", *x[2:]]), SECOND, 3, 6, "not a JSON line"),
    # Deletions, insertions, repetitions, reorderings.
    Tampering("delete", on(4, lambda x: [x[0], *x[2:]]), SECOND, 2, 5, "deleted"),
    Tampering("delete-renumber", shift_tail, LAST, None, 8, "^1 of entries 8 to 11"),
    Tampering("insert", on(4, lambda x: [x[0], renumbered(99, 5), *x[1:]]), SECOND, 2, 5, "edited"),
    Tampering("repeat", on(4, lambda x: [x[0], x[1], x[1], *x[2:]]), SECOND, 3, 6, "repeated"),
    Tampering("reorder", on(4, lambda x: [x[0], x[2], x[1], x[3]]), SECOND, 2, 5, "moved"),
    Tampering("join", on(4, lambda x: [x[0], x[1][:-1] + x[2], x[3]]), SECOND, 2, 5, "not a JSON line"),
    # Head, tail, whole files.
    Tampering("head", on(0, lambda x: x[1:]), FIRST, 1, 0, "deleted"),
    Tampering("head-file", lambda log: segment(log, 0).unlink(), SECOND, 1, 0, "0 to 3 are missing"),
    Tampering("middle-file", lambda log: segment(log, 4).unlink(), LAST, 1, 4, "4 to 7 are missing"),
    Tampering("segment-end", on(4, lambda x: x[:3]), LAST, 1, 7, "7 to 7 are missing"),
    Tampering("tail", on(8, lambda x: x[:2]), LAST, None, 10, "10 to 11.*missing"),
    Tampering("tail-and-leaves", on(8, lambda x: x[:2], leaves=True), LAST, None, 8, "^2 of entries 8 to 11"),
    Tampering("tail-file", lambda log: segment(log, 8).unlink(), SECOND, None, 8, "8 to 11.*missing"),
    Tampering("tail-torn", on(8, lambda x: [*x[:3], x[3][:40]]), LAST, 4, 11, "cut"),
    Tampering("all-files", drop_all, "gw", None, 0, "0 to 11"),
    Tampering("swap", swap, FIRST, 1, 0, "moved"),
    Tampering("copy-file", lambda log: shutil.copy(segment(log, 0), segment(log, 4)), SECOND, 1, 4, "repeated"),
    Tampering("extra", lambda log: shutil.copy(segment(log, 8), segment(log, 9)), "0000000009.jsonl", 1, 12, "overlap"),
    Tampering("stray-file", lambda log: (log / "x.jsonl").write_bytes(b""), "gw", None, None, "x.jsonl"),
    # The leaf hashes are altered too: the signature still tells, to the segment.
    Tampering(
        "edit-and-leaves",
        on(4, lambda x: [x[0], edit(x[1]), *x[2:]], leaves=True),
        SECOND, None, 4, "one of entries 4 to 7",
    ),
    Tampering(
        "edit-leaves-no-segment-checkpoint",
        on(4, lambda x: [x[0], edit(x[1]), *x[2:]], leaves=True, seal=False),
        SECOND, None, 4, "one of entries 4 to 11",
    ),
    # Checkpoints.
    Tampering("no-checkpoint", lambda log: (log / "checkpoint").unlink(), "checkpoint", None, None, "missing"),
    Tampering("forged-checkpoint", forge_all, "checkpoint", None, None, "refused"),
    Tampering("edited-checkpoint", edit_checkpoint, "checkpoint", None, None, "refused"),
    Tampering("other-log", signed_as("site/other"), "checkpoint", None, None, "site/other"),
    Tampering("other-site", signed_as("elsewhere/gw"), "checkpoint", None, None, "refused"),
]  # fmt: skip


@pytest.mark.parametrize("case", TAMPERINGS, ids=lambda case: case.name)
def test_the_first_bad_entry_is_named(log: Path, case: Tampering) -> None:
    case.act(log)
    found = verify_log(log, [KEY])
    assert isinstance(found, Broken)
    assert re.search(case.what, found.what), found
    assert (found.file.name, found.line, found.seq) == (case.file, case.line, case.seq), found


def test_a_whole_log_is_sound(log: Path) -> None:
    assert verify_log(log, [KEY]) == Verified(log, "site/gw", 12, 12, None, 0, damaged_leaves=False)


def test_an_empty_log_is_sound(tmp_path: Path) -> None:
    write(tmp_path / "gw", 0)
    assert verify_log(tmp_path / "gw", [KEY]) == Verified(
        tmp_path / "gw", "site/gw", 0, 0, None, 0, damaged_leaves=False
    )


def test_a_log_may_be_verified_while_it_is_written(log: Path) -> None:
    made = journal(log)
    made.open()
    made.commit([encode(an_event(12), seq=12, salt=SALT)])
    with segment(log, 8).open("ab") as file:
        file.write(b'{"account":"half')
    assert verify_log(log, [KEY]) == Verified(log, "site/gw", 13, 12, None, 16, damaged_leaves=False)
    made.release()


@pytest.mark.parametrize("act", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 128)])
def test_damaged_leaf_hashes_alone_are_no_lost_evidence(log: Path, act: Callable[[Path], object]) -> None:
    act(segment(log, 4).with_suffix(".leaves"))
    found = verify_log(log, [KEY])
    assert isinstance(found, Verified)
    assert found.damaged_leaves


def test_segment_checkpoints_prove_nothing_by_their_absence_or_forgery(log: Path) -> None:
    (log / "0000000000.checkpoint").unlink()
    (log / "0000000004.checkpoint").write_bytes(b"junk")
    assert isinstance(verify_log(log, [KEY]), Verified)


# A copy of the log's past cannot be told from the log, but by a checkpoint kept elsewhere.


def test_a_restored_old_copy_is_seen_against_a_kept_checkpoint(log: Path, tmp_path: Path) -> None:
    old = tmp_path / "old" / "gw"
    shutil.copytree(log, old)
    write(log, 3, first=12)
    kept = open_checkpoint((log / "checkpoint").read_bytes(), [KEY])
    assert isinstance(verify_log(log, [KEY], exported=kept), Verified)
    assert isinstance(verify_log(old, [KEY]), Verified)
    found = verify_log(old, [KEY], exported=kept)
    assert isinstance(found, Broken)
    assert (found.seq, found.what) == (
        12,
        "entries 12 to 14, which the exported checkpoint signed, are missing",
    )


def test_a_rewritten_past_is_seen_against_a_kept_checkpoint(log: Path) -> None:
    # Whoever holds the signing key rewrites everything: only what left the house helps.
    kept = open_checkpoint((log / "0000000004.checkpoint").read_bytes(), [KEY])
    shutil.rmtree(log)
    write(log, 12, per_segment=4, first=1)
    assert isinstance(verify_log(log, [KEY]), Verified)
    found = verify_log(log, [KEY], exported=kept)
    assert isinstance(found, Broken)
    assert found.seq == 4
    assert "exported checkpoint" in found.what


def test_an_unsigned_end_that_was_edited_is_seen_against_a_kept_checkpoint(log: Path) -> None:
    before = (log / "checkpoint").read_bytes()
    write(log, 2, first=12)
    kept = open_checkpoint((log / "checkpoint").read_bytes(), [KEY])
    (log / "checkpoint").write_bytes(before)
    rewrite(segment(log, 8), lambda x: [*x[:5], edit(x[5])])
    found = verify_log(log, [KEY], exported=kept)
    assert isinstance(found, Broken)
    assert (found.file.name, found.line, found.seq) == (LAST, 6, 13)


def test_a_checkpoint_of_another_log_is_not_compared(log: Path, tmp_path: Path) -> None:
    write(tmp_path / "gw-2", 3)
    kept = open_checkpoint((tmp_path / "gw-2" / "checkpoint").read_bytes(), [KEY])
    with pytest.raises(CannotRead, match="site/gw-2"):
        verify_log(log, [KEY], exported=kept)


@pytest.mark.parametrize("place", ["empty", "absent"])
def test_no_log_is_not_a_sound_log(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CannotRead):
        verify_log(tmp_path / place, [KEY])


def test_a_key_that_did_not_sign_breaks(log: Path) -> None:
    other = type(KEY)("site", base64.b64decode("A" * 43 + "="))
    assert isinstance(verify_log(log, [other]), Broken)


def test_progress_is_told(tmp_path: Path) -> None:
    made = journal(tmp_path / "gw")
    made.open()
    made.commit([encode(an_event(number), seq=number, salt=SALT) for number in range(20_001)])
    made.close()
    told: list[int] = []
    verify_log(tmp_path / "gw", [KEY], progress=told.append)
    assert told == [10_000, 20_000]
