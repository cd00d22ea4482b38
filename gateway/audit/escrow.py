"""The escrow: which patient a pseudonym is, written so that this machine cannot read it back.

One file a day and writer under ``escrow/``: age messages in their armored form, one after the other. Each
holds lines ``["kid:hex32","system","id"]`` and is encrypted to the recipients alone, whose identities are kept
elsewhere. Every day's file names each of its patients, so that one can be removed with the day's events.
"""

import itertools
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyrage

from gateway import telemetry
from gateway.age import ARMOR_BEGIN, ARMOR_END, AgeRefused, Identity, Recipient, read_recipients
from gateway.audit import files
from gateway.audit.writer import AuditUnavailable

DIRECTORY = "escrow"
SUFFIX = ".age"
BATCH_AFTER_S = 5.0
RETRY_AFTER_S = 5.0
MOST_IN_A_BATCH = 2_000
MOST_KNOWN = 200_000
MOST_WAITING = 50_000

_DAY_MS = 86_400_000
_MOST_BLOCK_BYTES = 16_000_000

Line = tuple[str, str, str]
"""A pseudonym, the numbering and the id in clear."""


class Escrow:
    """Takes notes from the event loop and writes them by a thread of its own, off every exchange's way.

    *directory* is ``audit.dir/escrow``, *writer* names this process's files, *recipients* are ``age1...``.
    A note waits at most `BATCH_AFTER_S` for its batch: a crash loses those, and they are made again when the
    patient is next seen. Memory is bounded: `MOST_KNOWN` pseudonyms are remembered as written today, at most
    `MOST_WAITING` notes wait for a disk that refuses; what comes then is counted and made again later.

    Raises:
        AgeRefused: a recipient is none.
    """

    def __init__(self, directory: Path, writer: str, recipients: Sequence[str]) -> None:
        self._directory = directory
        self._writer = writer
        self._recipients: list[Recipient] = read_recipients(recipients)
        self._mutex = threading.Lock()
        self._something = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._day = -1
        self._known: set[str] = set()
        self._waiting: list[tuple[int, Line]] = []
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start to write.

        Raises:
            AuditUnavailable: the directory cannot be made.
        """
        try:
            files.make_directory(self._directory)
        except OSError as error:
            raise AuditUnavailable(f"{self._directory}: {error.strerror}: free or repair the disk") from error
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="audit-escrow", daemon=True)
        self._thread.start()

    def note(self, pseudonyms: Iterable[str], system: str, clear_ids: Iterable[str], at_ms: int) -> None:
        """Remember which id of *system* each pseudonym stands for; returns at once and never raises.

        *at_ms* is the Unix time of the event that bears them: it picks the day.
        """
        day = at_ms // _DAY_MS
        with self._mutex:
            if day != self._day or len(self._known) >= MOST_KNOWN:
                self._known.clear()
                self._day = day
            known, waiting = self._known, self._waiting
            for text, clear_id in zip(pseudonyms, clear_ids, strict=True):
                if text in known:
                    continue
                if len(waiting) >= MOST_WAITING:
                    telemetry.ESCROW_DROPPED.inc()
                    continue
                known.add(text)
                waiting.append((day, (text, system, clear_id)))
            if not waiting:
                return
            is_full = len(waiting) >= MOST_IN_A_BATCH
        self._something.set()
        if is_full:
            self._hurry.set()

    def close(self) -> None:
        """Write what waits, once more if the disk refuses, and stop."""
        thread = self._thread
        if thread is None:
            return
        self._stopping = True
        self._something.set()
        self._hurry.set()
        thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._stopping:
            self._something.wait()
            self._something.clear()
            self._hurry.wait(BATCH_AFTER_S)
            self._hurry.clear()
            while not self._write_waiting() and not self._stopping:
                self._hurry.wait(RETRY_AFTER_S)
                self._hurry.clear()
        self._write_waiting()

    def _write_waiting(self) -> bool:
        """Write everything that waits; False when the disk refused, and the rest waits on.

        A batch that no attempt can write is dropped, counted, and noted anew when its patients are next seen.
        """
        while True:
            with self._mutex:
                batch = self._waiting[:MOST_IN_A_BATCH]
            if not batch:
                return True
            day, group = next(itertools.groupby(batch, key=operator.itemgetter(0)))
            lines = [line for _, line in group]
            try:
                self._append(day, lines)
            except (OSError, pyrage.EncryptError) as error:
                telemetry.ESCROW_FAILURES.inc()
                telemetry.log().error("escrow_not_written", **telemetry.describe_fault(error))
                return False
            except Exception as error:  # noqa: BLE001 - whatever it is, notes must not pile up behind it
                telemetry.ESCROW_FAILURES.inc()
                telemetry.ESCROW_DROPPED.inc(len(lines))
                telemetry.log().error(
                    "escrow_batch_dropped", patients=len(lines), **telemetry.describe_fault(error)
                )
                self._forget(day, lines)
            with self._mutex:
                del self._waiting[: len(lines)]

    def _forget(self, day: int, lines: list[Line]) -> None:
        with self._mutex:
            if day == self._day:
                self._known.difference_update(text for text, _, _ in lines)

    def _append(self, day: int, lines: list[Line]) -> None:
        plain = b"\n".join(map(msgspec.json.encode, lines)) + b"\n"
        block = pyrage.encrypt(plain, self._recipients, armored=True)
        path = self._directory / f"{day_name(day)}.{self._writer}{SUFFIX}"
        handle = files.open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            size = os.fstat(handle).st_size
            # Before anything is written: an attempt that fails later leaves a file whose name is durable.
            if not size:
                files.sync_directory(self._directory)
            # A block that was cut short by a crash or a full disk ends where it ends: the next one begins a line.
            if size and os.pread(handle, 1, size - 1) != b"\n":
                block = b"\n" + block
            files.write_all(handle, block)
            os.fdatasync(handle)
        finally:
            os.close(handle)


def day_name(day: int) -> str:
    """Return the UTC day that is *day* days after 1970-01-01, as ``2026-09-14``."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def files_before(directory: Path, day: str) -> list[Path]:
    """Return the escrow files of *directory* whose days are before *day* (``2026-09-14``), oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.name.partition(".")[0] < day)


def forget(paths: Sequence[Path]) -> None:
    """Delete the escrow files *paths*, durably: what they told nobody can tell any more.

    Raises:
        OSError: the disk refused; what is left is deleted by doing it again.
    """
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in sorted({path.parent for path in paths}):
        files.sync_directory(folder)


@dataclass(slots=True)
class Search:
    """What was found: pseudonym -> (numbering, id in clear), and what could not be believed or read.

    *forged*: entries that the key of the pseudonyms contradicts. *foreign*: blocks that are encrypted to
    others. *damaged*: blocks that were cut short or altered. *blocks*: how many were read.
    """

    found: dict[str, tuple[str, str]] = field(default_factory=dict)
    forged: int = 0
    foreign: int = 0
    damaged: int = 0
    blocks: int = 0


def search(
    directory: Path,
    wanted: frozenset[str],
    identities: Sequence[Identity],
    is_true: Callable[[str, str, str], bool],
    *,
    from_day: str = "",
    before_day: str = "~",
    progress: Callable[[int], None] | None = None,
) -> Search:
    """Look up the *wanted* pseudonyms in the escrow files of *directory*, the newest day first.

    *is_true* holds pseudonym, numbering and id against the key of the pseudonyms: whoever can write here can
    encrypt a lie to the recipients. Days are ``2026-09-14``; *progress* is told how many bytes were read.
    Ends as soon as all were found.

    Raises:
        AgeRefused: there is no escrow here, or the identities open none of it.
        OSError: a file cannot be read.
    """
    paths = [
        path
        for path in sorted(directory.glob(f"*{SUFFIX}"), reverse=True)
        if from_day <= path.name.partition(".")[0] < before_day
    ]
    if not paths:
        raise AgeRefused(f"{directory} holds no escrow of these days")
    result, read_bytes = Search(), 0
    for path in paths:
        for block in _blocks(path):
            if wanted <= result.found.keys():
                return result
            read_bytes += len(block)
            result.blocks += 1
            _look(block, wanted, identities, is_true, result)
            if progress is not None:
                progress(read_bytes)
    if result.foreign and result.foreign + result.damaged == result.blocks:
        raise AgeRefused(f"this identity opens nothing in {directory}: it is of another recipient")
    return result


def _look(
    block: bytes,
    wanted: frozenset[str],
    identities: Sequence[Identity],
    is_true: Callable[[str, str, str], bool],
    result: Search,
) -> None:
    try:
        plain: bytes = pyrage.decrypt(block, identities)
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            result.foreign += 1
        else:
            result.damaged += 1
        return
    for raw in plain.splitlines():
        try:
            text, system, clear_id = msgspec.json.decode(raw, type=Line)
        except msgspec.DecodeError:
            result.damaged += 1
            return
        if text not in wanted or text in result.found:
            continue
        if is_true(text, system, clear_id):
            result.found[text] = (system, clear_id)
        else:
            result.forged += 1


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield each armored message of *path*; one that was cut short comes without its end."""
    gathered: list[bytes] = []
    size_bytes = 0
    with path.open("rb") as file:
        while line := file.readline(_MOST_BLOCK_BYTES):
            if line.startswith(ARMOR_BEGIN) and gathered:
                yield b"".join(gathered)
                gathered, size_bytes = [], 0
            if not gathered and not line.strip():
                continue
            # Longer than anything the writer makes: kept short, and told as damaged.
            if size_bytes < _MOST_BLOCK_BYTES:
                gathered.append(line)
                size_bytes += len(line)
            if line.startswith(ARMOR_END):
                yield b"".join(gathered)
                gathered, size_bytes = [], 0
    if gathered:
        yield b"".join(gathered)
