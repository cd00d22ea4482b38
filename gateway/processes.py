"""How processes of ours are begun, so that none outlives the one that began it, ended, and begun again."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
MOST_FILES = 65_536
"""Open files that are asked for: a connection is one, and one more where it has a connection to an application."""


def python() -> list[str]:
    """Return the command line of this interpreter, with ``-O`` where it runs with it."""
    return [sys.executable, *["-O"] * sys.flags.optimize]


def ecluse(*words: str) -> list[str]:
    """Return the command line of ``ecluse`` with *words*, by this interpreter."""
    return [*python(), "-m", "gateway", *words]


def without_systemd(environment: Mapping[str, str]) -> dict[str, str]:
    """Return *environment* for a child that is not to speak to systemd in our name."""
    return {name: value for name, value in environment.items() if name not in _OF_SYSTEMD}


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


class Child:
    """A process that was begun with `begin`; it belongs to the loop that began it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._began_s = asyncio.get_running_loop().time()

    @classmethod
    async def begin(
        cls,
        command: Sequence[str],
        *,
        descriptors: Sequence[int] = (),
        dies_by: signal.Signals = signal.SIGTERM,
        may_dump: bool = True,
    ) -> "Child":
        """Begin *command* with *descriptors* of ours, its log on our standard error.

        It gets *dies_by* when this process dies, whatever kills it; neither our signals from a terminal nor
        our tie to systemd. Without *may_dump* it leaves no core dump.

        Raises:
            OSError: no process can be begun.
        """
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=tuple(descriptors),
                env=without_systemd(os.environ),
                start_new_session=True,
                preexec_fn=bound_to_us(dies_by, may_dump=may_dump),
            )
        )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Return how long ago it was begun."""
        return asyncio.get_running_loop().time() - self._began_s

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended does not mind."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and return its exit status; negative is the signal that ended it."""
        return await self._process.wait()

    async def stop(self, within_s: float) -> int:
        """Have it end, kill it when it has not within *within_s*, and return its exit status."""
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await self.ended()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            return await self.ended()
