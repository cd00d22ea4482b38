"""What a backup is on the wire: tar (POSIX pax), zstd, age, made and read in one pass with bounded memory.

The first member, ``about.json``, says what it is; the last, ``manifest.json``, names every other member with its
size and SHA-256. Debian's programs read it too: ``age -d -i key.txt FILE | zstd -d | tar -x``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

ABOUT = "about.json"
MANIFEST = "manifest.json"
VERSION = 1
PRIVATE_MODE = 0o600
MODE = 0o640

_LONGEST_NAME = 1_024

Progress = Callable[[int], None]


class BackupRefused(Exception):
    """The backup cannot be made, or is not what it should be. The message names the thing and the mend."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup: its path in it, its exact size, and its content in pieces, read once."""

    name: str
    size_bytes: int
    pieces: Iterable[bytes]
    mode: int = MODE


class Entry(msgspec.Struct, frozen=True):
    """What the manifest says of one member."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """Every member but the manifest, in order."""

    v: int
    members: list[Entry]


class About(msgspec.Struct, frozen=True):
    """What a backup is of.

    *made_at* RFC 3339, *store_id* and *keycheck* of the store the accounts come from, *verifier_keys* of the
    audit log (c2sp.org/signed-note), *parts* among accounts, audit, config, keys.
    """

    v: int
    what: str
    made_at: str
    host: str
    version: str
    parts: list[str]
    store_id: str | None
    keycheck: str | None
    verifier_keys: list[str]


class Sink(Protocol):
    """Where one member's content goes while it is read."""

    def write(self, piece: bytes) -> object:
        """Take the next piece."""
        ...


class Out(Protocol):
    """Where a backup is written."""

    def write(self, piece: bytes, /) -> int:
        """Take the next piece."""
        ...

    def flush(self) -> None:
        """Pass on what was taken."""
        ...


def member_of_bytes(name: str, content: bytes, mode: int = MODE) -> Member:
    """Return a member whose content is at hand."""
    return Member(name, len(content), (content,), mode)


def is_plain_name(name: str) -> bool:
    """Tell whether *name* is a relative path that stays below where it is put."""
    path = PurePosixPath(name)
    return (
        0 < len(name) <= _LONGEST_NAME
        and str(path) == name
        and bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and name.isprintable()
    )
