"""Several processes of the check on the same sockets: begun again when they end, told and stopped together."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from gateway import telemetry
from gateway.processes import Pauses, python

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
SOUND_AFTER_S = 60.0


class Crew:
    """*commands* are arguments of ``ecluse``, one list a process; *descriptors* are the sockets they inherit."""

    def __init__(self, commands: Sequence[Sequence[str]], descriptors: Sequence[int]) -> None:
        self._commands = commands
        self._descriptors = tuple(descriptors)
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep every process running until ``stop`` was called and the last one has ended."""
        async with asyncio.TaskGroup() as group:
            for number, command in enumerate(self._commands, 1):
                group.create_task(self._keep(number, command))

    def stop(self) -> None:
        """Tell every process to drain and end."""
        self._stopping.set()
        self.tell(signal.SIGTERM)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to every process."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, number: int, command: Sequence[str]) -> None:
        loop, pauses = asyncio.get_running_loop(), Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S, SOUND_AFTER_S)
        while not self._stopping.is_set():
            began_s = loop.time()
            status = await self._once(command)
            if self._stopping.is_set():
                return
            pause_s = pauses.after(loop.time() - began_s)
            telemetry.log().error(
                "process_ended", process=f"edge-{number}", exit_status=status, again_in_s=pause_s
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _once(self, command: Sequence[str]) -> int | str:
        try:
            process = await asyncio.create_subprocess_exec(
                *(*python(), "-m", "gateway", *command, "--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=self._descriptors,
            )
        except OSError as error:
            return error.strerror or type(error).__name__
        self._running.add(process)
        try:
            if self._stopping.is_set():
                process.terminate()
            return await process.wait()
        finally:
            self._running.discard(process)
            if process.returncode is None:
                process.kill()
                await process.wait()
