"""The supervisor, with workers that only talk: who is begun again, who is replaced, and what is refused."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.workers import crew as module
from gateway.workers.crew import WorkersDidNotStart
from gateway.workers.plan import Plan
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Seat

FAKE = Path(__file__).with_name("fake_worker.py")
WAIT_S = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.1)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "KILL_AFTER_S", 5.0)
    (tmp_path / "config").write_text("first", "ascii")


def made(folder: Path, workers: int = 2) -> Supervisor:
    def command(_: Plan, seat: Seat) -> list[str]:
        return [
            sys.executable,
            str(FAKE),
            str(folder),
            json.dumps({"number": seat.number, "link": seat.link}),
        ]

    plan = Plan(
        config_path="",
        workers=workers,
        address="127.0.0.1",
        port=0,
        state_dir=str(folder),
        policy_id="first",
        drain_s=1,
        keeper=False,
        watcher=False,
    )
    return Supervisor(plan, command)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Supervisor]:
    supervisor = made(folder)
    task = asyncio.ensure_future(supervisor.run())
    await until(lambda: supervisor.is_up or task.done())
    try:
        yield supervisor
    finally:
        supervisor.stop_asked.set()
        async with asyncio.timeout(WAIT_S):
            await task
    assert not supervisor.workers
    assert not (folder / "workers.json").exists()


def pids(supervisor: Supervisor) -> dict[int, int]:
    return {worker.number: worker.process.pid for worker in supervisor.serving()}


def answer(folder: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    return told


async def test_a_worker_that_does_not_start_is_told_by_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "exit").write_text("2", "ascii")
    supervisor = made(tmp_path)
    with pytest.raises(WorkersDidNotStart) as told:
        async with asyncio.timeout(WAIT_S):
            await supervisor.run()
    assert told.value.code == 2
    assert not supervisor.workers
    assert not (tmp_path / "ecluse.pid").exists()


async def test_one_that_says_nothing_is_killed_and_another_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as supervisor:
        monkeypatch.setattr(module, "SILENT_BEATS", 5)
        before = pids(supervisor)
        (tmp_path / "silent.1").touch()
        await until(lambda: 1 not in pids(supervisor))
        (tmp_path / "silent.1").unlink()
        await until(lambda: len(pids(supervisor)) == 2)
        after = pids(supervisor)
        assert after[1] != before[1]
        assert after[2] == before[2]


async def test_one_that_comes_back_with_other_rules_has_all_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        (tmp_path / "config").write_text("second", "ascii")
        os.kill(pids(supervisor)[1], 9)
        await until(lambda: {worker.policy_id for worker in supervisor.serving()} == {"second"})
        await until(lambda: (tmp_path / "reload.json").exists() and supervisor.policy_id == "second")
        assert len(pids(supervisor)) == 2
        assert answer(tmp_path, "reload.json")["loaded"] is True


@pytest.mark.parametrize(
    ("files", "loaded", "policy_id", "fault"),
    [
        ({"config": "second"}, True, "second", None),
        ({"config": "bad"}, False, "first", "bad"),
        # The first one took it: that the second one did not is not passed over.
        ({"config.2": "bad"}, False, "first", "do not hold the same configuration"),
        ({"config.2": "other"}, False, "first", "do not hold the same configuration"),
    ],
)
async def test_a_reload_reaches_all_or_is_told_to_have_failed(
    tmp_path: Path, files: dict[str, str], loaded: bool, policy_id: str, fault: str | None
) -> None:
    async with running(tmp_path) as supervisor:
        for name, text in files.items():
            (tmp_path / name).write_text(text, "ascii")
        assert await supervisor.reload() is loaded
        told = answer(tmp_path, "reload.json")
        assert (told["loaded"], told["policy_id"]) == (loaded, policy_id)
        assert (told["faults"] == []) if fault is None else (fault in " ".join(told["faults"]))


async def test_a_restart_replaces_all_or_leaves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as supervisor:
        before = pids(supervisor)
        (tmp_path / "config").write_text("bad", "ascii")
        assert await supervisor.restart() is False
        assert pids(supervisor) == before
        # Sound, but a new worker does not come up: the old ones go on.
        (tmp_path / "config").write_text("second", "ascii")
        (tmp_path / "exit").write_text("2", "ascii")
        assert await supervisor.restart() is False
        assert "did not come to serve" in answer(tmp_path, "restart.json")["faults"][0]
        assert pids(supervisor) == before
        (tmp_path / "exit").unlink()
        assert await supervisor.restart() is True
        after = pids(supervisor)
        # One number, and so one log, more than there are workers: each takes the first that is free.
        assert sorted(after) == [1, 3]
        assert not set(after.values()) & set(before.values())
        assert answer(tmp_path, "restart.json")["policy_id"] == "second"
        assert {worker.policy_id for worker in supervisor.serving()} == {"second"}
        told = answer(tmp_path, "workers.json")
        assert {each["pid"] for each in told["workers"]} == set(after.values())
