"""The samples under config/, as an operator puts them in front of the gateway: nginx, HAProxy, systemd."""

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway import telemetry
from gateway.cli.reloading import is_ready
from tests.attacks.harness import Authority
from tests.people import DR_MARTIN
from tests.stand import HOST, Browser, Stand, form_token, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES = Path(__file__).parents[2] / "config"
SPOOFED = "203.0.113.66"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def edited(sample: str, *changes: tuple[str, str]) -> str:
    """Return the sample with what names the site replaced; every change must find its place."""
    text = (SAMPLES / sample).read_text("utf-8")
    for pattern, new in changes:
        text, times = re.subn(pattern, lambda _, new=new: new, text)  # type: ignore[misc]
        assert times, pattern
    return text


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy that listens, and the gateway behind it."""

    gate: Stand
    authority: Authority
    tls_port: int
    plain_port: int

    def browser(self) -> Browser:
        browser = Browser(self.tls_port)
        browser.tls = self.authority.client()
        self.gate.browsers.append(browser)
        return browser


@dataclass(frozen=True, slots=True)
class Site:
    """What a sample is edited to: files, ports."""

    folder: Path
    authority: Authority
    tls_port: int
    plain_port: int
    gateway_port: int
    metrics_port: int


def _behind_a_proxy(config: dict[str, Any]) -> None:
    config["gateway"]["trusted_proxies"] = ["127.0.0.1/32"]


@asynccontextmanager
async def fronted(folder: Path, command: Callable[[Site], list[str]]) -> AsyncIterator[Front]:
    """Run a gateway, its listener for probes, and in front of them the program of *command*."""
    async with stand(folder, changes=_behind_a_proxy) as gate:
        probes = await telemetry.serve_metrics("127.0.0.1", 0, lambda: is_ready(gate.services))
        authority = Authority(folder)
        site = Site(
            folder, authority, free_port(), free_port(), gate.port, probes.sockets[0].getsockname()[1]
        )
        process = await asyncio.create_subprocess_exec(*command(site), stderr=asyncio.subprocess.PIPE)
        try:
            await _until_it_serves(site, process)
            yield Front(gate, authority, site.tls_port, site.plain_port)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
            probes.close()


async def _until_it_serves(site: Site, process: asyncio.subprocess.Process) -> None:
    until = time.monotonic() + 10
    while True:
        browser = Browser(site.tls_port)
        browser.tls = site.authority.client()
        try:
            # HAProxy answers 503 by itself until its first probe of the gateway was answered.
            if (await browser.get("/static/app.css")).status == 200:
                return
        except (OSError, asyncio.IncompleteReadError):
            if process.returncode is not None:
                assert process.stderr is not None
                raise AssertionError((await process.stderr.read()).decode()) from None
        finally:
            await browser.close()
        assert time.monotonic() < until, "the proxy does not serve"
        await asyncio.sleep(0.05)


def nginx(site: Site) -> list[str]:
    """Write the sample for *site* and return the command that runs it."""
    certificate, key = site.authority.leaf(HOST)
    sample = edited(
        "nginx/ecluse.conf",
        (r"\n +listen \[::\]:[^\n]*", ""),
        (r"\b443\b", f"127.0.0.1:{site.tls_port}"),
        (r"listen 80;", f"listen 127.0.0.1:{site.plain_port};"),
        (r"127\.0\.0\.1:8443", f"127.0.0.1:{site.gateway_port}"),
        (r"parcours\.grades\.example", HOST),
        (r"/etc/ecluse/tls/fullchain\.pem", str(certificate)),
        (r"/etc/ecluse/tls/privkey\.pem", str(key)),
    )
    places = "".join(
        f"{name}_temp_path {site.folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"daemon off;\nmaster_process off;\npid {site.folder}/nginx.pid;\nevents {{}}\n"
    path = site.folder / "nginx.conf"
    path.write_text(f"{around}http {{\naccess_log off;\n{places}{sample}\n}}\n", "utf-8")
    return ["nginx", "-p", str(site.folder), "-e", str(site.folder / "error.log"), "-c", str(path)]


def haproxy(site: Site) -> list[str]:
    """Write the sample for *site*, have HAProxy check it, and return the command that runs it."""
    certificate, key = site.authority.leaf(HOST)
    pair = site.folder / "tls"
    pair.mkdir()
    (pair / "site.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    path = site.folder / "haproxy.cfg"
    path.write_text(
        edited(
            "haproxy/ecluse.cfg",
            (r"bind :443 ", f"bind 127.0.0.1:{site.tls_port} "),
            (r"bind :80\b", f"bind 127.0.0.1:{site.plain_port}"),
            (r"/etc/ecluse/tls/", f"{pair}/"),
            (r"127\.0\.0\.1:8443", f"127.0.0.1:{site.gateway_port}"),
            (r"check port 9464", f"check inter 100ms port {site.metrics_port}"),
        ),
        "utf-8",
    )
    checked = subprocess.run(["haproxy", "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[WARNING]" not in checked.stderr, checked.stderr
    return ["haproxy", "-db", "-f", str(path)]


PROXIES = [
    pytest.param(nginx, marks=pytest.mark.nginx, id="nginx"),
    pytest.param(haproxy, marks=pytest.mark.haproxy, id="haproxy"),
]


@pytest_asyncio.fixture(params=PROXIES, scope="module", loop_scope="module")
async def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    if shutil.which(request.param.__name__) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    async with fronted(tmp_path_factory.mktemp(request.param.__name__), request.param) as running:
        yield running


async def test_a_sample_leads_people_through_and_believes_nothing_they_claim(front: Front) -> None:
    gate, browser = front.gate, front.browser()
    await gate.enrol(DR_MARTIN)
    await browser.get("/login", X_Forwarded_For=SPOOFED, Forwarded=f"for={SPOOFED}")
    seen = gate.app.seen[-1]
    assert SPOOFED not in str(seen.headers)
    assert (seen.header("x-forwarded-proto"), seen.header("x-forwarded-for")) == ("https", "127.0.0.1")
    assert (seen.header("host") or "").partition(":")[0] == HOST
    got = await browser.post("/login", {"user": DR_MARTIN.login, "password": DR_MARTIN.password})
    assert (got.status, got.header("location")) == (303, "/.ecluse/code")
    before = len(gate.app.bytes)
    assert (await browser.get("/dossiers/1001")).header("location") == "/.ecluse/code"
    assert len(gate.app.bytes) == before
    page = await browser.get("/.ecluse/code")
    got = await browser.post("/.ecluse/code", {"code": gate.code(DR_MARTIN), "token": form_token(page)})
    assert got.status == 303, got.text[:500]
    record = await browser.get("/dossiers/1001", X_Forwarded_For=SPOOFED)
    assert "Patient1001" in record.text
    assert record.header("strict-transport-security") == "max-age=31536000"
    access = (await gate.events("access"))[-1]
    assert (access["account"], access["client"]) == (DR_MARTIN.login, "127.0.0.1")


@pytest.mark.parametrize(
    "target", ["//dossiers/1001", "/dossiers//1001", "/static/../dossiers/1001", "/static/..%2fdossiers/1001"]
)
async def test_a_sample_hands_the_address_on_as_it_was_sent(front: Front, target: str) -> None:
    """A proxy that merges or decodes would judge another address than the gateway does."""
    before = len(front.gate.app.bytes)
    assert (await front.browser().get(target)).status == 400
    assert len(front.gate.app.bytes) == before


async def test_a_sample_answers_its_own_name_by_tls_alone(front: Front) -> None:
    plain = Browser(front.plain_port)
    front.gate.browsers.append(plain)
    got = await plain.get("/dossiers/1001?x=1")
    assert (got.status, got.header("location")) == (308, f"https://{HOST}/dossiers/1001?x=1")
    strangers = front.authority.client()
    strangers.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(
            "127.0.0.1", front.tls_port, ssl=strangers, server_hostname="autre.example"
        )


ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["ecluse", "ecluse-edge"])
async def test_a_unit_is_understood_and_shut_in(tmp_path: Path, name: str) -> None:
    """systemd says nothing of it, and finds it little exposed: 2.0 of 10 at most."""
    unit = tmp_path / f"{name}.service"
    program = shutil.which("true")
    unit.write_text(edited(f"systemd/{name}.service", (r"/opt/ecluse/bin/ecluse", program or "")), "utf-8")

    async def analysed(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(ANALYZE or "", *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    assert await analysed("verify", str(unit)) == (0, "")
    code, said = await analysed("security", "--offline=true", "--threshold=20", str(unit))
    assert code == 0, said
    unit.write_text(unit.read_text("utf-8").replace("ProtectHome=yes", "ProtectHomes=yes"), "utf-8")
    assert (await analysed("verify", str(unit)))[1] != ""
