"""Retention: what is older than it may be kept, and dropping it so that the log still verifies.

A purge drops the entries of whole segments, their salts with them, and their rows in the archive. The leaf
hashes and the checkpoints stay, so that the tree, and every proof made before, hold as they did.
The order is: on record and signed, out of the archive, out of the journal. A purge that was cut short is
finished by the next one, or by the keeper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from gateway.audit import files
from gateway.audit.archive import (
    DATASETS,
    files_of,
    generation_of,
    merged_path,
    month_of,
    next_generation,
    next_part,
    with_files,
)
from gateway.audit.checkpoint import VerifierKey
from gateway.audit.keeper import SPILL, publish, sweep
from gateway.audit.manifest import File, Manifest, archive_directory, read_manifest
from gateway.audit.parquet import merge
from gateway.audit.purges import Purge
from gateway.audit.sealed import NotAsSigned, Sealed, check, open_log, tree_at
from gateway.audit.verify import purged_on_record

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Due:
    """What one writer's log loses: *segments*, oldest first, which may be none.

    *purge* is what goes on record before. *tree* and *leaves* (by segment) are what the entries lead to.
    """

    directory: Path
    purge: Purge
    segments: tuple[Sealed, ...]
    tree: tuple[bytes, ...]
    leaves: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge dropped: entries and files of the journal, rows and files of the archive."""

    entries: int
    segments: int
    rows: int
    archive_files: int


class _Moment(msgspec.Struct):
    at_ms: int


def before(now_ms: int, days: int) -> tuple[int, str]:
    """Return the moment before which entries are older than *days*, in Unix milliseconds and RFC 3339."""
    cut_ms = now_ms - days * DAY_MS
    return cut_ms, datetime.fromtimestamp(cut_ms / 1000, UTC).isoformat(timespec="seconds")


def find_due(audit_dir: Path, keys: Sequence[VerifierKey], before_ms: int) -> list[Due]:
    """Return what is to go from each log under *audit_dir*: its first segments wholly older than *before_ms*.

    Only what one of *keys* signed, and holds what was signed, is ever dropped: anything else is evidence.
    When something goes, earlier purges are repeated on record, so that no record is purged before its
    successor stands. The caller holds the archive's lock.

    Raises:
        NotAsSigned: a log is not what was signed, or entries are missing that no purge on record covers.
        LogDamaged: a file bears no segment's name.
        OSError: a file cannot be read.
    """
    on_record: Mapping[str, int] | None = None
    found = []
    for directory in files.log_directories(audit_dir):
        log = open_log(directory, keys)
        first = next(iter(files.segment_starts(directory)), 0)
        if first and on_record is None:
            on_record = purged_on_record(audit_dir, keys)
        if first > (on_record or {}).get(directory.name, 0):
            raise NotAsSigned(
                f"{directory}: entries before {first} are missing and no purge of them is on record: nothing is "
                "purged; run 'ecluse audit verify', restore the log"
            )
        found.append(_due(directory, log.sealed, first, keys, before_ms))
    something = any(item.segments for item in found)
    return [item for item in found if something and item.purge.up_to]


def _due(
    directory: Path, sealed: Sequence[Sealed], first: int, keys: Sequence[VerifierKey], before_ms: int
) -> Due:
    segments: list[Sealed] = []
    leaves: list[bytes] = []
    size_bytes = 0
    tree = None
    for segment in sealed:
        latest_ms = [0]

        def look(line: bytes, latest_ms: list[int] = latest_ms) -> None:
            latest_ms[0] = max(latest_ms[0], msgspec.json.decode(line, type=_Moment).at_ms)

        if not _is_old(segment, before_ms):
            break
        tree = tree if tree is not None else tree_at(directory, first)
        try:
            after, its_leaves = check(segment, tree, keys, look)
        except msgspec.MsgspecError:
            raise NotAsSigned(
                f"{segment.path} holds a line that is no entry: run 'ecluse audit verify'"
            ) from None
        if latest_ms[0] >= before_ms:
            break
        tree = after
        segments.append(segment)
        leaves.append(its_leaves)
        size_bytes += segment.path.stat().st_size
    up_to = segments[-1].end if segments else first
    purge = Purge(directory.name, first, up_to, len(segments), size_bytes)
    return Due(directory, purge, tuple(segments), tree.hashes() if tree is not None else (), tuple(leaves))


def _is_old(segment: Sealed, before_ms: int) -> bool:
    """Tell whether the first entry of *segment* is older: spares reading the segments of a whole year."""
    with segment.path.open("rb") as file:
        try:
            return msgspec.json.decode(file.readline(), type=_Moment).at_ms < before_ms
        except msgspec.MsgspecError:
            raise NotAsSigned(f"{segment.path} begins with no entry: run 'ecluse audit verify'") from None


def drop(audit_dir: Path, due: Sequence[Due]) -> Purged:
    """Drop what is *due*, which must be on record and signed. The caller holds the archive's lock.

    Raises:
        CannotArchive, ManifestDamaged: the archive could not be made without it; the journal is untouched.
        OSError: the disk refused; doing it again finishes it.
    """
    going = [item for item in due if item.segments]
    for item in going:
        for segment, leaves in zip(item.segments, item.leaves, strict=True):
            # From here on they are all there is: what the entries lead to, not what stood beside them.
            beside = segment.path.with_suffix(files.LEAVES)
            if not beside.exists() or beside.read_bytes() != leaves:
                files.replace_durably(beside, leaves)
    manifest = read_manifest(audit_dir)
    below = {**manifest.purged, **{item.purge.writer: item.purge.up_to for item in going}}
    # What merges left for slow readers holds rows that must go: it goes too.
    fresh = _past(replace(manifest, purged=below, retired={}), going)
    rows = sum(item.rows for dataset in DATASETS for item in files_of(manifest, dataset))
    for dataset in DATASETS:
        fresh = with_files(fresh, dataset, _without(audit_dir, manifest, dataset, below))
    # Readers that hold the old list meet missing files, and ask again: what must go, goes now.
    publish(audit_dir, fresh)
    rows -= sum(item.rows for dataset in DATASETS for item in files_of(fresh, dataset))
    segments = sum(len(item.segments) for item in going)
    deleted = sweep(audit_dir, fresh)
    entries = sum(item.purge.up_to - item.purge.first for item in going)
    return Purged(entries, segments, rows, deleted - segments)


def _past(manifest: Manifest, going: Sequence[Due]) -> Manifest:
    """Return *manifest* with the archive's bound moved past what is purged, where it was not there yet."""
    archived, trees = dict(manifest.archived), dict(manifest.trees)
    for item in going:
        if archived.get(item.purge.writer, 0) < item.purge.up_to:
            archived[item.purge.writer] = item.purge.up_to
            trees[item.purge.writer] = item.tree
    return replace(manifest, archived=archived, trees=trees)


def _without(audit_dir: Path, manifest: Manifest, dataset: str, below: Mapping[str, int]) -> list[File]:
    """Return the files of *dataset* without the rows that go; those written again bear new names."""
    archive, kept, used = archive_directory(audit_dir), list[File](), manifest
    for item in files_of(manifest, dataset):
        if not any(first < below.get(writer, 0) for writer, (first, _) in item.seqs.items()):
            kept.append(item)
        elif any(last >= below.get(writer, 0) for writer, (_, last) in item.seqs.items()):
            month = month_of(item.path)
            # Of the same generation: it stays sorted among its parts, and need not be merged again.
            place = generation_of(item.path)
            generation = place[0] if place is not None else next_generation(used, dataset, month)
            first = next_part(used, dataset, month, generation)
            target = partial(_part, archive, dataset, month, generation, first)
            made = merge([item], dataset, archive / SPILL, target, without=below)
            used = replace(used, retired={**used.retired, **{file.path: 0 for file in made}})
            kept += made
    return kept


def _part(archive: Path, dataset: str, month: str, generation: int, first: int, part: int) -> Path:
    return merged_path(archive, dataset, month, generation, first + part)
