"""A command beside the gateway: begun again when it ends, stopped with the gateway."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway.workers import beside as module
from gateway.workers.beside import beside, node_processes

NOTE = "import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.2)


def as_ecluse(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put *body* in place of the program, which gets the arguments the gateway gives."""
    (folder / "gateway").mkdir()
    (folder / "gateway" / "__init__.py").write_bytes(b"")
    (folder / "gateway" / "__main__.py").write_text(body)
    monkeypatch.chdir(folder)


async def pids(file: Path, count: int) -> list[int]:
    async with asyncio.timeout(20):
        while not file.exists() or len(file.read_text().split()) < count:
            await asyncio.sleep(0.02)
    return [int(text) for text in file.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("quick")
async def test_one_that_ends_is_begun_again_after_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_ecluse(tmp_path, monkeypatch, f"{NOTE}; sys.exit(3)")
    paused: list[float] = []
    real = asyncio.sleep

    async def sleep(pause_s: float) -> None:
        paused.append(pause_s)
        await real(0)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    note = tmp_path / "pids"
    async with asyncio.timeout(30), beside("keeper", [str(note)], after_s=0.01):
        while len(paused) < 6:
            await real(0.02)
    assert paused[:6] == [0.01, 0.05, 0.1, 0.2, 0.2, 0.2]
    assert len(set(note.read_text().split())) >= 4


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.usefixtures("quick")
async def test_it_is_stopped_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.3)
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    as_ecluse(tmp_path, monkeypatch, f"{ignoring}{NOTE}\nimport time; time.sleep(60)")
    async with beside("keeper", [str(tmp_path / "pids")], after_s=0.0):
        (pid,) = await pids(tmp_path / "pids", 1)
        assert is_alive(pid)
    assert not is_alive(pid)


async def test_one_that_was_not_begun_yet_is_never_begun(tmp_path: Path) -> None:
    async with beside("keeper", [str(tmp_path / "pids")], after_s=60.0):
        await asyncio.sleep(0.01)
    assert not (tmp_path / "pids").exists()


@pytest.mark.parametrize("edge", [False, True])
async def test_a_node_runs_what_its_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: bool
) -> None:
    monkeypatch.setattr(module, "WATCHER_AFTER_S", 0.0)
    noted = tmp_path / "begun"
    as_ecluse(
        tmp_path,
        monkeypatch,
        f"import sys, time; open({str(noted)!r}, 'a').write(' '.join(sys.argv[1:3]) + '\\n'); time.sleep(60)",
    )
    expected = {"audit watch"} | ({"edge serve"} if edge else set())
    async with node_processes("ecluse.yaml", watcher=True, keeper=False, edge=edge, drain_s=1.0):
        async with asyncio.timeout(20):
            while not noted.exists() or len(noted.read_text().splitlines()) < len(expected):
                await asyncio.sleep(0.02)
    assert set(noted.read_text().splitlines()) == expected
