"""Retention: what is too old goes, on record, and the log verifies as it did."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import Checkpoint, open_checkpoint, sign, verify
from gateway.audit.encoding import encode
from gateway.audit.keeper import archive_lock, keep, publish
from gateway.audit.manifest import read_manifest
from gateway.audit.operator import operator_log
from gateway.audit.purges import PRESETS, Purge, justify, purge_event
from gateway.audit.retention import Purged, before, drop, find_due
from gateway.audit.sealed import NotAsSigned
from gateway.audit.verify import Broken, Verified, purged_on_record, verify_log
from gateway.configuration.checks_audit import RETENTION_PRESETS
from tests.unit.audit.archives import DAY_MS, assert_one_log, day_ms, entries, event, write_days
from tests.unit.audit.logs import KEY, NOW_MS, OTHER_RING, PRIVATE, RING, SALT, SITE, journal


@pytest.fixture
def audit_dir(tmp_path: Path) -> Path:
    """Five days of a gateway, the last one's segment open."""
    write_days(tmp_path / "gateway", range(5))
    return tmp_path


def record(audit_dir: Path, *purges: Purge, at_ms: int, ring: object = RING) -> None:
    with operator_log(audit_dir, SITE, ring) as log:  # type: ignore[arg-type]
        for purge in purges:
            log.record(purge_event(purge, at_ms, "sysop", "register 12", older_than="x", retention="y"))


def purge(audit_dir: Path, before_ms: int, at_ms: int | None = None) -> Purged:
    """What the command does."""
    with archive_lock(audit_dir):
        due = find_due(audit_dir, [KEY], before_ms)
        record(audit_dir, *(item.purge for item in due), at_ms=at_ms or before_ms)
        return drop(audit_dir, due)


def sound(log: Path, exported: Checkpoint | None = None) -> Verified:
    found = verify_log(log, [KEY], exported=exported)
    assert isinstance(found, Verified), found
    return found


def broken(log: Path) -> Broken:
    found = verify_log(log, [KEY])
    assert isinstance(found, Broken), found
    return found


def kept(
    expected: dict[tuple[str, int], dict[str, object]], below: int
) -> dict[tuple[str, int], dict[str, object]]:
    return {name: entry for name, entry in expected.items() if name[1] >= below}


def test_what_is_too_old_goes_and_the_log_verifies_as_it_did(audit_dir: Path) -> None:
    log = audit_dir / "gateway"
    exported = [verify((log / f"{start:010d}.checkpoint").read_bytes(), [KEY]) for start in (0, 4, 8)]
    texts = [b"dr.martin", SALT.hex().encode()]
    expected = entries(audit_dir)
    assert purge(audit_dir, day_ms(2)) == Purged(8, 2, 0, 0)
    found = sound(log)
    assert (found.size, found.signed, found.purged) == (20, 20, 8)
    for checkpoint in exported:
        assert sound(log, checkpoint).exported == checkpoint.size
    gone = [path for path in log.iterdir() if path.name[:10] in {"0000000000", "0000000004"}]
    assert {path.suffix for path in gone} == {".leaves", ".checkpoint"}
    assert not any(text in path.read_bytes() for path in gone for text in texts)
    # The writer goes on, and opens although its tree file is lost.
    (log / "tree").unlink()
    write_days(log, [5])
    assert sound(log).size == 24
    assert {name: entry for name, entry in entries(audit_dir).items() if name in expected} == {
        name: entry for name, entry in expected.items() if name[1] >= 8
    }


def test_a_purge_is_on_record_with_who_why_and_what(audit_dir: Path) -> None:
    purge(audit_dir, day_ms(2))
    (told,) = [entry for (writer, _), entry in entries(audit_dir).items() if writer == "operator"]
    assert (told["kind"], told["operator"]) == ("audit-purged", "sysop")
    assert {name: told["detail"][name] for name in ("writer", "first_seq", "up_to", "segments", "reason")} == {
        "writer": "gateway", "first_seq": "0", "up_to": "8", "segments": "2", "reason": "register 12",
    }  # fmt: skip
    assert purged_on_record(audit_dir, [KEY]) == {"gateway": 8}


@pytest.mark.parametrize(
    ("before_ms", "up_to"),
    [
        (day_ms(0), 0),
        (day_ms(0) + 3, 0),
        (day_ms(0) + 4, 4),
        (day_ms(1) + 3, 4),
        (day_ms(3), 12),
        (day_ms(99), 16),
    ],
)
def test_only_segments_wholly_older_go_and_never_the_last_one(
    audit_dir: Path, before_ms: int, up_to: int
) -> None:
    purge(audit_dir, before_ms)
    assert sound(audit_dir / "gateway").purged == up_to


def test_one_younger_entry_keeps_its_segment_and_those_after_it(tmp_path: Path) -> None:
    log = journal(tmp_path / "gateway")
    log.open()
    # A clock that stood wrong for a moment, in the second of three segments.
    for seq, day in enumerate((0, 0, 0, 9, 0, 0)):
        log.commit([encode(event(day, seq), seq=seq, salt=SALT)])
        if seq % 2:
            log.rotate()
    log.close()
    purge(tmp_path, day_ms(5))
    assert sound(tmp_path / "gateway").purged == 2


def test_rows_of_the_archive_go_too(audit_dir: Path) -> None:
    write_days(audit_dir / "gateway.b", range(1, 5))
    keep(audit_dir, [KEY], day_ms(5))
    expected = entries(audit_dir)
    assert purge(audit_dir, day_ms(2)).rows > 12
    operators = {name: entry for name, entry in entries(audit_dir).items() if name[0] == "operator"}
    left = {
        name: entry for name, entry in expected.items() if name[1] >= {"gateway": 8, "gateway.b": 4}[name[0]]
    }
    manifest = assert_one_log(audit_dir, left | operators)
    assert manifest.purged == {"gateway": 8, "gateway.b": 4}
    assert len(manifest.events) == 4


def test_a_merged_file_is_written_again_without_them_and_the_old_ones_go_at_once(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(40))
    expected = entries(audit_dir)
    purge(audit_dir, day_ms(2), at_ms=day_ms(400))
    operators = {name: entry for name, entry in entries(audit_dir).items() if name[0] == "operator"}
    manifest = assert_one_log(audit_dir, kept(expected, 8) | operators)
    assert [item.path.name for item in (*manifest.events, *manifest.accesses)] == ["2026-09.1-1.parquet"] * 2
    on_disk = set((audit_dir / "archive").glob("*/*"))
    assert on_disk == {item.path for item in (*manifest.events, *manifest.accesses)}
    # It stays sorted, so nothing is to be merged again.
    assert keep(audit_dir, [KEY], day_ms(400)).merges == 0
    # Once nothing of a month remains, nor does its file.
    purge(audit_dir, day_ms(4), at_ms=day_ms(401))
    assert read_manifest(audit_dir).events == ()
    assert sound(audit_dir / "gateway").purged == 16


def test_what_was_never_archived_is_purged_and_not_archived_later(audit_dir: Path) -> None:
    expected = entries(audit_dir)
    purge(audit_dir, day_ms(2), at_ms=day_ms(400))
    done = keep(audit_dir, [KEY], day_ms(5))
    assert (done.segments, done.faults) == (2, ())
    operators = {name: entry for name, entry in entries(audit_dir).items() if name[0] == "operator"}
    assert_one_log(audit_dir, kept(expected, 8) | operators)
    # The archive was lost, after a purge: the record says where it begins.
    shutil.rmtree(audit_dir / "archive")
    done = keep(audit_dir, [KEY], day_ms(5))
    assert (done.segments, done.faults) == (2, ())
    assert read_manifest(audit_dir).archived == {"gateway": 16}


def rob(log: Path) -> None:
    for start in (0, 4):
        (log / f"{start:010d}.jsonl").unlink()


def test_entries_gone_without_a_record_are_missing(audit_dir: Path) -> None:
    rob(audit_dir / "gateway")
    found = broken(audit_dir / "gateway")
    assert (found.file.name, found.line, found.seq) == ("0000000008.jsonl", 1, 0)
    assert "entries 0 to 7 are missing: no purge of them is on record" in found.what


def test_a_record_excuses_no_more_than_it_says(audit_dir: Path) -> None:
    purge(audit_dir, day_ms(1))
    (audit_dir / "gateway" / "0000000004.jsonl").unlink()
    assert "entries 4 to 7 are missing" in broken(audit_dir / "gateway").what
    # Nor does it cover a hole in the middle, or the end.
    other = audit_dir / "other"
    write_days(other / "gateway", range(5))
    record(other, Purge("gateway", 0, 12, 3, 1), at_ms=NOW_MS)
    (other / "gateway" / "0000000004.jsonl").unlink()
    assert "entries 4 to 7 are missing" in broken(other / "gateway").what


def forge(audit_dir: Path) -> None:
    """A log of commands of the intruder's own, under a key of his own."""
    record(audit_dir, Purge("gateway", 0, 8, 2, 1), at_ms=NOW_MS, ring=OTHER_RING)


def append(audit_dir: Path) -> None:
    """An entry after the last signed one."""
    record(audit_dir, Purge("gateway", 0, 0, 0, 0), at_ms=NOW_MS)
    line = encode(
        purge_event(Purge("gateway", 0, 8, 2, 1), NOW_MS, "x", "y", older_than="", retention=""),
        seq=1,
        salt=SALT,
    )
    with files.segment_path(audit_dir / "operator", 0).open("ab") as file:
        file.write(line + b"\n")


def alter(audit_dir: Path) -> None:
    """A true record, made to say more."""
    record(audit_dir, Purge("gateway", 0, 4, 1, 1), at_ms=NOW_MS)
    path = files.segment_path(audit_dir / "operator", 0)
    path.write_bytes(path.read_bytes().replace(b'"up_to":"4"', b'"up_to":"8"'))


def elsewhere(audit_dir: Path) -> None:
    """A true record of another writer."""
    record(audit_dir, Purge("gateway.b", 0, 8, 2, 1), at_ms=NOW_MS)


def in_the_gateways_log(audit_dir: Path) -> None:
    """A folder that is no log of commands."""
    record(audit_dir / "x", Purge("gateway", 0, 8, 2, 1), at_ms=NOW_MS)
    (audit_dir / "x" / "operator").rename(audit_dir / "clerk")
    (audit_dir / "x").rmdir()


@pytest.mark.parametrize("lie", [forge, append, alter, elsewhere, in_the_gateways_log])
def test_an_intruder_does_not_pass_for_a_purge(audit_dir: Path, lie: Callable[[Path], None]) -> None:
    rob(audit_dir / "gateway")
    lie(audit_dir)
    assert purged_on_record(audit_dir, [KEY]).get("gateway", 0) == 0
    assert "are missing" in broken(audit_dir / "gateway").what
    # Nor is it made good by a later, true purge.
    with pytest.raises(NotAsSigned), archive_lock(audit_dir):
        find_due(audit_dir, [KEY], day_ms(4))


@pytest.mark.parametrize("with_seal", [True, False])
def test_altered_leaf_hashes_of_purged_entries_are_told(audit_dir: Path, with_seal: bool) -> None:
    purge(audit_dir, day_ms(2))
    path = audit_dir / "gateway" / "0000000004.leaves"
    raw = bytearray(path.read_bytes())
    raw[33] ^= 1
    path.write_bytes(raw)
    if not with_seal:
        # Its own checkpoint says nothing any more: the log's does.
        seal = audit_dir / "gateway" / "0000000004.checkpoint"
        seal.write_bytes(b"x\n")
    found = broken(audit_dir / "gateway")
    assert "the leaf hashes of the purged entries" in found.what
    assert (found.file.name, found.seq) == ("0000000004.leaves", 4)


@pytest.mark.parametrize("suffix", [".leaves", ".checkpoint"])
def test_a_purged_segment_without_what_must_stay_is_missing(audit_dir: Path, suffix: str) -> None:
    purge(audit_dir, day_ms(2))
    (audit_dir / "gateway" / f"0000000004{suffix}").unlink()
    assert "entries 4 to 7 are missing" in broken(audit_dir / "gateway").what


def test_what_is_not_as_signed_is_evidence_and_is_not_purged(audit_dir: Path) -> None:
    path = files.segment_path(audit_dir / "gateway", 4)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    with pytest.raises(NotAsSigned, match="keep it as evidence"), archive_lock(audit_dir):
        find_due(audit_dir, [KEY], day_ms(3))
    assert files.segment_starts(audit_dir / "gateway") == [0, 4, 8, 12, 16]


def test_leaf_hashes_are_made_right_before_they_are_all_there_is(audit_dir: Path) -> None:
    (audit_dir / "gateway" / "0000000000.leaves").write_bytes(b"x" * 128)
    (audit_dir / "gateway" / "0000000004.leaves").unlink()
    purge(audit_dir, day_ms(2))
    assert sound(audit_dir / "gateway").purged == 8


def test_no_record_is_purged_before_its_successor_stands(tmp_path: Path) -> None:
    # A gateway that stopped for good, purged long ago; and the log of commands grows old itself.
    write_days(tmp_path / "gateway.old", range(3))
    purge(tmp_path, day_ms(2), at_ms=day_ms(2))
    for day in range(3, 9):
        with operator_log(tmp_path, SITE, RING) as log:
            log.record(event(day, 2))
    purge(tmp_path, day_ms(8), at_ms=day_ms(9))
    assert sound(tmp_path / "operator").purged > 1
    assert sound(tmp_path / "gateway.old").purged == 8
    assert purged_on_record(tmp_path, [KEY]) == {
        "gateway.old": 8,
        "operator": sound(tmp_path / "operator").purged,
    }
    # And again, when nothing more of the old one can go.
    for day in range(10, 14):
        with operator_log(tmp_path, SITE, RING) as log:
            log.record(event(day, 2))
    purge(tmp_path, day_ms(13), at_ms=day_ms(14))
    assert sound(tmp_path / "gateway.old").purged == 8
    assert sound(tmp_path / "operator").purged > 5


def test_the_operators_log_needs_its_own_record(tmp_path: Path) -> None:
    for day in range(4):
        with operator_log(tmp_path, SITE, RING) as log:
            log.record(event(day, 2))
    (tmp_path / "operator" / "0000000000.jsonl").unlink()
    assert "entries 0 to 0 are missing" in broken(tmp_path / "operator").what


def test_nothing_due_records_nothing(audit_dir: Path) -> None:
    assert find_due(audit_dir, [KEY], day_ms(0)) == []
    purge(audit_dir, day_ms(2))
    assert find_due(audit_dir, [KEY], day_ms(2)) == []


def test_presets_have_their_justification_and_others_need_one() -> None:
    assert tuple(PRESETS) == RETENTION_PRESETS == (183, 365, 1_095)
    assert justify(365, "").startswith("365 days: one year")
    assert justify(365, "register 12") == "365 days: register 12"
    assert justify(400, "register 12") == "400 days: register 12"
    with pytest.raises(ValueError, match="retention_reason"):
        justify(400, " ")
    assert before(NOW_MS, 183) == (NOW_MS - 183 * DAY_MS, "2026-03-22T14:13:20+00:00")


def test_rows_that_go_leave_no_name_twice(audit_dir: Path) -> None:
    # Two parts of one month: one goes whole, the other in part, under a name none had before.
    write_days(audit_dir / "gateway", [40])
    keep(audit_dir, [KEY], day_ms(40))
    manifest = read_manifest(audit_dir)
    (item,) = manifest.events
    assert item.path.name == "2026-09.1-0.parquet"
    twin = replace(item, path=item.path.with_name("2026-09.1-1.parquet"), seqs={"gateway": (0, 3)}, rows=4)
    shutil.copy(item.path, twin.path)
    publish(audit_dir, replace(manifest, events=(item, twin)))
    purge(audit_dir, day_ms(2), at_ms=day_ms(400))
    assert [one.path.name for one in read_manifest(audit_dir).events] == ["2026-09.1-2.parquet"]


def test_a_checkpoint_that_a_known_key_signed_for_another_sites_log_purges_nothing(audit_dir: Path) -> None:
    path = audit_dir / "gateway" / files.CHECKPOINT
    signed = replace(open_checkpoint(path.read_bytes(), [KEY]), origin="elsewhere/gateway")
    path.write_bytes(sign(signed, SITE, PRIVATE))
    with pytest.raises(NotAsSigned, match="none of the given keys may sign"):
        find_due(audit_dir, [KEY], day_ms(3))
