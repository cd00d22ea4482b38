"""The workers of one node: begun, watched, begun again when they end, and replaced one by one."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from gateway import telemetry
from gateway.clock import spawn
from gateway.processes import Pauses, ecluse
from gateway.vocabulary.running import Door
from gateway.workers.merging import Families, merged
from gateway.workers.plan import Plan
from gateway.workers.standings import Standings
from gateway.workers.worker import BEAT_S, Seat, State, Worker

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
SOUND_AFTER_S = 60.0
SILENT_BEATS = 20
"""So many beats of ours without one of a worker's, and it hangs: counted, since a clock runs while all sleep."""
IDLE_S = 5.0
"""A connection without a request is left open so long by a worker that leaves: its next answer says that it closes."""
KILL_AFTER_S = 10.0
START_S = 120.0
REPLACE_AFTER_S = 5.0
LONGEST_REPLACE_S = 600.0


class WorkersDidNotStart(Exception):
    """A worker ended before the gateway was ready; it has said why. *code* is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a worker ended with {code} before it could serve")
        self.code = code


def worker_command(plan: Plan, seat: Seat) -> list[str]:
    """Return the command line of a worker."""
    noun = () if plan.door is Door.INSPECTOR else (plan.door.value,)
    return ecluse(*noun, "serve", "--config", plan.config_path, "--seat", msgspec.json.encode(seat).decode())


class Crew:
    """The workers of *plan*; *command* makes a worker's command line. `Supervisor` runs it.

    *changed* is called whenever one begins to serve, leaves or ends. Whoever changes the crew on purpose holds
    ``changing``.
    """

    def __init__(self, plan: Plan, command: Callable[[Plan, Seat], Sequence[str]] = worker_command) -> None:
        self.plan = plan
        self.workers: list[Worker] = []
        self.ended: Families = []
        """What workers had counted that are no more."""
        self.is_up = False
        """All have served once: from then on one that ends is begun again."""
        self.changing = asyncio.Lock()
        self.stop_asked = asyncio.Event()
        self.listening: tuple[int, ...] = ()
        """The descriptors that workers accept on."""
        self._standings_handle = Standings.make()
        self._standings = Standings(self._standings_handle)
        self._command = command
        self._beginning = asyncio.Lock()
        self._tending: set[asyncio.Task[None]] = set()
        self._failed: int | None = None
        self._pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S, SOUND_AFTER_S)
        self._memory_pauses = Pauses(REPLACE_AFTER_S, LONGEST_REPLACE_S, LONGEST_REPLACE_S)
        self._replace_after_s = REPLACE_AFTER_S

    def changed(self, fresh: Worker | None) -> None:
        """Learn that the crew is another; *fresh* is the one that begins to serve, if it is one."""

    def serving(self) -> list[Worker]:
        """Return the workers that take connections, the oldest first."""
        return [worker for worker in self.workers if worker.state is State.SERVING]

    async def begin_all(self) -> None:
        """Begin all, and return once they serve, or ``stop_asked`` is set.

        Raises:
            WorkersDidNotStart: one ended before it served.
        """
        for _ in range(self.plan.workers):
            await self._begin()
        begun = [worker.settled.wait() for worker in self.workers]
        stopped, settled = spawn(self.stop_asked.wait(), "stop asked"), spawn(all_of(begun), "workers settle")
        await asyncio.wait({stopped, settled}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        settled.cancel()
        if self._failed is not None and not self.stop_asked.is_set():
            raise WorkersDidNotStart(self._failed)

    async def _begin(self) -> Worker:
        async with self._beginning:
            return await self._begin_one()

    async def _begin_one(self) -> Worker:
        taken = {worker.number for worker in self.workers}
        number = next(seat for seat in range(1, len(taken) + 2) if seat not in taken)
        worker = await Worker.begin(
            number,
            lambda seat: self._command(self.plan, seat),
            self.listening,
            self._standings_handle,
            beside=self.is_up,
        )
        self.workers.append(worker)
        telemetry.log().info("worker_begun", worker=number, pid=worker.process.pid)
        task = spawn(self._tend(worker), f"worker {number}")
        self._tending.add(task)
        task.add_done_callback(self._tending.discard)
        return worker

    async def _tend(self, worker: Worker) -> None:
        hearing = spawn(worker.listen(self.changed), f"worker {worker.number} says")
        status = await worker.ended()
        await hearing
        self._standings.leave(worker.number)
        self.workers.remove(worker)
        self.ended = merged({}, [self.ended, worker.families])
        worker.buried.set()
        if not self.is_up and not self.stop_asked.is_set():
            self._failed = status if status > 0 else 1
            return
        self.changed(None)
        if self.stop_asked.is_set() or worker.state is State.LEAVING:
            return
        why = worker.why_killed or ("killed" if status < 0 else "ended")
        pause_s = self._pauses.after(worker.age_s)
        telemetry.WORKER_RESTARTS.labels(why).inc()
        telemetry.log().error(
            "worker_ended", worker=worker.number, exit_status=status, why=why, again_in_s=pause_s
        )
        await self._pause(pause_s)
        await self.fill_up()

    async def fill_up(self) -> None:
        """Begin workers until there are as many as there are to be; those that leave do not count."""
        while not self.stop_asked.is_set():
            try:
                async with self._beginning:
                    if sum(worker.state is not State.LEAVING for worker in self.workers) >= self.plan.workers:
                        return
                    await self._begin_one()
            except OSError as error:
                telemetry.log().error("worker_not_begun", error=error.strerror)
                await self._pause(LONGEST_PAUSE_S)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self.stop_asked.wait()
        except TimeoutError:
            pass

    async def watch(self) -> None:
        """Kill workers that hang, and replace one that is past its memory."""
        while True:
            await asyncio.sleep(BEAT_S)
            for worker in list(self.workers):
                worker.missed += 1
                limit = SILENT_BEATS if worker.state is not State.STARTING else int(START_S / BEAT_S)
                if worker.missed > limit and worker.why_killed is None:
                    worker.why_killed = "silent"
                    worker.send_signal(signal.SIGKILL)
            await self._look_at_memory()

    async def _look_at_memory(self) -> None:
        limit = self.plan.memory_bytes
        if limit is None or self.changing.locked():
            return
        for worker in self.serving():
            if worker.age_s >= self._replace_after_s and worker.resident_bytes() > limit:
                self._replace_after_s = self._memory_pauses.after(worker.age_s)
                telemetry.log().warning("worker_past_memory", worker=worker.number, limit_bytes=limit)
                spawn(self._replace_for_memory(worker), "replace for memory")
                return

    async def _replace_for_memory(self, worker: Worker) -> None:
        async with self.changing:
            await self.replace(worker, "memory")
            await self.fill_up()

    async def replace(self, worker: Worker, why: str) -> bool:
        """Begin another one, and once it serves let *worker* leave; False when the other one did not come to serve."""
        if worker.state is not State.SERVING or self.stop_asked.is_set():
            return not self.stop_asked.is_set()
        try:
            fresh = await self._begin()
        except OSError as error:
            telemetry.log().error("worker_not_begun", error=error.strerror)
            return False
        await fresh.settled.wait()
        if fresh.state is not State.SERVING:
            return False
        telemetry.WORKER_RESTARTS.labels(why).inc()
        await self._leave(worker)
        return True

    async def _leave(self, worker: Worker) -> None:
        worker.state = State.LEAVING
        self.changed(None)
        longest_s = float(self.plan.drain_s)
        idle_s = min(IDLE_S, longest_s)
        await worker.ask("leave", longest_s + KILL_AFTER_S, longest_s=longest_s, idle_s=idle_s)
        try:
            async with asyncio.timeout(KILL_AFTER_S):
                await worker.buried.wait()
        except TimeoutError:
            worker.send_signal(signal.SIGKILL)
            await worker.buried.wait()
        telemetry.log().info("worker_left", worker=worker.number)

    async def stop_all(self) -> None:
        """Have all drain and end, within the time that exchanges get; kill who has not ended then."""
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        if self._tending:
            _, left = await asyncio.wait(self._tending, timeout=self.plan.drain_s + KILL_AFTER_S)
            for worker in self.workers if left else ():
                telemetry.log().error("worker_killed", worker=worker.number)
                worker.send_signal(signal.SIGKILL)
            if left:
                await asyncio.wait(left)


async def all_of(several: Iterable[Awaitable[Any]]) -> None:
    """Wait for all of *several*."""
    await asyncio.gather(*several)
