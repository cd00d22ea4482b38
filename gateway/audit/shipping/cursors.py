"""What the collector has, on disk: one small file a writer, replaced whole and durably."""

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

from gateway.audit import files, locks

_SUFFIX = ".cursor"


class ShippingRefused(Exception):
    """The log cannot be sent as things are. The message names the file and the mend."""


class Cursors:
    """The cursors of one log in *directory*: for each writer, the first entry the collector may not have.

    Held by one process at a time.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = -1

    def open(self) -> None:
        """Make the directory and take its lock.

        Raises:
            ShippingRefused: another process ships this log.
            OSError: the disk refused.
        """
        files.make_directory(self.directory)
        try:
            self._lock = locks.take(self.directory)
        except BlockingIOError:
            raise ShippingRefused(
                f"another process ships this log (it holds {self.directory / files.LOCK}): one is enough"
            ) from None

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def load(self) -> dict[str, int]:
        """Return the next entry to send of each writer that has a cursor.

        Raises:
            ShippingRefused: a cursor file is not one.
            OSError: it cannot be read.
        """
        found = {}
        for path in sorted(self.directory.glob(f"*{_SUFFIX}")):
            try:
                seq = orjson.loads(path.read_bytes())["seq"]
            except (ValueError, KeyError, TypeError):
                seq = None
            if type(seq) is not int or seq < 0:
                raise ShippingRefused(
                    f"{path} is no cursor: delete it, and that writer's log is sent again from its start"
                )
            found[path.name.removesuffix(_SUFFIX)] = seq
        return found

    def save(self, cursors: Mapping[str, int]) -> None:
        """Make each of *cursors* durable: after a crash it is the old one or the new one.

        Raises:
            OSError: the disk refused.
        """
        for writer, seq in cursors.items():
            files.replace_durably(
                self.directory / f"{writer}{_SUFFIX}", orjson.dumps({"v": 1, "seq": seq}) + b"\n"
            )

    def forget(self) -> None:
        """Begin again with the first entry of each log, as for a new collector."""
        for path in self.directory.glob(f"*{_SUFFIX}"):
            path.unlink()
        files.sync_directory(self.directory)
