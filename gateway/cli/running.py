"""A running door, as a command finds and tells it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.cli import EXIT_FAULT, fail
from gateway.configuration import Settings
from gateway.vocabulary.running import Door, RunFiles

_POLL_S: Final = 0.05


class NotRunning(Exception):
    """No such door is open on this machine. The message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A door that may be open: what it is called, and its files."""

    door: Door
    files: RunFiles

    @classmethod
    def of(cls, settings: Settings, door: Door) -> "Running":
        """Return *door* as *settings* have it."""
        return cls(door, settings.run_files(door))

    def find(self) -> int:
        """Return the process that serves, or supervises.

        Raises:
            NotRunning: there is none, or the file names a stranger.
        """
        what, file = self.door.words.removeprefix("the "), self.files.pid
        try:
            pid = int(file.read_text("ascii").strip())
        except (OSError, ValueError):
            raise NotRunning(f"no {what} is running: {file} holds no process id") from None
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            raise NotRunning(f"no {what} is running: process {pid} of {file} has ended") from None
        # A signal to a stranger that was given the same number would end it.
        if b"ecluse" not in words and b"gateway" not in words:
            raise NotRunning(f"process {pid} of {file} is not {self.door.words}: take the file away")
        return pid

    def is_open(self) -> bool:
        """Tell whether it is open."""
        try:
            self.find()
        except NotRunning:
            return False
        return True

    def process(self) -> int:
        """Return the process that serves; say why and leave with 2 when there is none."""
        try:
            return self.find()
        except NotRunning as why:
            fail(str(why), EXIT_FAULT)

    def tell(self, number: int, answer_file: Path, wait_s: float) -> None:
        """Send it signal *number* and wait until it has written *answer_file*.

        Leaves with 2 when it is not open, or gives no answer within *wait_s* seconds.
        """
        pid = self.process()
        before = _stamp(answer_file)
        try:
            os.kill(pid, number)
        except OSError as error:
            fail(
                f"{self.door.words} (process {pid}) cannot be told: {error.strerror}; run this as its user",
                EXIT_FAULT,
            )
        deadline = time.monotonic() + wait_s
        while _stamp(answer_file) == before:
            if time.monotonic() > deadline:
                fail(
                    f"{self.door.words} (process {pid}) did not answer within {wait_s:g} s; look at its log",
                    EXIT_FAULT,
                )
            time.sleep(_POLL_S)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
