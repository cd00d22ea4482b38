"""What the watcher has learned and how far it has read, in one file that is replaced at once and durably."""

import os
from pathlib import Path

import msgspec

from gateway import telemetry
from gateway.audit import files, locks
from gateway.detection import State
from gateway.detection.state import VERSION
from gateway.vocabulary.signals import Verdict

FILE = "state.msgpack"


class SnapshotInUse(Exception):
    """Another process watches this log. The message names the file."""


class Memory(msgspec.Struct):
    """*places* is how far each journal was read (None: never), *owed* what was decided and could not be done yet."""

    places: dict[str, tuple[int, int]] | None = None
    state: State = msgspec.field(default_factory=State)
    owed: list[Verdict] = []


class Snapshot:
    """The file in *directory*, held by one process at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = -1

    def open(self) -> None:
        """Make the directory and take its lock.

        Raises:
            SnapshotInUse: another process watches.
            OSError: the disk refused.
        """
        files.make_directory(self.directory)
        try:
            self._lock = locks.take(self.directory)
        except BlockingIOError:
            raise SnapshotInUse(
                f"another process watches this log (it holds {self.directory / files.LOCK}): one is enough"
            ) from None

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def load(self) -> Memory:
        """Return what was kept; nothing, said loudly, when it is of another version or damaged.

        What cannot be read is set aside: baselines are learned again, from the present end of the log on.

        Raises:
            OSError: the disk refused.
        """
        path = self.directory / FILE
        try:
            memory = msgspec.msgpack.decode(path.read_bytes(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._aside(path, str(error))
        if memory.state.version != VERSION:
            return self._aside(path, f"version {memory.state.version}")
        return memory

    def save(self, memory: Memory) -> None:
        """Keep *memory*: after a crash there is the one before or this one.

        Raises:
            OSError: the disk refused.
        """
        files.replace_durably(self.directory / FILE, msgspec.msgpack.encode(memory))

    def _aside(self, path: Path, why: str) -> Memory:
        aside = path.with_suffix(".unread")
        path.replace(aside)
        telemetry.log().error("watch_forgot", error=why, set_aside=str(aside))
        return Memory()
