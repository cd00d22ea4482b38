"""Processes that the demo starts and that never outlive it, not even when it is killed."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.processes import bound_to_us

_POLL_S = 0.02


class ChildError(Exception):
    """A process of the demo did not start. The message says which, and where its own words stand."""


class Child:
    """One running process; its output goes to *log*."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def running(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None

    def last_words(self, most: int = 2_000) -> str:
        """Return the end of what it printed, at most *most* characters."""
        return self.log.read_text(errors="replace")[-most:].strip()

    def stop(self, within_s: float) -> None:
        """Ask it to end, and kill it when it has not within *within_s* seconds."""
        if not self.running():
            return
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, arguments: Sequence[str], log: Path, *, optimised: bool = False) -> Child:
    """Start ``python ARGUMENTS`` in a session of its own, so that Ctrl-C reaches this process only.

    The child gets SIGTERM when this process dies, whatever kills it (prctl(2), PR_SET_PDEATHSIG).
    """
    flags = ["-O"] if optimised else []
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *flags, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=bound_to_us(),  # noqa: PLW1509
        )
    return Child(name, process, log)


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_taken(port: int) -> bool:
    """Tell whether *port* of loopback is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def wait_until_listening(child: Child, port: int, within_s: float = 60.0) -> None:
    """Return once *child* accepts connections on *port*.

    Raises:
        ChildError: it ended, or did not listen within *within_s* seconds.
    """
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if not child.running():
            raise ChildError(f"{child.name} ended at once. It said:\n{child.last_words()}")
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_S)
    raise ChildError(f"{child.name} did not listen on port {port} within {within_s:g} s: see {child.log}")
