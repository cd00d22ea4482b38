"""How processes of ours are begun, so that none outlives the one that began it, and begun again."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
MOST_FILES = 65_536
"""Open files that are asked for: a connection is one, and one more where it has a connection to an application."""


def python() -> list[str]:
    """Return the command line of this interpreter, with ``-O`` where it runs with it."""
    return [sys.executable, *["-O"] * sys.flags.optimize]


def bound_to_us(with_signal: int = signal.SIGTERM, *, may_dump: bool = True) -> Callable[[], None]:
    """Return what a new process has to run first to get *with_signal* when this one dies, whatever kills it.

    See prctl(2), PR_SET_PDEATHSIG. Without *may_dump* it leaves no core dump, which would hold keys.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, with_signal, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        if not may_dump:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return bind


def allow_files(wanted: int = MOST_FILES) -> int:
    """Let this process, and those it begins, hold so many files open, or as many as it may; return how many.

    Shells give 1 024 where the system allows far more (getrlimit(2), RLIMIT_NOFILE).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return wanted if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


@dataclass(slots=True)
class Pauses:
    """How long to wait before a process is begun again: longer each time, until one of them lasts.

    *first_s* after the first end, doubled by each further one up to *longest_s*; a process that lived
    *sound_after_s* begins the row anew.
    """

    first_s: float
    longest_s: float
    sound_after_s: float
    _next_s: float | None = None

    def after(self, lived_s: float) -> float:
        """Return the pause in seconds after a process that lived *lived_s*."""
        if self._next_s is None or lived_s >= self.sound_after_s:
            self._next_s = self.first_s
        pause_s = self._next_s
        self._next_s = min(self.longest_s, 2 * pause_s)
        return pause_s
