"""A backup is read: decrypted, unpacked and held against its manifest in one pass."""

import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any, BinaryIO

import msgspec
import pyrage
import zstandard

from gateway.age import Identity
from gateway.backup.container import (
    ABOUT,
    MANIFEST,
    VERSION,
    About,
    BackupRefused,
    Entry,
    Manifest,
    Progress,
    Sink,
    is_plain_name,
)

_PIECE_BYTES = 1 << 18
_MOST_JSON_BYTES = 256_000_000


def read(
    source: BinaryIO,
    identities: Sequence[Identity],
    sink: Callable[[str, int], Sink | None],
    *,
    progress: Progress | None = None,
) -> tuple[About, Manifest]:
    """Read a whole backup, hold every member against the manifest, and return both.

    *sink* is given each member's name and mode and returns where its content goes, None to only check it.
    *progress* is told how many bytes of *source* were read. Nothing read may be used before this returns.

    Raises:
        BackupRefused: not a backup, not for these identities, cut short, or altered.
        OSError: *source* cannot be read, or a sink not written.
    """
    reading, writing = os.pipe()
    opened = _Opened(source, writing, identities, progress)
    worker = threading.Thread(target=opened.run, name="backup-decrypt", daemon=True)
    worker.start()
    try:
        with os.fdopen(reading, "rb", buffering=_PIECE_BYTES) as plain:
            found = _read_tar(plain, sink)
    except (tarfile.TarError, zstandard.ZstdError, BackupRefused, EOFError) as error:
        worker.join()
        # A stream that breaks off early is told by what broke it.
        raise opened.refused() or _refused(error) from None
    worker.join()
    if (refused := opened.refused()) is not None:
        raise refused
    return found


class _Opened:
    """The decryption, in a thread of its own: the library pushes, tar pulls."""

    def __init__(
        self, source: BinaryIO, writing: int, identities: Sequence[Identity], progress: Progress | None
    ) -> None:
        self._source, self._writing, self._identities = source, writing, identities
        self._progress = progress
        self._read_bytes = 0
        self._fault: BaseException | None = None

    def run(self) -> None:
        try:
            with os.fdopen(self._writing, "wb", buffering=_PIECE_BYTES) as plain:
                pyrage.decrypt_io(self, plain, self._identities)
        except BaseException as error:  # noqa: BLE001 - a fault of this thread is told by the other one
            self._fault = error

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self._read_bytes += len(piece)
        if self._progress is not None:
            self._progress(self._read_bytes)
        return piece

    def refused(self) -> BackupRefused | None:
        fault = self._fault
        if fault is None or isinstance(fault, BrokenPipeError):
            return None
        if "No matching keys" in str(fault):
            return BackupRefused("this identity is of none of the backup's recipients: give another one")
        if self._read_bytes == 0 or "eader" in str(fault):
            return BackupRefused("this is no backup: it is not encrypted with age")
        return BackupRefused("the backup is cut short or altered: take another copy")


def _refused(error: Exception) -> BackupRefused:
    if isinstance(error, BackupRefused):
        return error
    return BackupRefused("this is no backup of Écluse: inside it is no compressed tar archive")


def _read_tar(plain: IO[bytes], sink: Callable[[str, int], Sink | None]) -> tuple[About, Manifest]:
    about: About | None = None
    manifest: Manifest | None = None
    found: list[Entry] = []
    with (
        zstandard.ZstdDecompressor().stream_reader(plain, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for header in archive:
            content = archive.extractfile(header) if header.isreg() else None
            if content is None or not is_plain_name(header.name):
                raise BackupRefused(f"the backup holds {header.name[:200]!r}, which no backup of ours does")
            if about is None:
                about = _about(header.name, header.size, content)
                found.append(_entry_of(header.name, msgspec.json.encode(about)))
            elif header.name == MANIFEST:
                manifest = _json(content, header.size, Manifest)
                if archive.next() is not None:
                    raise BackupRefused("the backup goes on after its manifest: take another copy")
                break
            else:
                found.append(_copy(header, content, sink))
        while stream.read(_PIECE_BYTES):
            pass
    while plain.read(_PIECE_BYTES):
        pass
    if about is None or manifest is None:
        raise BackupRefused("the backup ends without its manifest: it is cut short; take another copy")
    _compare(found, manifest)
    return about, manifest


def _about(name: str, size: int, content: IO[bytes]) -> About:
    if name != ABOUT:
        raise BackupRefused("this is no backup of Écluse")
    about = _json(content, size, About)
    if about.v != VERSION:
        raise BackupRefused(f"the backup is of version {about.v}: this program reads version {VERSION}")
    return about


def _json[Kind](content: IO[bytes], size: int, kind: type[Kind]) -> Kind:
    if size > _MOST_JSON_BYTES:
        raise BackupRefused("the backup's own papers are too long: take another copy")
    try:
        return msgspec.json.decode(content.read(), type=kind)
    except msgspec.DecodeError as error:
        raise BackupRefused(f"the backup's own papers cannot be read: {error}") from None


def _copy(header: tarfile.TarInfo, content: IO[bytes], sink: Callable[[str, int], Sink | None]) -> Entry:
    target, digest = sink(header.name, header.mode), hashlib.sha256()
    try:
        while piece := content.read(_PIECE_BYTES):
            digest.update(piece)
            if target is not None:
                target.write(piece)
    finally:
        close: Any = getattr(target, "close", None)
        if close is not None:
            close()
    return Entry(header.name, header.size, digest.hexdigest())


def _entry_of(name: str, content: bytes) -> Entry:
    return Entry(name, len(content), hashlib.sha256(content).hexdigest())


def _compare(found: Sequence[Entry], manifest: Manifest) -> None:
    told = {entry.name: entry for entry in manifest.members}
    if len(told) != len(manifest.members) or len({entry.name for entry in found}) != len(found):
        raise BackupRefused("the backup holds a file twice: take another copy")
    for entry in found:
        if told.pop(entry.name, None) != entry:
            raise BackupRefused(f"{entry.name} is not what the manifest says: take another copy")
    for name in told:
        raise BackupRefused(f"{name} is missing, though the manifest names it: take another copy")
