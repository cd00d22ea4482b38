"""M04 for the archive: kill -9 before any file operation of the keeper loses no event and doubles none."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.audit import archive
from gateway.audit.manifest import read_manifest
from gateway.audit.verify import Verified, verify_log
from tests.thorough import THOROUGH
from tests.unit.audit.archives import assert_one_log, day_ms, entries, write_days
from tests.unit.audit.logs import KEY

# Forks a child for each job it reads: {"audit_dir", "kill_before", "acts"}. The child kills itself before the
# n-th operation that changes a file, as seen by the interpreter, or runs to its end. Answers how it ended.
# It has done the work once before it forks, so that no child loads and compiles what all need.
SERVER = """
import json, os, signal, sys, tempfile
from pathlib import Path
from gateway.audit import keeper, retention
from gateway.audit.operator import operator_log
from gateway.audit.purges import purge_event
from tests.unit.audit.archives import day_ms, write_days
from tests.unit.audit.logs import KEY, RING, SITE

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "shutil.rmtree"}

def purge(audit_dir, before_ms):
    with keeper.archive_lock(audit_dir):
        due = retention.find_due(audit_dir, [KEY], before_ms)
        with operator_log(audit_dir, SITE, RING, node="a") as log:
            for item in due:
                log.record(purge_event(item.purge, before_ms, "sysop", "test", older_than="", retention=""))
        retention.drop(audit_dir, due)

def act(audit_dir, acts):
    for name, at_ms in acts:
        if name == "keep":
            assert not keeper.keep(audit_dir, [KEY], at_ms).faults
        else:
            purge(audit_dir, at_ms)

def child(job):
    count = 0
    def step():
        nonlocal count
        count += 1
        if count == job["kill_before"]:
            os.kill(os.getpid(), signal.SIGKILL)
    def hook(event, args):
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            if isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(job["audit_dir"]):
                step()
    def stepping(real):
        def call(handle):
            step()
            real(handle)
        return call
    sys.addaudithook(hook)
    os.fsync, os.fdatasync = stepping(os.fsync), stepping(os.fdatasync)
    act(Path(job["audit_dir"]), job["acts"])

with tempfile.TemporaryDirectory() as warm:
    write_days(Path(warm) / "gateway.a", range(3), per_day=3)
    act(Path(warm), [("keep", day_ms(3)), ("keep", day_ms(40)), ("purge", day_ms(1))])

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child(job)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@contextmanager
def server() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def run(
    process: subprocess.Popen[str], audit_dir: Path, kill_before: int, acts: list[tuple[str, int]]
) -> bool:
    """Run *acts* on *audit_dir*; tell whether they came to their end before they were killed."""
    told, heard = process.stdin, process.stdout
    assert told is not None
    assert heard is not None
    told.write(json.dumps({"audit_dir": str(audit_dir), "kill_before": kill_before, "acts": acts}) + "\n")
    told.flush()
    status = int(heard.readline())
    assert status in {0, 9}, status
    return status == 0


PARTS = 4
"""The steps are shared out: each part is killed before every fourth. Two of them are enough for a change."""
ARCHIVING = [
    ("keep", day_ms(3)),
    ("keep", day_ms(40)),
    ("keep", day_ms(40) + archive.GRACE_MS),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(0, PARTS, 1 if THOROUGH else 2))
def test_killed_before_any_step_the_keeper_loses_and_doubles_nothing(tmp_path: Path, part: int) -> None:
    made = tmp_path / "made"
    write_days(made / "gateway.a", range(3), per_day=3)
    expected = entries(made)
    with server() as process:
        for step in range(1 + part, 1_000, PARTS):
            audit_dir = shutil.copytree(made, tmp_path / str(step))
            ended = run(process, audit_dir, step, ARCHIVING)
            # What a reader finds at this very moment, and what the next keeper makes of it.
            assert_one_log(audit_dir, expected)
            if ended:
                break
            assert run(process, audit_dir, 0, ARCHIVING)
            manifest = assert_one_log(audit_dir, expected)
            assert manifest.archived == {"gateway.a": 6}
            listed = {item.path for item in (*manifest.events, *manifest.accesses)}
            assert set((audit_dir / "archive").glob("*/*")) == listed
            shutil.rmtree(audit_dir)
    assert step > 40


@pytest.mark.timeout(600)
def test_killed_before_any_step_a_purge_leaves_a_log_that_verifies(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_days(made / "gateway.a", range(4), per_day=3)
    acts = [("purge", day_ms(2)), ("keep", day_ms(40))]
    with server() as process:
        assert run(process, made, 0, [("keep", day_ms(40)), ("keep", day_ms(40) + archive.GRACE_MS)])
        expected = entries(made)
        kept = {name: entry for name, entry in expected.items() if name[1] >= 6}
        for step in range(1, 1_000, 1 if THOROUGH else 2):
            audit_dir = shutil.copytree(made, tmp_path / str(step))
            ended = run(process, audit_dir, step, acts)
            result = verify_log(audit_dir / "gateway.a", [KEY])
            assert isinstance(result, Verified), (step, result)
            purged = read_manifest(audit_dir).purged.get("gateway.a", 0)
            assert purged in {0, 6}
            assert result.purged <= purged
            if not ended:
                assert run(process, audit_dir, 0, acts)
            result = verify_log(audit_dir / "gateway.a", [KEY])
            assert isinstance(result, Verified)
            assert (result.size, result.purged) == (12, 6)
            operators = {name: entry for name, entry in entries(audit_dir).items() if name[0] == "operator.a"}
            assert_one_log(audit_dir, kept | operators)
            shutil.rmtree(audit_dir)
            if ended:
                break
    assert step > 15
