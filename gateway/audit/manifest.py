"""What stands in the archive: ``archive/manifest.json``, the one truth about which event is read where.

An event whose ``seq`` is below ``archived[writer]`` is read from the archive, any other from the journal:
never from both, never from neither. A file that the manifest does not list does not exist for a reader.

How to read: take the manifest once a question, pass its files to the engine by name, and read the
journal's parts beside them. Files that a newer manifest left out stay for a while, but not for ever: a
reader that meets a missing file starts its question again, once, with a fresh manifest.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.audit import files
from gateway.audit.merkle import Frontier

ARCHIVE = "archive"
EVENTS = "events"
ACCESSES = "accesses"
MANIFEST = "manifest.json"
VERSION = 1

_NAME = re.compile(rf"(?:{EVENTS}|{ACCESSES})/[^/\0]+\.parquet")


class ManifestDamaged(Exception):
    """The manifest cannot be read. The message names the file and the mend."""


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of the archive. *path* is absolute when the archive's directory is.

    *first_ms* and *last_ms* are the least and greatest ``at_ms`` within, both included, *sha256* is in hex.
    *seqs* names the least and greatest ``seq`` within, both included, of each writer. *least* and *most* are
    the least and greatest of the key its rows are sorted by, account or patient: None when no row has one, and in
    archives of before these were noted. Rows without account may stand in any file.
    """

    path: Path
    rows: int
    bytes: int
    first_ms: int
    last_ms: int
    sha256: str
    seqs: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    least: str | None = None
    most: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of the archive.

    *archived*: up to which ``seq``, excluded, each writer's events stand in the archive. *events*: one row
    an event. *accesses*: one row an event and patient. *purged*: below which ``seq`` each writer's entries
    were dropped on purpose; they are in neither place. *retired*: files that an earlier manifest listed,
    and since when (Unix milliseconds) none does. *trees*: the hash tree at ``archived``, for the keeper.
    """

    archived: Mapping[str, int] = field(default_factory=dict)
    events: tuple[File, ...] = ()
    accesses: tuple[File, ...] = ()
    purged: Mapping[str, int] = field(default_factory=dict)
    retired: Mapping[Path, int] = field(default_factory=dict)
    trees: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)


class _FileForm(msgspec.Struct, omit_defaults=True):
    path: str
    rows: int
    bytes: int
    first_ms: int
    last_ms: int
    sha256: str
    seqs: dict[str, tuple[int, int]]
    least: str | None = None
    most: str | None = None


class _Form(msgspec.Struct):
    v: int
    archived: dict[str, int]
    events: list[_FileForm]
    accesses: list[_FileForm]
    purged: dict[str, int]
    retired: dict[str, int]
    trees: dict[str, list[str]]


def archive_directory(audit_dir: Path) -> Path:
    """Return where the archive of *audit_dir* stands."""
    return audit_dir / ARCHIVE


def read_manifest(audit_dir: Path) -> Manifest:
    """Read the manifest of the archive under *audit_dir*; empty when nothing was archived yet.

    Raises:
        ManifestDamaged: it is no manifest of this version.
        OSError: it cannot be read.
    """
    archive = archive_directory(audit_dir)
    path = archive / MANIFEST
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Manifest()
    try:
        return _parse(archive, raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ManifestDamaged(
            f"{path} is no manifest of this version ({error}): move it away, the keeper then makes the archive "
            "again from the journal"
        ) from error


def dump_manifest(audit_dir: Path, manifest: Manifest) -> bytes:
    """Return the ``manifest.json`` of *manifest*: the same bytes for the same value."""
    archive = archive_directory(audit_dir)
    form = _Form(
        v=VERSION,
        archived=dict(sorted(manifest.archived.items())),
        events=[_form(archive, item) for item in manifest.events],
        accesses=[_form(archive, item) for item in manifest.accesses],
        purged=dict(sorted(manifest.purged.items())),
        retired={
            path.relative_to(archive).as_posix(): at_ms for path, at_ms in sorted(manifest.retired.items())
        },
        trees={
            writer: [base64.b64encode(item).decode() for item in hashes]
            for writer, hashes in sorted(manifest.trees.items())
        },
    )
    return msgspec.json.format(msgspec.json.encode(form), indent=1) + b"\n"


def journal_parts(audit_dir: Path, manifest: Manifest) -> list[tuple[Path, int]]:
    """Return the journal segments that hold events which are not in the archive of *manifest*, in order.

    Each comes with the first ``seq`` wanted of it: what is below stands in the archive, or was purged. The
    writer's name is that of the segment's directory.

    Raises:
        LogDamaged: a file bears no segment's name.
        OSError: a directory cannot be read.
    """
    parts: list[tuple[Path, int]] = []
    for directory in files.log_directories(audit_dir):
        archived = manifest.archived.get(directory.name, 0)
        starts = files.segment_starts(directory)
        # A segment ends where the next one starts; nobody knows where the last one will end.
        ends = [*starts[1:], None]
        parts += [
            (files.segment_path(directory, start), max(start, archived))
            for start, end in zip(starts, ends, strict=True)
            if end is None or end > archived
        ]
    return parts


def _parse(archive: Path, raw: bytes) -> Manifest:
    form = msgspec.json.decode(raw, type=_Form)
    if form.v != VERSION:
        raise ValueError(f"it is of version {form.v}")
    trees = {
        writer: [base64.b64decode(item, validate=True) for item in hashes]
        for writer, hashes in form.trees.items()
    }
    return Manifest(
        archived=form.archived,
        events=tuple(_file(archive, item) for item in form.events),
        accesses=tuple(_file(archive, item) for item in form.accesses),
        purged=form.purged,
        retired={_path(archive, name): at_ms for name, at_ms in form.retired.items()},
        trees={
            writer: Frontier.restore(form.archived.get(writer, -1), hashes).hashes()
            for writer, hashes in trees.items()
        },
    )


def _file(archive: Path, form: _FileForm) -> File:
    return File(
        _path(archive, form.path),
        form.rows,
        form.bytes,
        form.first_ms,
        form.last_ms,
        form.sha256,
        form.seqs,
        form.least,
        form.most,
    )


def _form(archive: Path, item: File) -> _FileForm:
    name = item.path.relative_to(archive).as_posix()
    seqs = dict(sorted(item.seqs.items()))
    return _FileForm(
        name,
        item.rows,
        item.bytes,
        item.first_ms,
        item.last_ms,
        item.sha256,
        seqs,
        item.least,
        item.most,
    )


def _path(archive: Path, name: str) -> Path:
    # The manifest names files of its own folders, whoever wrote it.
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no file of an archive")
    return archive / name
