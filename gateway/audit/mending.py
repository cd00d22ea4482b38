"""What a crash, or somebody else, left at the end of a segment: kept as evidence, and cut."""

import os
from pathlib import Path

from gateway.audit import files
from gateway.audit.encoding import NotAnEntry, decode


def is_entry(line: bytes, seq: int) -> bool:
    """Tell whether *line* is an entry with the sequence number *seq*."""
    try:
        return bool(decode(line)["seq"] == seq)
    except NotAnEntry:
        return False


def _looks_like_an_entry(line: bytes) -> bool:
    try:
        decode(line)
    except NotAnEntry:
        return False
    return True


def put_aside(path: Path, kept_bytes: int) -> tuple[int, Path | None]:
    """Keep what follows *kept_bytes* of the segment *path* in a file beside it, when it holds foreign entries.

    Returns how many there are, and where they are kept. A crash leaves one unfinished line, a disk that lost
    power some that are no text: neither says anything, and nothing is kept of them.
    """
    with path.open("rb") as file:
        file.seek(kept_bytes)
        rest = file.read()
    foreign = sum(_looks_like_an_entry(line) for line in rest.split(b"\n")[:-1])
    if not foreign:
        return 0, None
    number = 1
    while (aside := path.with_suffix(f".foreign-{number}")).exists():
        number += 1
    files.replace_durably(aside, rest)
    return foreign, aside


def mend(path: Path, kept_bytes: int, leaves: bytes, cut_bytes: int) -> None:
    """Cut the segment *path* to *kept_bytes*, make it durable, and put its *leaves* beside it anew."""
    handle = files.open_file(path, os.O_RDWR)
    try:
        if cut_bytes:
            os.ftruncate(handle, kept_bytes)
        # Complete entries may stand in the system's cache only: from here on they are durable.
        os.fsync(handle)
    finally:
        os.close(handle)
    beside = path.with_suffix(files.LEAVES)
    if not beside.exists() or beside.read_bytes() != leaves:
        files.replace_durably(beside, leaves)
