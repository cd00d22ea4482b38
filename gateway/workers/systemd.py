"""What systemd is told of the process, by the protocol of sd_notify(3)."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_PATIENCE_S = 0.5


def notify(state: str) -> None:
    """Tell systemd *state* when it listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        # Whoever listens and does not read must not stop us.
        connection.settimeout(_PATIENCE_S)
        connection.sendto(state.encode(), target)


def notify_reloading() -> None:
    """Tell systemd that a reload has begun; READY=1 ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how often systemd wants a sign of life from process *pid*, half of its patience; None when it does not."""
    usec, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not (usec.isascii() and usec.isdigit()) or whose != str(pid) or not int(usec):
        return None
    return int(usec) / 2_000_000


async def keep_watchdog() -> None:
    """Give signs of life as long as this loop runs, if systemd wants any."""
    every_s = watchdog_s(os.environ, os.getpid())
    while every_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(every_s)
