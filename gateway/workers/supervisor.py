"""The supervisor: begins the workers, begins again those that end, reloads and replaces them one by one.

It reads no key and no request. Everything that changes the workers on purpose (a reload, a rolling restart, a
replacement for memory) is done one after the other.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway import telemetry
from gateway.clock import spawn
from gateway.processes import python
from gateway.valkey.embedded import Embedded
from gateway.workers import port
from gateway.workers.beside import beside
from gateway.workers.merging import Families, exposition, families_of, merged
from gateway.workers.pauses import Pauses
from gateway.workers.plan import Plan
from gateway.workers.standings import Standings
from gateway.workers.systemd import keep_watchdog, notify, notify_reloading
from gateway.workers.worker import BEAT_S, Seat, State, Worker

KEEPER_AFTER_S = 10.0
"""The keeper begins when the rush of a start is over."""
WATCHER_AFTER_S = 1.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
SOUND_AFTER_S = 60.0
SILENT_BEATS = 20
"""So many beats of ours without one of a worker's, and it hangs: counted, since a clock runs while all sleep."""
IDLE_S = 5.0
"""A connection without a request is left open so long by a worker that leaves: its next answer says that it closes."""
KILL_AFTER_S = 10.0
START_S = 120.0
ANSWER_S = 30.0
SCRAPE_S = 2.0
REPLACE_AFTER_S = 5.0
LONGEST_REPLACE_S = 600.0


class WorkersDidNotStart(Exception):
    """A worker ended before the gateway was ready; it has said why. *code* is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a worker ended with {code} before it could serve")
        self.code = code


def worker_command(plan: Plan, seat: Seat) -> list[str]:
    """Return the command line of a worker."""
    words = (
        "-m",
        "gateway",
        "serve",
        "--config",
        plan.config_path,
        "--seat",
        msgspec.json.encode(seat).decode(),
    )
    return [*python(), *words]


@dataclass(eq=False)
class Supervisor:
    """Runs the workers of *plan*; *command* makes a worker's command line."""

    plan: Plan
    command: Callable[[Plan, Seat], Sequence[str]] = worker_command
    workers: list[Worker] = field(default_factory=list)
    policy_id: str = ""
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    is_up: bool = False

    def __post_init__(self) -> None:
        self._changing = asyncio.Lock()
        self._tending: set[asyncio.Task[None]] = set()
        self._ended: Families = []
        self._failed: int | None = None
        self._pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S, SOUND_AFTER_S)
        self._memory_pauses = Pauses(REPLACE_AFTER_S, LONGEST_REPLACE_S, LONGEST_REPLACE_S)
        self._replace_after_s = REPLACE_AFTER_S

    @property
    def is_ready(self) -> bool:
        """Tell whether records could be served now: somebody serves, and whoever serves could."""
        serving = self.serving()
        return not self.stop_asked.is_set() and bool(serving) and all(worker.is_ready for worker in serving)

    def serving(self) -> list[Worker]:
        """Return the workers that take connections, the oldest first."""
        return [worker for worker in self.workers if worker.state is State.SERVING]

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then let every worker drain, and return once all are gone.

        Raises:
            PortTaken, EmbeddedFailed: nothing was begun.
            WorkersDidNotStart: what was begun has been stopped.
        """
        plan = self.plan
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop_asked.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: spawn(self.reload(), "reload"))
        loop.add_signal_handler(signal.SIGUSR2, lambda: spawn(self.restart(), "rolling restart"))
        async with AsyncExitStack() as stack:
            self._listening = stack.enter_context(port.take(plan.address, plan.port))
            if plan.metrics_port is not None:
                probes = await self._open_probes(plan.metrics_address, plan.metrics_port)
                stack.callback(probes.close)
            handle = Standings.make()
            stack.callback(os.close, handle)
            self._standings_handle, self._standings = handle, Standings(handle)
            if plan.store_dir is not None:
                # Kept here, since whoever keeps the store may not leave while others need it.
                store = await Embedded.start(Path(plan.store_dir))
                stack.push_async_callback(store.stop)
            try:
                await self._begin_all()
                await self._serve(stack)
            finally:
                self.stop_asked.set()
                notify("STOPPING=1")
                await self._stop_all()
                for path in (plan.pid_file, plan.status_file):
                    path.unlink(missing_ok=True)
                telemetry.log().info("gateway_stopped")

    async def _begin_all(self) -> None:
        for _ in range(self.plan.workers):
            await self._begin()
        begun = [worker.settled.wait() for worker in self.workers]
        stopped, settled = spawn(self.stop_asked.wait(), "stop asked"), spawn(_all(begun), "workers settle")
        await asyncio.wait({stopped, settled}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        settled.cancel()
        if self._failed is not None and not self.stop_asked.is_set():
            raise WorkersDidNotStart(self._failed)

    async def _serve(self, stack: AsyncExitStack) -> None:
        if self.stop_asked.is_set():
            return
        plan, serving = self.plan, self.serving()
        self.is_up = True
        self.policy_id = serving[0].policy_id if serving else plan.policy_id
        host, real_port = self._listening.getsockname()[:2]
        plan.pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        for work in (self._watch(), keep_watchdog(), self._agree()):
            stack.callback(spawn(work, "supervisor").cancel)
        notify("READY=1")
        self._tell_status()
        telemetry.log().info(
            "gateway_ready", address=host, port=real_port, policy_id=self.policy_id, workers=plan.workers
        )
        async with _others(plan):
            await self.stop_asked.wait()

    # One worker's life.

    async def _begin(self) -> Worker:
        taken = {worker.number for worker in self.workers}
        number = next(seat for seat in range(1, len(taken) + 2) if seat not in taken)
        worker = await Worker.begin(
            number,
            lambda seat: self.command(self.plan, seat),
            self._listening.fileno(),
            self._standings_handle,
        )
        self.workers.append(worker)
        telemetry.log().info("worker_begun", worker=number, pid=worker.process.pid)
        task = spawn(self._tend(worker), f"worker {number}")
        self._tending.add(task)
        task.add_done_callback(self._tending.discard)
        return worker

    async def _tend(self, worker: Worker) -> None:
        hearing = spawn(worker.listen(self._serves), f"worker {worker.number} says")
        status = await worker.ended()
        await hearing
        self._standings.leave(worker.number)
        self.workers.remove(worker)
        self._ended = merged({}, [self._ended, worker.families])
        if not self.is_up and not self.stop_asked.is_set():
            self._failed = status if status > 0 else 1
            return
        self._tell_status()
        if self.stop_asked.is_set() or worker.state is State.LEAVING:
            return
        why = worker.why_killed or ("killed" if status < 0 else "ended")
        pause_s = self._pauses.after(worker.age_s)
        telemetry.WORKER_RESTARTS.labels(why).inc()
        telemetry.log().error(
            "worker_ended", worker=worker.number, exit_status=status, why=why, again_in_s=pause_s
        )
        await self._pause(pause_s)
        await self._fill_up()

    async def _fill_up(self) -> None:
        """Begin workers until there are as many as there are to be; those that leave do not count."""
        while not self.stop_asked.is_set():
            if sum(worker.state is not State.LEAVING for worker in self.workers) >= self.plan.workers:
                return
            try:
                await self._begin()
            except OSError as error:
                telemetry.log().error("worker_not_begun", error=error.strerror)
                await self._pause(LONGEST_PAUSE_S)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self.stop_asked.wait()
        except TimeoutError:
            pass

    def _serves(self, worker: Worker) -> None:
        telemetry.log().info("worker_serves", worker=worker.number, policy_id=worker.policy_id)
        self._tell_status()
        if self.is_up:
            spawn(self._agree(), "workers agree")

    async def _agree(self) -> None:
        """Reload when a worker read files that were changed since: the rules may not depend on whom one meets."""
        async with self._changing:
            if any(worker.policy_id != self.policy_id for worker in self.serving()):
                await self._reload_and_tell()

    async def _watch(self) -> None:
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
        if limit is None or self._changing.locked():
            return
        for worker in self.serving():
            if worker.age_s >= self._replace_after_s and worker.resident_bytes() > limit:
                self._replace_after_s = self._memory_pauses.after(worker.age_s)
                telemetry.log().warning("worker_past_memory", worker=worker.number, limit_bytes=limit)
                spawn(self._replace_for_memory(worker), "replace for memory")
                return

    async def _replace_for_memory(self, worker: Worker) -> None:
        async with self._changing:
            await self._replace(worker, "memory")
            await self._fill_up()

    async def _replace(self, worker: Worker, why: str) -> bool:
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
        self._tell_status()
        longest_s = float(self.plan.drain_s)
        idle_s = min(IDLE_S, longest_s)
        await worker.ask("leave", longest_s + KILL_AFTER_S, longest_s=longest_s, idle_s=idle_s)
        try:
            async with asyncio.timeout(KILL_AFTER_S):
                await worker.process.wait()
        except TimeoutError:
            worker.send_signal(signal.SIGKILL)
            await worker.process.wait()
        telemetry.log().info("worker_left", worker=worker.number)

    async def _stop_all(self) -> None:
        self._listening.close()
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        if self._tending:
            _, left = await asyncio.wait(self._tending, timeout=self.plan.drain_s + KILL_AFTER_S)
            for worker in self.workers if left else ():
                telemetry.log().error("worker_killed", worker=worker.number)
                worker.send_signal(signal.SIGKILL)
            if left:
                await asyncio.wait(left)

    # What operators ask for.

    async def reload(self) -> bool:
        """Have every worker read the configuration again; the first one that refuses it speaks for all."""
        async with self._changing:
            return await self._reload_and_tell()

    async def _reload_and_tell(self) -> bool:
        notify_reloading()
        outcome = await self._reload_all()
        _write(self.plan.reload_file, outcome)
        notify("READY=1")
        self._tell_status()
        return outcome["loaded"] is True

    async def _reload_all(self) -> dict[str, Any]:
        faults: list[str] = []
        for _ in range(3):
            # One that does not answer hangs, or has ended: what comes in its place reads the files as they are.
            answers: list[dict[str, Any]] = []
            for worker in self.serving():
                answer = await worker.ask("reload", ANSWER_S)
                if answer is None:
                    continue
                answers.append(answer)
                if not answer["loaded"]:
                    break
            if not answers:
                return {"loaded": False, "policy_id": self.policy_id, "faults": ["no worker answers"]}
            if not answers[0]["loaded"]:
                return {"loaded": False, "policy_id": self.policy_id, "faults": answers[0]["faults"]}
            if len({(answer["loaded"], answer["policy_id"]) for answer in answers}) == 1:
                self.policy_id = answers[0]["policy_id"]
                self._follow(answers[0])
                return {"loaded": True, "policy_id": self.policy_id, "faults": []}
            faults = answers[-1]["faults"]
        telemetry.log().error("workers_disagree", policy_id=self.policy_id)
        words = "the workers do not hold the same configuration, it was changed meanwhile: reload again"
        return {"loaded": False, "policy_id": self.policy_id, "faults": [*faults, words]}

    async def restart(self) -> bool:
        """Replace every worker, one after the other: code, keys and configuration are read anew."""
        async with self._changing:
            notify_reloading()
            outcome = await self._restart_all()
            _write(self.plan.restart_file, outcome)
            notify("READY=1")
            self._tell_status()
            telemetry.log().info("workers_restarted", complete=outcome["restarted"])
            return outcome["restarted"] is True

    async def _restart_all(self) -> dict[str, Any]:
        # One that is just beginning may have read the keys of before.
        await _all([worker.settled.wait() for worker in self.workers])
        old = self.serving()
        checked = await old[0].ask("check", ANSWER_S) if old else None
        if checked is None or not checked["loaded"]:
            faults = checked["faults"] if checked is not None else ["no worker answers"]
            return {"restarted": False, "faults": faults}
        self._follow(checked)
        for worker in old:
            if not await self._replace(worker, "asked"):
                words = "a new worker did not come to serve, the old ones go on: look at the operations log"
                return {"restarted": False, "faults": [words]}
            await self._fill_up()
        self.policy_id = checked["policy_id"]
        if any(worker.policy_id != self.policy_id for worker in self.serving()):
            await self._reload_all()
        return {"restarted": True, "faults": [], "policy_id": self.policy_id}

    def _follow(self, answer: dict[str, Any]) -> None:
        self.plan = msgspec.structs.replace(
            self.plan, drain_s=answer["drain_s"], memory_bytes=answer["memory_bytes"]
        )

    # What is told.

    async def metrics(self) -> bytes:
        """Return the metrics of all workers, those of ended ones included, in the text form of Prometheus."""
        asked = list(self.workers)
        up = [worker for worker in asked if worker.state is not State.STARTING]
        await asyncio.gather(*(worker.ask("metrics", SCRAPE_S) for worker in up))
        for state in State:
            telemetry.WORKERS.labels(state.value).set(sum(worker.state is state for worker in asked))
        present = {str(worker.number): worker.families for worker in asked}
        present["supervisor"] = families_of(telemetry.REGISTRY)
        return exposition(merged(present, [self._ended]))

    async def _open_probes(self, address: str, metrics_port: int) -> asyncio.Server:
        try:
            return await telemetry.serve_metrics(address, metrics_port, lambda: self.is_ready, self.metrics)
        except OSError as error:
            raise port.PortTaken(
                f"metrics {address}:{metrics_port}: {os.strerror(error.errno or 0)}"
            ) from None

    def _tell_status(self) -> None:
        if not self.is_up:
            return
        notify(f"STATUS={len(self.serving())} of {self.plan.workers} workers serve, policy {self.policy_id}")
        shown = [
            {"worker": each.number, "pid": each.process.pid, "state": each.state, "policy_id": each.policy_id}
            for each in sorted(self.workers, key=lambda one: one.number)
        ]
        _write(self.plan.status_file, {"pid": os.getpid(), "workers": shown})


@asynccontextmanager
async def _others(plan: Plan) -> AsyncIterator[None]:
    """Run the processes that a node has once, however many workers it has."""
    where = ("--config", plan.config_path)
    async with AsyncExitStack() as stack:
        if plan.watcher:
            watch = beside("audit watcher", ["audit", "watch", *where], after_s=WATCHER_AFTER_S)
            await stack.enter_async_context(watch)
        if plan.keeper:
            keep = beside("audit keeper", ["audit", "keep", *where], after_s=KEEPER_AFTER_S)
            await stack.enter_async_context(keep)
        yield


async def _all(several: Iterable[Awaitable[Any]]) -> None:
    await asyncio.gather(*several)


def _write(path: Path, outcome: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(outcome))
    fresh.replace(path)
