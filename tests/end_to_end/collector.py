"""Debian's rsyslog as a collector that a test may stop, kill and start again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
# "Direct": a message is written to the file before the next is read, so that what was read outlives kill -9.
_CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k" {tls_files})
main_queue(queue.type="Direct")
module(load="imtcp" {tls})
module(load="imudp")
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="kept" queue.type="Direct") {{ action(type="omfile" file="{file}" template="raw" asyncWriting="off") }}
input(type="imtcp" address="{host}" port="{port}" ruleset="kept")
input(type="imudp" address="{host}" port="{port}" ruleset="kept")
"""


class Rsyslog:
    """One rsyslogd on *port*, with the files of *folder*. *tls* is (authority, certificate, key) or None."""

    def __init__(
        self, folder: Path, tls: tuple[Path, Path, Path] | None = None, *, asks: bool = False
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "received.log"
        tls_files = mode = ""
        if tls is not None:
            names = ("CAFile", "CertFile", "KeyFile")
            tls_files = " ".join(
                f'DefaultNetstreamDriver{name}="{path}"' for name, path in zip(names, tls, strict=True)
            )
            who = "x509/certvalid" if asks else "anon"
            mode = f'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="{who}"'
        text = _CONFIG.format(
            folder=folder, tls_files=tls_files, tls=mode, file=self.file, host=HOST, port=self.port
        )
        self._config = folder / "rsyslog.conf"
        self._config.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = ["/usr/sbin/rsyslogd", "-n", "-f", str(self._config), "-i", str(self.folder / "pid")]
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=errors, stderr=errors)
        until = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "stderr").read_text()
            assert time.monotonic() < until, "rsyslog does not listen"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default in order."""
        if self.process is not None:
            os.kill(self.process.pid, how)
            self.process.wait(30)
            self.process = None

    def received(self) -> list[str]:
        """Return the messages it has written, whole lines only."""
        if not self.file.exists():
            return []
        whole, _, _ = self.file.read_text("utf-8").rpartition("\n")
        return whole.split("\n") if whole else []


@contextmanager
def running(collector: Rsyslog) -> Iterator[Rsyslog]:
    """Run *collector* for a while."""
    collector.start()
    try:
        yield collector
    finally:
        collector.stop(signal.SIGKILL)


def free_port() -> int:
    """Return a port of the loopback that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
