"""The keeper: makes the archive of the journal, one step after the other, each whole or not at all.

Every step writes new files, makes them durable, and then replaces the manifest. Whoever stops the keeper
between any two of them, by kill -9 or by pulling the plug, leaves files that no manifest names: the next
pass deletes them and does the step again. Nothing is lost, since the journal stays; nothing is doubled,
since a manifest names the files and the bounds at once.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gateway.audit import files, locks
from gateway.audit.archive import (
    DATASETS,
    expired,
    merged_path,
    merges_due,
    strays,
    with_merge,
    with_segment,
)
from gateway.audit.checkpoint import VerifierKey
from gateway.audit.files import LogDamaged
from gateway.audit.manifest import MANIFEST, Manifest, archive_directory, dump_manifest, read_manifest
from gateway.audit.merkle import Frontier
from gateway.audit.parquet import CannotArchive, merge, write_pieces
from gateway.audit.sealed import NotAsSigned, check, open_log, tree_at
from gateway.audit.verify import purged_on_record

SPILL = "spill"
_POLL_S = 0.1


class ArchiveInUse(Exception):
    """Another process changes this archive."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one pass did: segments and events archived, merges, files deleted.

    *faults* say why the log of a writer could not be archived further: the others were.
    """

    segments: int = 0
    events: int = 0
    merges: int = 0
    deleted: int = 0
    faults: tuple[str, ...] = ()


@contextmanager
def archive_lock(audit_dir: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the archive of *audit_dir* alone, making its folders; wait for another up to *wait_s* seconds.

    Raises:
        ArchiveInUse: another process holds it.
        OSError: the disk refused.
    """
    archive = archive_directory(audit_dir)
    for dataset in DATASETS:
        files.make_directory(archive / dataset)
    handle = _take(archive, time.monotonic() + wait_s)
    try:
        yield
    finally:
        os.close(handle)


def keep(
    audit_dir: Path,
    keys: Sequence[VerifierKey],
    now_ms: int,
    progress: Callable[[int], None] | None = None,
) -> Kept:
    """Bring the archive of *audit_dir* up to date, once, under its lock.

    Archives every sealed segment that one of *keys* signed and that holds what was signed, merges what is
    due, and deletes what nobody reads any more. *progress* is told how many events were archived so far.

    Raises:
        ArchiveInUse: another process does so.
        ManifestDamaged: the manifest cannot be read.
        OSError: the disk refused; what was finished stays.
    """
    with archive_lock(audit_dir):
        return _Pass(audit_dir, keys, now_ms, progress or (lambda _: None)).run()


def publish(audit_dir: Path, manifest: Manifest) -> None:
    """Replace the manifest of *audit_dir* at once and durably; the caller holds the lock."""
    files.replace_durably(archive_directory(audit_dir) / MANIFEST, dump_manifest(audit_dir, manifest))


def sweep(audit_dir: Path, manifest: Manifest) -> int:
    """Delete what a crash left and what has expired, and bodies whose purge was cut short; count the files."""
    archive = archive_directory(audit_dir)
    shutil.rmtree(archive / SPILL, ignore_errors=True)
    gone = strays(manifest, [path for dataset in DATASETS for path in (archive / dataset).iterdir()])
    for directory in files.log_directories(audit_dir):
        below = manifest.purged.get(directory.name, 0)
        # The last segment is the writer's; and from the oldest on, so that what is gone is a head.
        starts = files.segment_starts(directory)[:-1] if below else []
        gone += [files.segment_path(directory, start) for start in starts if start < below]
    for path in gone:
        path.unlink()
    for folder in sorted({path.parent for path in gone}):
        files.sync_directory(folder)
    return len(gone)


@dataclass(slots=True)
class _Pass:
    audit_dir: Path
    keys: Sequence[VerifierKey]
    now_ms: int
    progress: Callable[[int], None]
    done: Kept = Kept()

    def run(self) -> Kept:
        manifest = read_manifest(self.audit_dir)
        self._deleted(sweep(self.audit_dir, manifest))
        for directory in files.log_directories(self.audit_dir):
            try:
                manifest = self._archive(manifest, directory)
            except (NotAsSigned, LogDamaged, CannotArchive) as error:
                self.done = replace(self.done, faults=(*self.done.faults, str(error)))
                manifest = read_manifest(self.audit_dir)
        manifest = self._merge(manifest)
        fresh = expired(manifest, self.now_ms)
        if fresh is not manifest:
            publish(self.audit_dir, fresh)
            self._deleted(sweep(self.audit_dir, fresh))
        return self.done

    def _archive(self, manifest: Manifest, directory: Path) -> Manifest:
        log = open_log(directory, self.keys)
        writer, archive = directory.name, archive_directory(self.audit_dir)
        done = manifest.archived.get(writer, 0)
        if done > log.signed.size:
            raise NotAsSigned(
                f"{directory} signs {log.signed.size} entries, {done} stand in the archive: an old copy or another "
                f"log; restore it, or move {archive} away: it is then made again"
            )
        due = [segment for segment in log.sealed if segment.start >= done]
        if not due:
            return manifest
        if due[0].start > done:
            done = self._after_purge(directory, due[0].start)
        tree = self._tree(manifest, directory, done)
        for segment in due:
            tree, _ = check(segment, tree, self.keys)
            pieces = write_pieces(archive, archive / SPILL, segment)
            manifest = with_segment(manifest, writer, segment.end, tree.hashes(), pieces)
            publish(self.audit_dir, manifest)
            events = self.done.events + segment.end - segment.start
            self.done = replace(self.done, segments=self.done.segments + 1, events=events)
            self.progress(events)
        return manifest

    def _after_purge(self, directory: Path, start: int) -> int:
        # Only when a purge went past the archive, or the manifest was lost after one.
        if purged_on_record(self.audit_dir, self.keys).get(directory.name, 0) < start:
            raise NotAsSigned(
                f"{directory}: entries before {start} are missing and no purge of them is on record: "
                "run 'ecluse audit verify', restore the log"
            )
        return start

    def _tree(self, manifest: Manifest, directory: Path, size: int) -> Frontier:
        known = manifest.trees.get(directory.name)
        if known is not None and manifest.archived.get(directory.name) == size:
            return Frontier.restore(size, known)
        return tree_at(directory, size)

    def _merge(self, manifest: Manifest) -> Manifest:
        archive = archive_directory(self.audit_dir)
        for due in merges_due(manifest, self.now_ms):
            place = partial(merged_path, archive, due.dataset, due.month, due.generation)
            try:
                made = merge(due.sources, due.dataset, archive / SPILL, place)
            except CannotArchive as error:
                self.done = replace(self.done, faults=(*self.done.faults, str(error)))
                continue
            manifest = with_merge(manifest, due, made, self.now_ms)
            publish(self.audit_dir, manifest)
            self.done = replace(self.done, merges=self.done.merges + 1)
        return manifest

    def _deleted(self, count: int) -> None:
        self.done = replace(self.done, deleted=self.done.deleted + count)


def _take(archive: Path, deadline_s: float) -> int:
    while True:
        try:
            return locks.take(archive)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise ArchiveInUse(
                    f"another process changes the archive in {archive}: wait for it, or stop it"
                ) from None
            time.sleep(_POLL_S)
