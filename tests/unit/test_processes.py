"""How many files a process may hold open: as many as it may, and said when they are few."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
