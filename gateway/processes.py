"""How processes of ours are begun, so that none outlives the one that began it."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


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
