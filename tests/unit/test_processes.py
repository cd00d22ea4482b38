"""A process of ours: what it inherits, how it ends, and that it does not outlive whoever began it."""

import asyncio
import json
import os
import signal
import subprocess
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


_ALLOW = (
    "import resource, sys; from gateway.processes import allow_files;"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])));"
    "print(allow_files(int(sys.argv[3])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
)
LIMITS = [
    ("raised to what is wanted", 256, 4_096, 1_000, 1_000),
    ("raised to what is allowed", 256, 512, 1_000, 512),
    ("never lowered", 2_000, 4_096, 1_000, 2_000),
]


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "got"), [one[1:] for one in LIMITS], ids=[one[0] for one in LIMITS]
)
def test_the_soft_limit_follows_what_is_wanted(soft: int, hard: int, wanted: int, got: int) -> None:
    command = [sys.executable, "-c", _ALLOW, str(soft), str(hard), str(wanted)]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert said == [str(got), str(got)]


def test_a_gateway_that_may_open_few_files_says_so(tmp_path: Path) -> None:
    """Before anything else: the configuration is not even there."""
    serve = ("-m", "gateway", "serve", "--config", str(tmp_path / "none.yaml"))
    limited = f'ulimit -n 1024; exec {sys.executable} "$@"'
    done = subprocess.run(
        ["bash", "-c", limited, "bash", *serve], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "few_open_files"]
    assert [(line["limit"], line["connections"]) for line in told] == [(1_024, 512)]
