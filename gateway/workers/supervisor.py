"""The supervisor: begins the workers, begins again those that end, reloads and replaces them one by one.

It reads no key and no request. Everything that changes the workers on purpose (a reload, a rolling restart, a
replacement for memory) is done one after the other.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from gateway import telemetry
from gateway.clock import spawn
from gateway.valkey.embedded import Embedded
from gateway.vocabulary.running import Door
from gateway.workers import acceptance, port
from gateway.workers.beside import node_processes
from gateway.workers.crew import Crew, all_of
from gateway.workers.merging import exposition, families_of, merged
from gateway.workers.systemd import keep_watchdog, notify, notify_reloading
from gateway.workers.worker import State, Worker

_SERVES = {Door.INSPECTOR: "gateway_ready", Door.EDGE: "edge_serves"}
_STOPPED = {Door.INSPECTOR: "gateway_stopped", Door.EDGE: "edge_stopped"}
ANSWER_S = 30.0
SCRAPE_S = 2.0


class Supervisor(Crew):
    """Runs the workers of a plan until it is told to stop."""

    policy_id = ""

    @property
    def is_ready(self) -> bool:
        """Tell whether records could be served now: somebody serves, and whoever serves could."""
        serving = self.serving()
        return not self.stop_asked.is_set() and bool(serving) and all(worker.is_ready for worker in serving)

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
            places = port.Places(plan.address, plan.port, plan.socket, plan.group)
            stack.callback(places.close)
            self.listening = tuple(one.fileno() for one in places.sockets)
            if plan.metrics_port is not None:
                probes = await self._open_probes(plan.metrics_address, plan.metrics_port)
                stack.callback(probes.close)
            if plan.store_dir is not None:
                # Kept here, since whoever keeps the store may not leave while others need it.
                store = await Embedded.start(Path(plan.store_dir))
                stack.push_async_callback(store.stop)
            try:
                await self.begin_all()
                await self._serve(stack, places)
            finally:
                self.stop_asked.set()
                notify("STOPPING=1")
                # Whoever still accepts does so for the last time; nobody is let wait in a queue that is left.
                places.close()
                await self.stop_all()
                for path in (plan.files.pid, plan.files.workers):
                    path.unlink(missing_ok=True)
                telemetry.log().info(_STOPPED[plan.door])

    async def _serve(self, stack: AsyncExitStack, places: port.Places) -> None:
        if self.stop_asked.is_set():
            return
        plan, serving = self.plan, self.serving()
        self.is_up = True
        self.policy_id = serving[0].policy_id if serving else plan.policy_id
        plan.files.pid.write_text(f"{os.getpid()}\n", encoding="ascii")
        for work in (self.watch(), keep_watchdog(), self._agree()):
            stack.callback(spawn(work, "supervisor").cancel)
        notify("READY=1")
        self._tell_status()
        telemetry.log().info(
            _SERVES[plan.door], **places.shown(), policy_id=self.policy_id, workers=plan.workers
        )
        async with node_processes(
            plan.config_path,
            watcher=plan.watcher,
            keeper=plan.keeper,
            edge=plan.edge_beside,
            drain_s=plan.drain_s,
        ):
            await self.stop_asked.wait()

    def changed(self, fresh: Worker | None) -> None:
        """Tell it, and have a *fresh* worker hold the same rules as the others."""
        self._tell_status()
        if fresh is not None:
            telemetry.log().info("worker_serves", worker=fresh.number, policy_id=fresh.policy_id)
            if self.is_up:
                spawn(self._agree(), "workers agree")

    async def _agree(self) -> None:
        """Reload when a worker read files that were changed since: the rules may not depend on whom one meets."""
        async with self.changing:
            if any(worker.policy_id != self.policy_id for worker in self.serving()):
                await self._reload_and_tell()

    # What operators ask for.

    async def reload(self) -> bool:
        """Have every worker read the configuration again; the first one that refuses it speaks for all."""
        async with self.changing:
            # The edge follows the inspector: what is accepted is accepted there.
            taken = acceptance.take(self.plan.acceptance_file) if self.plan.door is Door.INSPECTOR else None
            return await self._reload_and_tell(taken)

    async def _reload_and_tell(self, accepted: acceptance.Acceptance | None = None) -> bool:
        notify_reloading()
        outcome = await self._reload_all(accepted)
        _write(self.plan.files.reload, outcome)
        notify("READY=1")
        self._tell_status()
        return outcome["loaded"] is True

    async def _reload_all(self, accepted: acceptance.Acceptance | None = None) -> dict[str, Any]:
        word = {} if accepted is None else {"accepted": msgspec.to_builtins(accepted)}
        faults: list[str] = []
        for _ in range(3):
            # One that does not answer hangs, or has ended: what comes in its place reads the files as they are.
            answers: list[dict[str, Any]] = []
            for worker in self.serving():
                answer = await worker.ask("reload", ANSWER_S, **word)
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
        async with self.changing:
            notify_reloading()
            outcome = await self._restart_all()
            _write(self.plan.files.restart, outcome)
            notify("READY=1")
            self._tell_status()
            telemetry.log().info("workers_restarted", complete=outcome["restarted"])
            return outcome["restarted"] is True

    async def _restart_all(self) -> dict[str, Any]:
        # One that is just beginning may have read the keys of before.
        await all_of([worker.settled.wait() for worker in self.workers])
        old = self.serving()
        checked = await old[0].ask("check", ANSWER_S) if old else None
        if checked is None or not checked["loaded"]:
            faults = checked["faults"] if checked is not None else ["no worker answers"]
            return {"restarted": False, "faults": faults}
        self._follow(checked)
        for worker in old:
            if not await self.replace(worker, "asked"):
                words = "a new worker did not come to serve, the old ones go on: look at the operations log"
                return {"restarted": False, "faults": [words]}
            await self.fill_up()
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
        return exposition(merged(present, [self.ended]))

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
        _write(self.plan.files.workers, {"pid": os.getpid(), "workers": shown})


def _write(path: Path, outcome: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(outcome))
    fresh.replace(path)
