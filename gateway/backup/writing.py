"""A backup is written: members are pulled through tar, zstd and age, a piece at a time."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import pyrage
import zstandard

from gateway.age import Recipient
from gateway.backup.container import (
    ABOUT,
    MANIFEST,
    VERSION,
    About,
    BackupRefused,
    Entry,
    Manifest,
    Member,
    Out,
    Progress,
    member_of_bytes,
)

_LEVEL = 6
_RECORD_BYTES = 10_240


def write(
    out: Out,
    about: About,
    members: Iterable[Member],
    recipients: Sequence[Recipient],
    *,
    at_s: int,
    progress: Progress | None = None,
) -> Manifest:
    """Write a backup of *members* to *out*, encrypted to *recipients*, and return its manifest.

    *at_s* is the time every member bears. *progress* is told how many bytes of content were read.

    Raises:
        BackupRefused: a member is not of the size it was announced with.
        OSError: a file cannot be read, or *out* not written.
    """
    entries: list[Entry] = []
    source = _Pulled(_compressed(_tar(about, members, entries, at_s, progress)))
    try:
        pyrage.encrypt_io(source, out, recipients)
    except (pyrage.EncryptError, OSError) as error:
        # The library wraps what its reader raises: the fault itself says what is wrong.
        raise source.fault or error from None
    return Manifest(VERSION, entries)


class _Pulled:
    """A reader over pieces, as the library asks for it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.fault: BaseException | None = None
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Return at most *size* bytes, none at the end."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.fault = error
            raise
        taken = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    stream = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for piece in pieces:
        if made := stream.compress(piece):
            yield made
    yield stream.flush()


def _tar(
    about: About, members: Iterable[Member], entries: list[Entry], at_s: int, progress: Progress | None
) -> Iterator[bytes]:
    written = done = 0

    def one(member: Member) -> Iterator[bytes]:
        nonlocal done
        header = tarfile.TarInfo(member.name)
        header.size, header.mode, header.mtime = member.size_bytes, member.mode, at_s
        yield header.tobuf(tarfile.PAX_FORMAT)
        digest, left = hashlib.sha256(), member.size_bytes
        for piece in member.pieces:
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
            done += len(piece)
            yield piece
            if progress is not None:
                progress(done)
        if left:
            raise BackupRefused(f"{member.name} changed while it was read: try again")
        yield bytes(-member.size_bytes % tarfile.BLOCKSIZE)
        entries.append(Entry(member.name, member.size_bytes, digest.hexdigest()))

    def everything() -> Iterator[bytes]:
        yield from one(member_of_bytes(ABOUT, msgspec.json.encode(about)))
        for member in members:
            yield from one(member)
        manifest = msgspec.json.encode(Manifest(VERSION, list(entries)))
        yield from one(member_of_bytes(MANIFEST, manifest))
        entries.pop()

    for piece in everything():
        written += len(piece)
        if piece:
            yield piece
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(written + end) % _RECORD_BYTES)
