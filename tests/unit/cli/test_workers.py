"""``ecluse workers`` and ``ecluse serve --workers``: what is told, and who is never signalled."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cli.serve_start import plan_of
from gateway.configuration import load

CONFIGS = Path(__file__).parents[2] / "configs"

# A stand-in for the supervisor: it answers SIGUSR2 as the gateway does, through restart.json.
_ANSWERS = """
import json, os, pathlib, signal, sys
state, outcome, workers = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
def answer(*_):
    (state / "restart.new").write_text(outcome)
    (state / "restart.new").replace(state / "restart.json")
if workers is not None:
    signal.signal(signal.SIGUSR2, answer)
    (state / "workers.json").write_text(json.dumps({"pid": os.getpid(), "workers": workers}))
(state / "ecluse.pid").write_text(f"{os.getpid()}\\n")
print("ready", flush=True)
while True:
    signal.pause()
"""
SERVING = {"worker": 1, "pid": 7, "state": "serving", "policy_id": "00ff"}
STARTING = {**SERVING, "worker": 2, "state": "starting"}


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    code = leaving.value.code
    assert isinstance(code, int)
    return code


def configured(folder: Path, more: str = "") -> str:
    text = (CONFIGS / "working_smallest.yml").read_text("utf-8")
    text = text.replace("gateway:", f"gateway:\n  state_dir: .{more}", 1)
    (folder / "ecluse.yaml").write_text(text, "utf-8")
    return str(folder / "ecluse.yaml")


@pytest.mark.parametrize(
    ("words", "outcome", "workers", "code", "told"),
    [
        (("restart",), {"restarted": True, "policy_id": "00ff"}, [SERVING], 0, "replaced: policy 00ff"),
        (("restart",), {"restarted": False, "faults": ["x.yaml:1: bad"]}, [SERVING], 1, "x.yaml:1: bad"),
        (("status",), {}, [SERVING], 0, "serving"),
        (("status", "--json"), {}, [SERVING, STARTING], 1, '"starting"'),
        # SIGUSR2 would end a process without workers.
        (("restart",), {}, None, 2, "has no workers"),
        (("status",), {}, None, 2, "has no workers"),
    ],
)
def test_what_the_supervisor_says_is_told_and_a_lone_process_lives(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    outcome: dict[str, Any],
    workers: list[dict[str, Any]] | None,
    code: int,
    told: str,
) -> None:
    command = [
        sys.executable,
        "-c",
        _ANSWERS,
        str(tmp_path),
        json.dumps(outcome),
        json.dumps(workers),
        "gateway",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert run("workers", *words, "--config", configured(tmp_path)) == code
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
    shown = capsys.readouterr()
    assert told in shown.out + shown.err


@pytest.mark.parametrize("wrong", ["0", "65", "-1", "many", "2.5"])
def test_a_wrong_number_of_workers_is_refused(capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    assert run("serve", "--workers", wrong) == 2
    assert "neither a number from 1 to 64 nor auto" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("\n  workers: auto", 0),
        ("\n  workers: 3\n  worker_memory_bytes: 600000000", 0),
        ("\n  workers: 0", 2),
        ("\n  workers: all", 2),
        ("\n  worker_memory_bytes: 1000", 2),
    ],
)
def test_the_configuration_of_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, code: int
) -> None:
    assert run("config", "check", "--config", configured(tmp_path, more)) == code
    if code:
        told = capsys.readouterr().err
        assert told.count("ecluse.yaml:") == 1
        assert ("number from 1 to 64, or auto" in told) == ("workers:" in more)


def test_the_supervisor_is_told_nothing_secret(tmp_path: Path) -> None:
    secret = "hunter2-of-the-store"
    (tmp_path / "password").write_text(secret, "ascii")
    (tmp_path / "password").chmod(0o600)
    path = Path(configured(tmp_path))
    text = path.read_text("utf-8")
    assert "store:" not in text
    path.write_text(text + "\nstore: {url: 'redis://127.0.0.1:6379/0', password_file: password}\n", "utf-8")
    loaded = load(path)
    assert secret in loaded.settings.store_url
    plan = plan_of(loaded, 2)
    assert secret not in repr(plan)
    assert (plan.store_dir, plan.workers, plan.state_dir) == (None, 2, str(tmp_path))
