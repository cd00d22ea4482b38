"""The running gateway, as a command finds and tells it."""

import os
import time
from pathlib import Path
from typing import Final

from gateway.cli import EXIT_FAULT, fail
from gateway.configuration import Settings

_POLL_S: Final = 0.05


class NotRunning(Exception):
    """There is no running gateway. The message says how that is known."""


def find_process(settings: Settings) -> int:
    """Return the process of the running gateway.

    Raises:
        NotRunning: there is none.
    """
    try:
        pid = int(settings.pid_file.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise NotRunning(f"no gateway is running: {settings.pid_file} holds no process id") from error
    command = Path(f"/proc/{pid}/cmdline")
    try:
        words = command.read_bytes()
    except FileNotFoundError as error:
        raise NotRunning(f"no gateway is running: process {pid} of {settings.pid_file} has ended") from error
    # A signal to a stranger that was given the same number would end it.
    if b"ecluse" not in words and b"gateway" not in words:
        raise NotRunning(f"process {pid} of {settings.pid_file} is not the gateway: take the file away")
    return pid


def serving_process(settings: Settings) -> int:
    """Return the process of the running gateway; say why and leave with 2 when there is none."""
    try:
        return find_process(settings)
    except NotRunning as error:
        fail(str(error), EXIT_FAULT)


def is_running(settings: Settings) -> bool:
    """Tell whether there is a running gateway."""
    try:
        find_process(settings)
    except NotRunning:
        return False
    return True


def tell(settings: Settings, number: int, answer_file: Path, wait_s: float) -> None:
    """Send signal *number* to the running gateway and wait until it has written *answer_file*.

    Leaves with 2 when there is no gateway, or no answer within *wait_s* seconds.
    """
    pid = serving_process(settings)
    before = _stamp(answer_file)
    try:
        os.kill(pid, number)
    except OSError as error:
        fail(
            f"the gateway (process {pid}) cannot be told: {error.strerror}; run this as its user", EXIT_FAULT
        )
    deadline = time.monotonic() + wait_s
    while _stamp(answer_file) == before:
        if time.monotonic() > deadline:
            fail(
                f"the gateway (process {pid}) did not answer within {wait_s:g} s; look at its log", EXIT_FAULT
            )
        time.sleep(_POLL_S)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
