"""The manifest: what a reader is told about archive and journal."""

from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.manifest import (
    File,
    Manifest,
    ManifestDamaged,
    dump_manifest,
    journal_parts,
    read_manifest,
)
from gateway.audit.merkle import Frontier
from tests.unit.audit.logs import write


def a_manifest(audit_dir: Path) -> Manifest:
    tree = Frontier()
    for number in range(8):
        tree.append(b"%d" % number)
    events = File(
        audit_dir / "archive" / "events" / "2026-09.1.parquet", 8, 900, 5, 9, "ab" * 32, {"gw": (0, 7)},
        least="dr.martin", most="zoé",
    )  # fmt: skip
    accesses = File(
        audit_dir / "archive" / "accesses" / "2026-09-21.gw.0-7.parquet",
        3,
        400,
        5,
        8,
        "cd" * 32,
        {"gw": (1, 6)},
    )
    return Manifest(
        archived={"gw": 8},
        events=(events,),
        accesses=(accesses,),
        purged={"gw": 4},
        retired={audit_dir / "archive" / "events" / "2026-09-20.gw.0-7.parquet": 77},
        trees={"gw": tree.hashes()},
    )


def put(audit_dir: Path, raw: bytes) -> None:
    (audit_dir / "archive").mkdir(parents=True, exist_ok=True)
    (audit_dir / "archive" / "manifest.json").write_bytes(raw)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = a_manifest(tmp_path)
    put(tmp_path, dump_manifest(tmp_path, made))
    assert read_manifest(tmp_path) == made
    # A copy elsewhere names its own files.
    other = tmp_path / "copy"
    put(other, dump_manifest(tmp_path, made))
    assert read_manifest(other) == a_manifest(other)


def test_without_archive_everything_is_in_the_journal(tmp_path: Path) -> None:
    write(tmp_path / "gw", 10, per_segment=4)
    manifest = read_manifest(tmp_path)
    assert manifest == Manifest()
    assert journal_parts(tmp_path, manifest) == [
        (files.segment_path(tmp_path / "gw", start), start) for start in (0, 4, 8)
    ]


@pytest.mark.parametrize(
    ("archived", "expected"),
    [(4, [(4, 4), (8, 8)]), (5, [(4, 5), (8, 8)]), (8, [(8, 8)]), (10, [(8, 10)]), (99, [(8, 99)])],
)
def test_what_is_archived_is_not_read_again(
    tmp_path: Path, archived: int, expected: list[tuple[int, int]]
) -> None:
    write(tmp_path / "gw", 10, per_segment=4)
    write(tmp_path / "operator", 2)
    put(tmp_path, b"")
    parts = journal_parts(tmp_path, Manifest(archived={"gw": archived}))
    assert parts == [
        *((files.segment_path(tmp_path / "gw", start), first) for start, first in expected),
        (files.segment_path(tmp_path / "operator", 0), 0),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v": 1', b'"v": 2'),
        (b"{", b"["),
        (b'"events/2026-09.1', b'"../events/2026-09.1'),
        (b'"events/2026-09.1', b'"/etc/2026-09.1'),
        (b'"gw": 8', b'"gw": "8"'),
        (b'"gw": 8', b'"gw": 7'),
        (b'"rows": 8', b'"lines": 8'),
    ],
)
def test_a_damaged_manifest_is_told_with_its_mend(tmp_path: Path, old: bytes, new: bytes) -> None:
    raw = dump_manifest(tmp_path, a_manifest(tmp_path))
    assert old in raw
    put(tmp_path, raw.replace(old, new, 1))
    with pytest.raises(ManifestDamaged, match=r"manifest\.json.*move it away"):
        read_manifest(tmp_path)
