"""What a backup is made of: the configuration's files, the keys, and the audit log as it was last signed."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import CheckpointRefused, VerifierKey, verify
from gateway.audit.merkle import HASH_BYTES
from gateway.backup.container import MODE, PRIVATE_MODE, BackupRefused, Member, member_of_bytes
from gateway.configuration.sources import source_files

ARCHIVE = "archive"
ARCHIVE_MANIFEST = "manifest.json"

_PIECE_BYTES = 1 << 18
_SEGMENT_FILE = re.compile(r"(\d{10})(\..+)")
_MOST_PASSES = 20


def config_members(config_path: Path) -> Iterator[Member]:
    """Yield the configuration's files: beside the main file under their own paths, others below ``outside``."""
    for path in source_files(config_path).plain:
        yield _whole(path, f"config/{_place(path, config_path)}")


def key_members(keys_dir: Path, config_path: Path) -> Iterator[Member]:
    """Yield the gateway's keys, and the secret files that the configuration names."""
    for path in sorted(keys_dir.glob("*.json")):
        yield _whole(path, f"keys/{path.name}", PRIVATE_MODE)
    for path in source_files(config_path).secret:
        yield _whole(path, f"keys/of-config/{_place(path, config_path)}", PRIVATE_MODE)


def audit_members(audit_dir: Path, keys: Sequence[VerifierKey]) -> Iterator[Member]:
    """Yield the audit directory, also while it is written: each log up to the checkpoint it had when its turn came.

    The archive goes first: it never holds more than the journals that follow it sign.

    Raises:
        BackupRefused: a log has no good checkpoint, or was cut while it was read.
    """
    if not audit_dir.is_dir():
        return
    archive = audit_dir / ARCHIVE
    if archive.is_dir():
        yield from _archive(archive)
    logs = [path for path in files.log_directories(audit_dir) if path != audit_dir]
    for log in logs:
        yield from _log(log, f"audit/{log.name}", keys)
    for path in _plain_files(audit_dir):
        top = audit_dir / path.relative_to(audit_dir).parts[0]
        if top not in logs and top != archive:
            yield from _tolerant(path, f"audit/{path.relative_to(audit_dir).as_posix()}")


def size_of(directory: Path) -> int:
    """Return about how many bytes the files below *directory* hold."""
    return sum(path.stat().st_size for path in _plain_files(directory)) if directory.is_dir() else 0


def _place(path: Path, config_path: Path) -> str:
    folder = config_path.absolute().parent
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return f"outside{path.as_posix()}"


def _archive(archive: Path) -> Iterator[Member]:
    """Files of the archive never change, but are merged and removed: go round until its manifest stood still."""
    taken: set[Path] = set()
    manifest = archive / ARCHIVE_MANIFEST
    for _ in range(_MOST_PASSES):
        before = manifest.read_bytes() if manifest.exists() else None
        for path in _plain_files(archive):
            if path not in taken and path != manifest:
                for member in _tolerant(path, f"audit/{ARCHIVE}/{path.relative_to(archive).as_posix()}"):
                    taken.add(path)
                    yield member
        if before == (manifest.read_bytes() if manifest.exists() else None):
            if before is not None:
                yield member_of_bytes(f"audit/{ARCHIVE}/{ARCHIVE_MANIFEST}", before)
            return
    raise BackupRefused(f"{archive} changes all the time: try again when the keeper rests")


def _log(log: Path, name: str, keys: Sequence[VerifierKey]) -> Iterator[Member]:
    # The tree is read before the checkpoint: it is saved after it, so it never knows of more than is signed.
    tree = _read(log / files.TREE)
    note = _read(log / files.CHECKPOINT)
    if note is None:
        raise BackupRefused(f"{log / files.CHECKPOINT} is missing beside entries: see 'ecluse audit verify'")
    try:
        signed = verify(note, keys)
    except CheckpointRefused as error:
        raise BackupRefused(f"{log / files.CHECKPOINT}: {error}; see 'ecluse audit verify'") from error
    listed = [(path, path.relative_to(log).as_posix()) for path in _plain_files(log)]
    # Entries of a segment may be gone by now, its leaf hashes never. One without entries is begun anew.
    starts = {int(found[1]) for _, relative in listed if (found := _SEGMENT_FILE.fullmatch(relative))}
    last = max((start for start in starts if start < signed.size), default=-1)
    for path, relative in listed:
        found = _SEGMENT_FILE.fullmatch(relative)
        if found is None:
            if relative not in {files.TREE, files.CHECKPOINT, files.LOCK, "probe"}:
                yield from _tolerant(path, f"{name}/{relative}")
        elif int(found[1]) < last or (int(found[1]) == last and signed.size in starts):
            yield from _tolerant(path, f"{name}/{relative}")
        elif int(found[1]) == last:
            yield from _last_segment(path, f"{name}/{relative}", found[2], signed.size - last)
    if tree is not None:
        yield member_of_bytes(f"{name}/{files.TREE}", tree)
    yield member_of_bytes(f"{name}/{files.CHECKPOINT}", note)


def _last_segment(path: Path, name: str, suffix: str, entries: int) -> Iterator[Member]:
    if suffix == files.ENTRIES:
        yield _first_bytes(path, name, _end_of_lines(path, entries))
    elif suffix == files.LEAVES:
        yield _first_bytes(path, name, HASH_BYTES * entries)


def _end_of_lines(path: Path, count: int) -> int:
    """Return where line *count* of *path* ends, in bytes."""
    end = 0
    for number, line in enumerate(files.read_lines(path), 1):
        end += len(line)
        if number == count and line.endswith(b"\n"):
            return end
    raise BackupRefused(f"{path} holds fewer entries than were signed: see 'ecluse audit verify'")


@dataclass(slots=True)
class _Handle:
    """A file that was opened when it was announced, so that it cannot go before its turn."""

    number: int
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the content, exactly as long as it was announced, and close the file."""
        try:
            at = 0
            while at < self.size_bytes:
                piece = os.pread(self.number, min(_PIECE_BYTES, self.size_bytes - at), at)
                if not piece:
                    return
                at += len(piece)
                yield piece
        finally:
            os.close(self.number)


def _first_bytes(path: Path, name: str, size_bytes: int, mode: int = MODE) -> Member:
    handle = _Handle(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), size_bytes)
    return Member(name, size_bytes, handle.pieces(), mode)


def _whole(path: Path, name: str, mode: int = MODE) -> Member:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    size_bytes = os.fstat(number).st_size
    return Member(name, size_bytes, _Handle(number, size_bytes).pieces(), mode)


def _tolerant(path: Path, name: str) -> Iterator[Member]:
    # Listed a moment ago, and removed since by who keeps the log.
    try:
        member = _whole(path, name)
    except FileNotFoundError:
        return
    yield member


def _plain_files(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != files.LOCK and path.suffix != ".new"
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
