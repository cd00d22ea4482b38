"""``ecluse audit publish`` as a process of its own: it tells its failures, mends by itself, and stops when asked."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import decode, encode
from gateway.audit.publish import Outcome
from gateway.audit.segments import Journal
from gateway.cli.audit_publish import _Alarm
from gateway.configuration import init_keys, load_keys
from tests.unit.audit.logs import SALT, an_event

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "tests" / "configs"
PATIENCE_S = 40.0


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def wait_for(url: str, status: int) -> str:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        found, text = ask(url)
        if found == status:
            return text
        time.sleep(0.2)
    raise AssertionError(f"{url} never answered {status}")


def test_a_share_that_is_not_mounted_is_seen_and_then_served(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, share = tmp_path / "ecluse.yaml", tmp_path / "share"
    text = (CONFIGS / "working_smallest.yml").read_text()
    text = text.replace("gateway:", "gateway:\n  keys_dir: keys\n  state_dir: state", 1)
    config.write_text(
        text.replace("realms:", "audit: {dir: audit, publish: [{directory: share}]}\nrealms:", 1)
    )
    init_keys(tmp_path / "keys")
    log = Journal(
        tmp_path / "audit" / "gateway", LOG_NAME, load_keys(tmp_path / "keys").checkpoint, segment_bytes=1_000
    )
    log.open()
    log.commit([encode(an_event(0), seq=0, salt=SALT)])
    log.checkpoint()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "audit", "publish", "--config", config, "--metrics-port", str(port)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        at = f"http://127.0.0.1:{port}"
        wait_for(f"{at}/readyz", 503)
        metrics = wait_for(f"{at}/metrics", 200)
        assert f'ecluse_publish_failures_total{{destination="directory {share}"}} 1.0' in metrics
        share.mkdir()
        wait_for(f"{at}/readyz", 200)
        assert (share / "ecluse" / "gateway" / "checkpoint").exists()
        told = f'ecluse_published_entries{{destination="directory {share}",origin="ecluse/gateway"}} 1.0'
        assert told in wait_for(f"{at}/metrics", 200)
        # The gateway's own journal, open all the while, was not in anybody's way.
        log.commit([encode(an_event(1), seq=1, salt=SALT)])
    finally:
        log.close()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "checkpoint_not_published" in said
    assert "mount it" in said


async def test_an_alarm_tells_whether_it_is_on_record(tmp_path: Path) -> None:
    init_keys(tmp_path / "keys")
    audit_dir = tmp_path / "audit"
    audit_dir.mkdir()
    place = audit_dir / files.OPERATOR
    place.write_text("no folder: the log of commands cannot be opened")
    alarm = _Alarm(audit_dir, load_keys(tmp_path / "keys"), None)
    outcome = Outcome("ecluse/gateway", "directory /share", 4, "it was cut", is_alarm=True)
    assert not await alarm(outcome)
    place.unlink()
    assert await alarm(outcome)
    (line,) = files.read_lines(files.segment_path(place, 0))
    assert decode(line.removesuffix(b"\n"))["kind"] == "checkpoint-contradicted"
