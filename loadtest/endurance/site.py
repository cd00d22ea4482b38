"""Real gateways for the runs: each with a store, a log and people of its own, all before one app."""

import asyncio
import os
import resource
import signal
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gateway.configuration.keys import init_keys, load_keys
from gateway.configuration.load import load
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.evidence import Access, Comparison, audited, compare, pseudonym, served
from gateway.demo.people import Professional
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from gateway.edge.front import WRITERS
from gateway.edge.front import Site as FrontSite
from loadtest.bench.edge_site import make_certificate, start_nginx, wait_for_socket, wait_until_said
from loadtest.endurance import content
from loadtest.endurance.app import password_of

FILES = 16_384
_STOP_S = 40.0
_DRAIN = "  drain_s: 2\n"
_CONTACT = "assistance@exemple.example"


@dataclass
class Site:
    """A gateway that runs. *port* is the one people use; *tls* is set where nginx stands in front."""

    name: str
    folder: Path
    config: Path
    port: int
    gateway: Child
    tls: ssl.SSLContext | None = None
    edge: Child | None = None
    children: list[Child] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """Return how a browser names it."""
        return f"{'http' if self.tls is None else 'https'}://localhost:{self.port}"

    def pids(self) -> list[int]:
        """Return the processes whose families are the gateway's."""
        return [child.process.pid for child in (self.gateway, self.edge) if child is not None]

    def fallen(self) -> str | None:
        """Return the last words of a process that ended although nobody asked it to."""
        for child in self.children:
            if not child.running():
                return f"{child.name} ended: {child.last_words()}"
        return None

    async def types(self, *words: str) -> tuple[int, str]:
        """Type ``ecluse`` and *words*; return the exit code and what was printed."""
        command = (sys.executable, "-m", "gateway", *words, "--config", str(self.config))
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode("utf-8", "replace").strip()

    def change_and_reload(self, times: int) -> None:
        """Edit the configuration, whole or not at all, and have every process read it again."""
        text = self.config.read_text("utf-8")
        before, after = (f"{_CONTACT}.{times - 1}", f"{_CONTACT}.{times}")
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text.replace(before if before in text else _CONTACT, after), "utf-8")
        fresh.replace(self.config)
        for pid in self.pids():
            os.kill(pid, signal.SIGHUP)

    def compared(self, received: dict[str, list[tuple[int, ...]]]) -> Comparison:
        """Compare what people *received*, by login, with the log; what only given-up requests asked for is left out."""
        ring = load_keys(self.folder / "keys").pseudonyms
        left_out = {pseudonym(ring, content.SYSTEM, one) for one in content.RESERVED}
        theirs: list[Access] = []
        for login, exchanges in received.items():
            theirs += served(ring, content.SYSTEM, login, exchanges)
        ours = [access for access in audited(self.folder / "audit") if not left_out.intersection(access[1])]
        return compare(theirs, ours)

    def stop(self) -> list[str]:
        """Stop every process, those in front first; return what they should not have said, or how they ended."""
        faults = []
        for child in reversed(self.children):
            child.stop(_STOP_S)
            text = child.log.read_text("utf-8", "replace")
            faults += [f"{self.name}: {line[:400]}" for line in text.splitlines() if _is_fault(line)]
            if child in {self.gateway, self.edge} and child.process.returncode:
                faults.append(f"{self.name}: {child.name} left with {child.process.returncode}")
        self.children.clear()
        return faults


def _is_fault(line: str) -> bool:
    return any(
        word in line for word in ("hook_failed", "mitmproxy fault", "addon fault", "Traceback", "_ended")
    )


def allow_files(needed: int = FILES) -> None:
    """Let this process, and those it begins, hold so many files open.

    Raises:
        OSError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(
            f"{needed} open files are needed, the hard limit is {hard}: raise it with `ulimit -Hn {needed}`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def raise_app(folder: Path, children: list[Child]) -> int:
    """Start the app, add it to *children* and return its port."""
    port = free_port()
    app = start("the app", ["-m", "loadtest.endurance.app", str(port)], folder / "app.log")
    children.append(app)
    wait_until_listening(app, port)
    return port


def raise_site(
    name: str, folder: Path, app_port: int, logins: list[str], *, workers: int | None, with_edge: bool = False
) -> Site:
    """Start a gateway of so many *workers* (None: without a supervisor) and enrol *logins*.

    *with_edge*: also the check, and nginx before both, as ``ecluse edge config nginx`` writes it.
    """
    folder.mkdir(mode=0o700)
    port = free_port()
    config = write_configuration(folder, port, app_port, unbounded=True)
    ours = (Path(__file__).parent / "parcours.yaml").read_text("utf-8")
    (folder / "parcours.yaml").write_text(ours.replace("@UPSTREAM_PORT@", str(app_port)), "utf-8")
    init_keys(folder / "keys")
    if with_edge:
        _write_front(folder, config)
    gateway = start_gateway(folder, config, workers=workers)
    site = Site(name, folder, config, port, gateway, children=[gateway])
    try:
        wait_until_listening(gateway, port)
        people = tuple(
            Professional(login, password_of(login), login, "", "standard", False) for login in logins
        )
        site.secrets, _ = asyncio.run(enrol_people(config, people))
        if with_edge:
            _raise_front(site)
    except BaseException:
        site.stop()
        raise
    return site


def _write_front(folder: Path, config: Path) -> None:
    certificate, key = make_certificate(folder)
    secret = folder / "edge.secret"
    secret.write_text("5e2f" * 16)
    secret.chmod(0o600)
    words = (
        "  trusted_proxies: [127.0.0.1/32]\n"
        f"  edge:\n    socket: {folder}/edge.sock\n    processes: 1\n    secret_file: {secret}\n"
        f"    front: {{certificate: {certificate}, key: {key}, address: 127.0.0.1, "
        f"https_port: {free_port()}, http_port: {free_port()}}}\n"
    )
    config.write_text(config.read_text("utf-8").replace(_DRAIN, _DRAIN + words), "utf-8")


def _raise_front(site: Site) -> None:
    words = ["-m", "gateway", "edge", "serve", "--config", str(site.config)]
    site.edge = start("the check", words, site.folder / "edge.log")
    site.children.append(site.edge)
    wait_for_socket(site.edge, site.folder / "edge.sock")
    wait_until_said(site.edge, "edge_ready", 1)
    front = FrontSite.of(load(site.config))
    written = WRITERS["nginx"](front)["ecluse.conf"]
    site.port = front.front.https_port
    site.children.append(start_nginx(site.folder / "nginx", written, site.port))
    site.tls = ssl.create_default_context(cafile=str(site.folder / "front.crt"))
