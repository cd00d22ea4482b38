"""The keeper: every event once, whatever happens to it on the way."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from gateway.audit import archive, files, parquet
from gateway.audit.checkpoint import open_checkpoint, sign, verifier_of
from gateway.audit.encoding import encode
from gateway.audit.keeper import ArchiveInUse, archive_lock, keep
from gateway.audit.manifest import ManifestDamaged, read_manifest
from tests.unit.audit.archives import assert_one_log, day_ms, entries, event, rows, write_days
from tests.unit.audit.logs import KEY, OTHER_RING, PRIVATE, SALT, SITE, journal

NEXT_MONTH = 40


@pytest.fixture
def audit_dir(tmp_path: Path) -> Path:
    """Two gateways and a log of commands over four days."""
    for name in ("gateway.a", "gateway.b", "operator.a"):
        write_days(tmp_path / name, range(4))
    return tmp_path


def names(audit_dir: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in (audit_dir / "archive").glob("*/*")}


def test_sealed_segments_are_archived_and_the_last_ones_stay_in_the_journal(audit_dir: Path) -> None:
    done = keep(audit_dir, [KEY], day_ms(4))
    assert (done.segments, done.events, done.merges, done.faults) == (9, 36, 0, ())
    manifest = assert_one_log(audit_dir, entries(audit_dir))
    assert manifest.archived == {"gateway.a": 12, "gateway.b": 12, "operator.a": 12}
    assert "events/2026-09-21.gateway.a.0-3.parquet" in names(audit_dir)
    assert "accesses/2026-09-22.gateway.b.4-7.parquet" in names(audit_dir)
    for item in manifest.events:
        assert item.sha256 == hashlib.sha256(item.path.read_bytes()).hexdigest()
        times = [row["at_ms"] for row in rows([item])]
        assert (item.first_ms, item.last_ms) == (min(times), max(times))
    # A second pass finds nothing to do.
    before = (audit_dir / "archive" / "manifest.json").read_bytes()
    assert keep(audit_dir, [KEY], day_ms(4)).segments == 0
    assert (audit_dir / "archive" / "manifest.json").read_bytes() == before


def test_a_segment_over_midnight_becomes_a_piece_a_day(tmp_path: Path) -> None:
    log = journal(tmp_path / "gateway")
    log.open()
    # The clocks of two exchanges cross: the later entry is of the earlier day.
    for seq, day in enumerate((0, 0, 1, 0, 1)):
        log.commit([encode(event(day, seq), seq=seq, salt=SALT)])
    log.rotate()
    log.close()
    keep(tmp_path, [KEY], day_ms(2))
    assert_one_log(tmp_path, entries(tmp_path))
    assert {name for name in names(tmp_path) if name.startswith("events")} == {
        "events/2026-09-21.gateway.0-3.parquet",
        "events/2026-09-22.gateway.2-4.parquet",
    }


def test_a_passed_month_becomes_one_file_a_dataset_sorted(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(4))
    done = keep(audit_dir, [KEY], day_ms(NEXT_MONTH))
    assert (done.segments, done.merges, done.deleted) == (0, 2, 0)
    manifest = assert_one_log(audit_dir, entries(audit_dir))
    assert [item.path.name for item in (*manifest.events, *manifest.accesses)] == ["2026-09.1-0.parquet"] * 2
    for items, key in ((manifest.events, "account"), (manifest.accesses, "patient")):
        found = [(row.get(key, "\uffff"), row["at_ms"], row["writer"], row["seq"]) for row in rows(items)]
        assert found == sorted(found)
    # Readers that hold the old list find the old files, for a while.
    assert len(manifest.retired) == 18
    assert all(path.exists() for path in manifest.retired)
    assert keep(audit_dir, [KEY], day_ms(NEXT_MONTH) + archive.GRACE_MS - 1).deleted == 0
    assert keep(audit_dir, [KEY], day_ms(NEXT_MONTH) + archive.GRACE_MS).deleted == 18
    assert names(audit_dir) == {"events/2026-09.1-0.parquet", "accesses/2026-09.1-0.parquet"}
    assert_one_log(audit_dir, entries(audit_dir))


def test_what_comes_late_joins_its_month(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(NEXT_MONTH))
    write_days(audit_dir / "gateway.a", [NEXT_MONTH])
    keep(audit_dir, [KEY], day_ms(NEXT_MONTH) + 1)
    manifest = assert_one_log(audit_dir, entries(audit_dir))
    assert [item.path.name for item in manifest.events] == ["2026-09.2-0.parquet"]
    assert manifest.archived["gateway.a"] == 16


def test_many_pieces_of_a_running_month_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_PIECES", 3)
    write_days(tmp_path / "gateway", range(5))
    keep(tmp_path, [KEY], day_ms(5))
    write_days(tmp_path / "gateway", range(5, 8))
    keep(tmp_path, [KEY], day_ms(8))
    # The merged file waits for the end of the month; only pieces are merged meanwhile.
    manifest = assert_one_log(tmp_path, entries(tmp_path))
    assert [archive.generation_of(item.path) for item in manifest.events] == [None] * 3 + [(1, 0)]
    keep(tmp_path, [KEY], day_ms(NEXT_MONTH))
    manifest = assert_one_log(tmp_path, entries(tmp_path))
    assert [item.path.name for item in manifest.events] == ["2026-09.2-0.parquet"]


def test_only_what_was_signed_is_archived_and_the_other_logs_all_the_same(audit_dir: Path) -> None:
    path = files.segment_path(audit_dir / "gateway.a", 4)
    path.write_bytes(path.read_bytes().replace(b"dr.martin", b"dr.durand"))
    done = keep(audit_dir, [KEY], day_ms(4))
    assert done.segments == 7
    assert len(done.faults) == 1
    assert "0000000004.jsonl does not hold entries 4 to 7" in done.faults[0]
    assert read_manifest(audit_dir).archived == {"gateway.a": 4, "gateway.b": 12, "operator.a": 12}
    assert_one_log(audit_dir, entries(audit_dir))


def unsign(log: Path) -> None:
    (log / "checkpoint").unlink()


def unseal(log: Path) -> None:
    (log / "0000000000.checkpoint").unlink()


def behead(log: Path) -> None:
    for path in log.glob("0000000000.*"):
        path.unlink()


def rob(log: Path) -> None:
    (log / "0000000000.jsonl").unlink()


def lengthen(log: Path) -> None:
    path = log / "0000000000.jsonl"
    path.write_bytes(path.read_bytes() * 2)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (unsign, "checkpoint is missing"),
        (unseal, r"0000000000\.checkpoint is missing"),
        (behead, "no purge of them is on record"),
        (rob, "no purge of them is on record"),
        (lengthen, "does not hold entries 0 to 3"),
    ],
)
def test_a_harmed_log_is_left_out_and_told(audit_dir: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(audit_dir / "gateway.a")
    done = keep(audit_dir, [KEY], day_ms(4))
    (fault,) = done.faults
    assert re.search(said, fault), fault
    assert read_manifest(audit_dir).archived == {"gateway.b": 12, "operator.a": 12}


def test_another_key_archives_nothing(audit_dir: Path) -> None:
    done = keep(audit_dir, [verifier_of(SITE, OTHER_RING.key())], day_ms(4))
    assert (done.segments, len(done.faults)) == (0, 3)


@pytest.mark.parametrize("name", ["checkpoint", "0000000000.checkpoint"])
def test_a_checkpoint_that_a_known_key_signed_for_another_sites_log_archives_nothing(
    audit_dir: Path, name: str
) -> None:
    path = audit_dir / "gateway.a" / name
    signed = replace(open_checkpoint(path.read_bytes(), [KEY]), origin="elsewhere/gateway.a")
    path.write_bytes(sign(signed, SITE, PRIVATE))
    (fault,) = keep(audit_dir, [KEY], day_ms(4)).faults
    assert "'elsewhere/gateway.a', which none of the given keys may sign" in fault
    assert read_manifest(audit_dir).archived == {"gateway.b": 12, "operator.a": 12}


def test_another_log_in_place_of_an_archived_one_is_told(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(4))
    shutil.rmtree(audit_dir / "gateway.a")
    write_days(audit_dir / "gateway.a", [9])
    (fault,) = keep(audit_dir, [KEY], day_ms(10)).faults
    assert "12 stand in the archive" in fault


def test_a_lost_archive_is_made_again(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(NEXT_MONTH))
    first = read_manifest(audit_dir)
    shutil.rmtree(audit_dir / "archive")
    keep(audit_dir, [KEY], day_ms(NEXT_MONTH))
    assert_one_log(audit_dir, entries(audit_dir))
    assert read_manifest(audit_dir).archived == first.archived
    # Deterministic: the same rows give the same bytes.
    assert [item.sha256 for item in read_manifest(audit_dir).events] == [item.sha256 for item in first.events]


def test_a_damaged_manifest_stops_the_keeper(audit_dir: Path) -> None:
    keep(audit_dir, [KEY], day_ms(4))
    (audit_dir / "archive" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(ManifestDamaged, match="move it away"):
        keep(audit_dir, [KEY], day_ms(4))
    assert len(names(audit_dir)) == 18


def test_one_keeper_at_a_time(audit_dir: Path) -> None:
    with archive_lock(audit_dir):
        with pytest.raises(ArchiveInUse, match="another process"):
            keep(audit_dir, [KEY], day_ms(4))
        with pytest.raises(ArchiveInUse), archive_lock(audit_dir, wait_s=0.2):
            pass
    assert keep(audit_dir, [KEY], day_ms(4)).segments == 9


def test_a_hostile_folder_name_is_only_a_name(tmp_path: Path) -> None:
    odd = tmp_path / "it's *?[x]"
    write_days(odd / "gateway.it's[a]", range(3))
    done = keep(odd, [KEY], day_ms(NEXT_MONTH))
    assert (done.faults, done.segments, done.merges) == ((), 2, 2)
    assert_one_log(odd, entries(odd))


def test_row_groups_are_small_and_know_their_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path / "gateway", [0], per_day=25_000)
    write_days(tmp_path / "gateway", [1])
    keep(tmp_path, [KEY], day_ms(2))
    (item,) = read_manifest(tmp_path).accesses
    with duckdb.connect() as engine:
        groups = engine.execute(
            "select row_group_num_rows, stats_min_value, stats_max_value, compression from parquet_metadata(?) "
            "where path_in_schema = 'patient' order by row_group_id",
            [str(item.path)],
        ).fetchall()
    assert len(groups) > 1
    assert all(count <= 20_480 for count, *_ in groups)
    assert all(kind == "ZSTD" for *_, kind in groups)
    assert all(one[2] <= other[1] for one, other in pairwise(groups))


def test_what_a_crash_left_is_swept(audit_dir: Path) -> None:
    folder = audit_dir / "archive"
    for name in ("events/2026-09-21.gateway.a.0-3.parquet.new", "accesses/2026-09-21.gateway.a.0-3.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"half a file")
    (folder / "spill").mkdir()
    (folder / "spill" / "duckdb_temp_storage-0.tmp").write_bytes(b"x")
    done = keep(audit_dir, [KEY], day_ms(4))
    assert (done.segments, done.deleted) == (9, 2)
    assert not (folder / "spill").exists()
    assert_one_log(audit_dir, entries(audit_dir))


@pytest.mark.parametrize("samples", [1, 3, 20_000])
def test_a_heavy_month_becomes_parts_sorted_through_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 3_000)
    monkeypatch.setattr(parquet, "_SAMPLE_ROWS", samples)
    write_days(tmp_path / "gateway.a", range(4), per_day=40)
    write_days(tmp_path / "gateway.b", range(2), per_day=40)
    keep(tmp_path, [KEY], day_ms(4))
    keep(tmp_path, [KEY], day_ms(NEXT_MONTH))
    manifest = assert_one_log(tmp_path, entries(tmp_path))
    for items, key in ((manifest.events, "account"), (manifest.accesses, "patient")):
        assert [archive.generation_of(item.path) for item in items] == [
            (1, part) for part in range(len(items))
        ]
        assert len(items) > 3 or samples == 1
        found = [(row.get(key, "\uffff"), row["at_ms"], row["writer"], row["seq"]) for row in rows(items)]
        assert found == sorted(found)
        for item in items:
            named = sorted(row[key] for row in rows([item]) if key in row)
            assert (item.least, item.most) == ((named[0], named[-1]) if named else (None, None))
    # Parts of one merge are no reason for another.
    assert keep(tmp_path, [KEY], day_ms(NEXT_MONTH) + 1).merges == 0
