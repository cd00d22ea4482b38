"""Where a log keeps its files, and how they reach the disk.

One directory per writer: ``NNNNNNNNNN.jsonl`` holds entries, its name is the index of the first one;
``NNNNNNNNNN.leaves`` beside it holds their 32-byte leaf hashes, and ``NNNNNNNNNN.checkpoint``, once the
segment is full, what was signed at its end. ``checkpoint`` is the last signed state, ``tree`` the
frontier at the start of the last segment, ``lock`` the sign that somebody writes here. A segment that
was purged keeps its leaf hashes and its checkpoint only.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.checkpoint import VerifierKey
from gateway.audit.merkle import HASH_BYTES, Frontier
from gateway.vocabulary.keys import KeyRing

CHECKPOINT = "checkpoint"
TREE = "tree"
LOCK = "lock"
ENTRIES = ".jsonl"
LEAVES = ".leaves"
SEAL = ".checkpoint"
GATEWAY = "gateway"
OPERATOR = "operator"
FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
_NUMBER_DIGITS = 10


class LogDamaged(Exception):
    """What is on disk is not what was signed or promised. The message names the file and the mend."""


def writer_name(kind: str, node: str | None = None, worker: int = 1) -> str:
    """Return the name of a writer, and of its directory: *kind* alone, or ``kind.node`` where nodes have names.

    The first *worker* of a node writes on in the log of a node without workers, the others in ``kind.node~N``.
    """
    name = kind if node is None else f"{kind}.{node}"
    return name if worker == 1 else f"{name}~{worker}"


def segment_path(directory: Path, first_seq: int, suffix: str = ENTRIES) -> Path:
    """Return the path of the segment that starts at *first_seq*."""
    return directory / f"{first_seq:0{_NUMBER_DIGITS}d}{suffix}"


def segment_starts(directory: Path) -> list[int]:
    """Return where each segment of a log starts, in order.

    Raises:
        LogDamaged: a ``.jsonl`` file bears no segment's name.
    """
    starts = []
    for path in directory.glob(f"*{ENTRIES}"):
        stem = path.name.removesuffix(ENTRIES)
        if not (stem.isascii() and stem.isdigit()) or segment_path(directory, int(stem)) != path:
            raise LogDamaged(f"{path} is no segment of this log: move it out of the directory")
        starts.append(int(stem))
    return sorted(starts)


def purged_segments(directory: Path) -> list[tuple[int, int]]:
    """Return start and end (excluded) of each segment of which only leaf hashes and checkpoint are left, in order.

    Whether it was purged on record, or robbed of its entries, is for verification to say.
    """
    found = []
    for path in directory.glob(f"*{SEAL}"):
        stem, leaves = path.name.removesuffix(SEAL), path.with_suffix(LEAVES)
        if not (stem.isascii() and stem.isdigit()) or path.with_suffix(ENTRIES).exists():
            continue
        count = leaves.stat().st_size // HASH_BYTES if leaves.exists() else 0
        if count:
            found.append((int(stem), int(stem) + count))
    return sorted(found)


def read_leaves(path: Path) -> Sequence[bytes]:
    """Return the leaf hashes beside the segment *path*, whole ones only; none without the file."""
    beside = path.with_suffix(LEAVES)
    raw = beside.read_bytes() if beside.exists() else b""
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw) - HASH_BYTES + 1, HASH_BYTES)]


def log_directories(audit_dir: Path) -> list[Path]:
    """Return the directories of every writer's log under *audit_dir*, by name; itself when it is one.

    Raises:
        OSError: it cannot be read.
    """
    if (audit_dir / CHECKPOINT).exists() or any(audit_dir.glob(f"*{ENTRIES}")):
        return [audit_dir]
    found = [path for path in sorted(audit_dir.iterdir()) if path.is_dir()]
    return [path for path in found if (path / CHECKPOINT).exists() or any(path.glob(f"*{ENTRIES}"))]


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield each line of *path* with its line end; only the last may lack one."""
    with path.open("rb", buffering=1 << 20) as file:
        yield from file


def verifier_keys(ring: KeyRing, name: str) -> Sequence[VerifierKey]:
    """Return the public side of every key of the checkpoint *ring* under key name *name*."""
    return [
        VerifierKey(name, Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw())
        for key in ring.keys.values()
    ]


def make_directory(directory: Path) -> None:
    """Make *directory* and its missing parents, durably."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_file(path: Path, flags: int) -> int:
    """Open *path* as a file of the log and return its descriptor."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def write_all(handle: int, data: bytes) -> None:
    """Write all of *data*: the system may take less than it is given.

    Raises:
        OSError: the disk refused; some of it may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def replace_durably(path: Path, data: bytes) -> None:
    """Put *data* in place of *path* at once: after a crash it holds the old bytes or the new ones."""
    draft = path.with_name(path.name + ".new")
    handle = open_file(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(path)
    sync_directory(path.parent)


def dump_tree(frontier: Frontier) -> bytes:
    """Return the ``tree`` file of *frontier*."""
    hashes = [base64.b64encode(item).decode() for item in frontier.hashes()]
    return orjson.dumps({"v": 1, "size": frontier.size, "hashes": hashes}) + b"\n"


def load_tree(path: Path) -> Frontier:
    """Read a ``tree`` file; without one, the tree is empty and the log is read from its start.

    Raises:
        LogDamaged: it is no tree file of this version.
        OSError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Frontier()
    try:
        values = orjson.loads(raw)
        hashes = [base64.b64decode(item, validate=True) for item in values["hashes"]]
        return Frontier.restore(values["size"], hashes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogDamaged(
            f"{path} is no tree file: delete it, the tree is then rebuilt from the entries"
        ) from error
