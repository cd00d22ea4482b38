"""``ecluse audit ship`` against Debian's rsyslog: stopped, killed, started again, it has everything in order."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import decode, encode
from gateway.audit.export.formats import FORMATS, messages
from gateway.audit.segments import Journal
from gateway.audit.shipping.shipper import TURN_S
from gateway.cli.audit_export import observer_of
from gateway.configuration import init_keys, load, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.attacks.harness import Authority
from tests.end_to_end.collector import HOST, Rsyslog, free_port, running
from tests.unit.audit.logs import SALT, an_event

ROOT = Path(__file__).parents[2]
SAMPLE = (ROOT / "tests/configs/working_collector.yml").read_text("utf-8")

pytestmark = pytest.mark.rsyslog


@dataclass
class Node:
    """A gateway's folders, its open journal, and the command that ships it."""

    folder: Path
    log: Journal
    config: Path

    def write(self, count: int) -> None:
        first = self.log.size
        lines = [
            encode(an_event(n, client="192.0.2.44", client_port=5, method="GET"), seq=n, salt=SALT)
            for n in range(first, first + count)
        ]
        self.log.commit(lines)
        if self.log.is_full:
            self.log.rotate()
        self.log.checkpoint()

    def point(self, url: str, form: str = "syslog", **keys: Path) -> None:
        more = "".join(f"\n    {key}: {path}" for key, path in keys.items())
        text = SAMPLE.replace("url: tls://siem.example:6514", f"url: {url}{more}")
        text = text.replace("format: ecs", f"format: {form}")
        folders = f"  state_dir: {self.folder}/state\n  keys_dir: {self.folder}/keys\n"
        self.config.write_text(text.replace("gateway:\n", f"gateway:\n{folders}"), "utf-8")

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "gateway", "audit", "ship", "--config", str(self.config), *options]

    def ship(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
        )

    def events(self) -> Iterator[dict[str, object]]:
        for directory in files.log_directories(self.folder / "state" / "audit"):
            for start in files.segment_starts(directory):
                for line in files.read_lines(files.segment_path(directory, start)):
                    yield {**decode(line), "writer": directory.name}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    init_keys(tmp_path / "keys")
    ring = load_keys(tmp_path / "keys").checkpoint
    log = Journal(tmp_path / "state" / "audit" / "gateway", LOG_NAME, ring, segment_bytes=200_000)
    log.open()
    yield Node(tmp_path, log, tmp_path / "ecluse.yml")
    log.release()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Rsyslog:
    (tmp_path / "rsyslog").mkdir()
    return Rsyslog(tmp_path / "rsyslog", (authority.ca_file, *authority.leaf(HOST)))


def in_order(received: list[str], writer: str = "gateway") -> list[int]:
    """Return the entries of *writer* in the order of their first arrival."""
    found = re.findall(rf' event="{writer}:(\d+)"', "\n".join(received))
    return list(dict.fromkeys(map(int, found)))


def wait_for(collector: Rsyslog, count: int, within_s: float = 40) -> list[str]:
    """Wait until *count* entries of the gateway have arrived."""
    until = time.monotonic() + within_s
    while True:
        received = collector.received()
        if len(in_order(received)) >= count:
            return received
        assert time.monotonic() < until, f"{len(in_order(received))} of {count}"
        time.sleep(0.05)


def wait_for_metric(port: int, line: str, within_s: float = 40) -> str:
    """Wait until the shipping process shows *line* among its metrics."""
    until = time.monotonic() + within_s
    while True:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            told = answer.read().decode()
        if line in told.splitlines():
            return told
        assert time.monotonic() < until, told
        time.sleep(0.1)


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_arrives_as_it_was_made(
    node: Node, authority: Authority, secured: Rsyslog, form: str
) -> None:
    node.point(f"tls://{HOST}:{secured.port}", form, ca_file=authority.ca_file)
    node.write(20)
    node.log.commit([encode(hostile(), seq=20, salt=SALT)])
    node.log.checkpoint()
    with running(secured):
        shipped = node.ship("--once")
        assert shipped.returncode == 0, shipped.stderr
        observer = observer_of(load(node.config))
        expected = [text for event in node.events() for text in messages(event, FORMATS[form], observer)]
        assert len(expected) >= 21
        # A message of a thousand quotes is no line end: the frame's length says where each one ends.
        assert sorted(secured.received()) == sorted(expected)
    # What arrived is not sent again.
    if form != "syslog":
        return
    status = json.loads(node.ship("--status", "--json").stdout.splitlines()[0])
    assert status == {"writer": "gateway", "arrived": 21, "signed": 21, "backlog": 0}


def hostile() -> AuditEvent:
    return AuditEvent(
        EventKind.ACCESS,
        1_790_000_000_020,
        account='x"]\n<86>1 - - - - - - gotcha \x1b[31m\u202e| \\' + '"' * 1_000,
        app="démo",
        client="192.0.2.44",
        client_port=5,
        patients=(f"k1:{7:032x}",),
        opened=True,
    )


def test_stopped_killed_and_started_again_it_ends_with_everything_in_order(
    node: Node, authority: Authority, secured: Rsyslog
) -> None:
    node.point(f"tls://{HOST}:{secured.port}", ca_file=authority.ca_file)
    node.write(3_000)
    # The collector is down when shipping begins: the journal is the spool.
    with subprocess.Popen(node.command(), cwd=ROOT, stderr=subprocess.PIPE, text=True) as shipping:
        try:
            for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
                secured.start()
                wait_for(secured, len(in_order(secured.received())) + 500)
                secured.stop(how)
                node.write(2_000)
            # The shipping process is killed too, and another takes over.
            secured.start()
            wait_for(secured, len(in_order(secured.received())) + 300)
            shipping.kill()
            shipping.wait(10)
            node.write(500)
            metrics = free_port()
            with subprocess.Popen(node.command("--metrics-port", str(metrics)), cwd=ROOT) as second:
                wait_for(secured, 9_500)
                node.write(10)
                wait_for(secured, 9_510)
                told = wait_for_metric(metrics, 'ecluse_collector_backlog{writer="gateway"} 0.0')
                assert "ecluse_collector_sent_total{" in told
                second.send_signal(signal.SIGTERM)
                assert second.wait(40) == 0
        finally:
            shipping.kill()
            received = secured.received()
            secured.stop(signal.SIGKILL)
    assert in_order(received) == list(range(9_510))
    status = [json.loads(line) for line in node.ship("--status", "--json").stdout.splitlines()]
    assert status[0] == {"writer": "gateway", "arrived": 9_510, "signed": 9_510, "backlog": 0}
    # Both starts are in the log, and with it at the collector.
    assert len(in_order(received, "operator")) >= 2


def test_messages_that_only_the_collectors_system_has_are_sent_again(node: Node) -> None:
    """The last-writes problem: the system of a frozen collector takes everything, and the collector dies with it."""
    collector = in_clear(node)
    node.point(f"tcp://{HOST}:{collector.port}")
    node.write(50)
    collector.start()
    assert collector.process is not None
    collector.process.send_signal(signal.SIGSTOP)
    with subprocess.Popen(node.command(), cwd=ROOT, stderr=subprocess.DEVNULL) as shipping:
        try:
            # Longer than a turn: the shipper has ended the connection and waits for the other end.
            time.sleep(TURN_S + 4)
            collector.stop(signal.SIGKILL)
            assert collector.received() == []
            collector.start()
            wait_for(collector, 50)
        finally:
            shipping.terminate()
            shipping.wait(40)
            received = collector.received()
            collector.stop(signal.SIGKILL)
    assert in_order(received) == list(range(50))


def in_clear(node: Node) -> Rsyslog:
    folder = node.folder / "rsyslog"
    folder.mkdir()
    return Rsyslog(folder)


@pytest.mark.parametrize("wrong", ["another authority", "another name"])
def test_a_collector_that_is_not_ours_gets_nothing(node: Node, authority: Authority, wrong: str) -> None:
    folder = node.folder / "rsyslog"
    folder.mkdir()
    other = Authority(folder, "other")
    signer = other if wrong == "another authority" else authority
    name = HOST if wrong == "another authority" else "127.0.0.9"
    collector = Rsyslog(folder, (signer.ca_file, *signer.leaf(name)))
    node.point(f"tls://{HOST}:{collector.port}", ca_file=authority.ca_file)
    node.write(5)
    with running(collector):
        shipped = node.ship("--once")
        assert shipped.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in shipped.stderr
        assert collector.received() == []
    assert not list((node.folder / "state" / "collector").glob("*.cursor"))


def test_a_collector_that_asks_who_we_are_is_told(node: Node, authority: Authority) -> None:
    folder = node.folder / "rsyslog"
    folder.mkdir()
    collector = Rsyslog(folder, (authority.ca_file, *authority.leaf(HOST)), asks=True)
    certificate, key = authority.leaf("passerelle.chu.example")
    key.chmod(0o600)
    node.write(5)
    with running(collector):
        node.point(f"tls://{HOST}:{collector.port}", ca_file=authority.ca_file)
        assert node.ship("--once").returncode == 1
        assert collector.received() == []
        node.point(
            f"tls://{HOST}:{collector.port}", ca_file=authority.ca_file, certificate=certificate, key=key
        )
        shipped = node.ship("--once")
        assert shipped.returncode == 0, shipped.stderr
        assert in_order(collector.received()) == list(range(5))


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_in_clear_it_arrives_too_and_says_so(node: Node, scheme: str) -> None:
    collector = in_clear(node)
    node.point(f"{scheme}://{HOST}:{collector.port}")
    node.write(30)
    with running(collector):
        shipped = node.ship("--once")
        assert shipped.returncode == 0, shipped.stderr
        assert "collector_in_clear" in shipped.stderr
        assert in_order(wait_for(collector, 30)) == list(range(30))


def test_nothing_is_sent_without_a_record_and_twice_by_nobody(node: Node) -> None:
    with socket.create_server((HOST, 0)) as nobody:
        node.point(f"tcp://{HOST}:{nobody.getsockname()[1]}")
        node.write(1)
        first = subprocess.Popen(node.command(), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            nobody.settimeout(30)
            nobody.accept()[0].close()
            second = node.ship("--once")
            assert second.returncode == 2
            assert "another process ships this log" in second.stderr
        finally:
            first.kill()
            first.wait(10)
        (node.folder / "state" / "audit" / "operator" / "checkpoint").write_bytes(b"rubbish")
        refused = node.ship("--once")
        assert refused.returncode == 2
        assert "refused" in refused.stderr
