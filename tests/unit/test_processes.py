"""A process of ours: what it inherits, how it ends, and that it does not outlive whoever began it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from gateway.processes import Child, ecluse, without_systemd

WAIT_S = 30
BEGINS_ONE = """
import asyncio, sys
from gateway.processes import Child
async def main():
    child = await Child.begin([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    await child.ended()
asyncio.run(main())
"""


def script(text: str, *words: str) -> list[str]:
    return [sys.executable, "-c", text, *words]


def is_alive(pid: int) -> bool:
    """Tell whether process *pid* runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_interpreter_and_its_checks_are_those_of_now() -> None:
    assert ecluse("edge", "serve")[0] == sys.executable
    assert ecluse("edge", "serve")[-4:] == ["-m", "gateway", "edge", "serve"]
    assert ecluse().count("-O") == sys.flags.optimize


def test_children_do_not_speak_in_our_name() -> None:
    assert without_systemd({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


async def test_it_has_our_descriptors_and_not_our_tie_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@nobody")
    told = (
        "import os, sys; os.write(int(sys.argv[1]), repr([n for n in os.environ if 'NOTIFY' in n]).encode())"
    )
    reading, writing = os.pipe()
    child = await Child.begin(script(told, str(writing)), descriptors=(writing,))
    os.close(writing)
    async with asyncio.timeout(WAIT_S):
        assert await child.ended() == 0
    assert os.read(reading, 100) == b"[]"
    os.close(reading)
    # One that has ended minds neither a signal nor being stopped.
    child.send_signal(signal.SIGTERM)
    assert await child.stop(1.0) == 0


@pytest.mark.parametrize("deaf", [False, True])
async def test_it_is_asked_to_end_and_killed_when_it_does_not(tmp_path: Path, deaf: bool) -> None:
    reading, writing = os.pipe()
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    text = f"import os, signal, sys, time; {ignoring} os.write(int(sys.argv[1]), b'!'); time.sleep(60)"
    child = await Child.begin(script(text, str(writing)), descriptors=(writing,), may_dump=False)
    os.close(writing)
    async with asyncio.timeout(WAIT_S):
        assert await asyncio.to_thread(os.read, reading, 1) == b"!"
        ended = await child.stop(0.3 if deaf else WAIT_S)
    os.close(reading)
    assert ended == -(signal.SIGKILL if deaf else signal.SIGTERM)
    assert not is_alive(child.pid)


async def test_it_dies_with_whoever_began_it_whatever_killed_that(tmp_path: Path) -> None:
    begun = await asyncio.create_subprocess_exec(
        *script(BEGINS_ONE), cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
    )
    assert begun.stdout is not None
    async with asyncio.timeout(WAIT_S):
        pid = int(await begun.stdout.readline())
        assert is_alive(pid)
        begun.kill()
        await begun.wait()
        while is_alive(pid):
            await asyncio.sleep(0.01)
