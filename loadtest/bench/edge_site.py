"""The stage of the edge's comparison: app, inspector, check and certificate, and somebody who is logged in."""

import asyncio
import datetime
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyotp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.configuration import load
from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, ChildError, free_port, start, wait_until_listening
from gateway.demo.client import Client, log_in
from gateway.demo.configuration import write_configuration
from gateway.demo.people import Professional
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from gateway.edge.front import Site
from gateway.processes import bound_to_us
from loadtest.overhead import PEOPLE

A_WARD = tuple(
    Professional(f"poste.{number:02}", "Sas&Bajoyer-3", f"Poste {number}", "soignant", "standard", False)
    for number in range(32)
)
"""As many people as there are connections: of each there is one."""
PAGE = (
    b'{"titre":"Accueil","services":["cardiologie","geriatrie","urgences"],"messages":0,"suite":"/annuaire"}'
)
"""What the app answers at ``/``, a page that names nobody."""
NGINX_HEAD = (
    "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nworker_processes 1;\n"
    "events {{ worker_connections 1024; }}\n"
)
_SECRET = "5e2f" * 10
_DAY = datetime.timedelta(days=1)


@dataclass
class Stage:
    """What every front proxy is set before. *app_port* is nginx: it answers the page itself."""

    folder: Path
    app_port: int
    site: Site
    edge: Child
    certificate: Path
    key: Path

    def tls(self) -> ssl.SSLContext:
        """Return what trusts the one certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))


def raise_stage(folder: Path, children: list[Child], processes: int) -> Stage:
    """Start app, inspector and a check of so many *processes*; whatever was started is added to *children*."""
    certificate, key = make_certificate(folder)
    behind, app_port, port = free_port(), free_port(), free_port()
    upstream = start("the upstream", ["-m", "loadtest.upstream", str(behind)], folder / "up.log")
    children.append(upstream)
    children.append(start_nginx(folder / "app", _app(app_port, behind), app_port))
    init_keys(folder / "keys")
    config = write_configuration(folder, port, app_port, unbounded=True)
    secret = folder / "edge.secret"
    secret.write_text(_SECRET)
    secret.chmod(0o600)
    edge_port = free_port()
    words = (
        "  trusted_proxies: [127.0.0.1/32]\n"
        f"  edge:\n    socket: {folder}/edge.sock\n    port: {edge_port}\n    processes: {processes}\n"
        f"    secret_file: {secret}\n"
        f"    front: {{certificate: {certificate}, key: {key}, address: 127.0.0.1, "
        f"https_port: {free_port()}, http_port: {free_port()}}}\n"
    )
    config.write_text(config.read_text("utf-8").replace("  drain_s: 2\n", "  drain_s: 2\n" + words), "utf-8")
    wait_until_listening(upstream, behind)
    gateway = start_gateway(folder, config)
    children.append(gateway)
    wait_until_listening(gateway, port)
    edge = start(
        "the check", ["-m", "gateway", "edge", "serve", "--config", str(config)], folder / "edge.log"
    )
    children.append(edge)
    wait_until_listening(edge, edge_port)
    wait_until_said(edge, "edge_ready", processes)
    return Stage(folder, app_port, Site.of(load(config)), edge, certificate, key)


def wait_until_said(child: Child, word: str, times: int, within_s: float = 60.0) -> None:
    """Return once *child* has printed *word* so many times.

    Raises:
        ChildError: it ended, or did not within *within_s* seconds.
    """
    # Its socket takes connections before its processes answer them.
    end_s = time.monotonic() + within_s
    while child.log.read_text("utf-8", "replace").count(word) < times:
        if not child.running() or time.monotonic() > end_s:
            raise ChildError(f"{child.name} is not ready. It said:\n{child.last_words()}")
        time.sleep(0.05)


def cookies_of(stage: Stage, port: int, people: tuple[Professional, ...] = PEOPLE) -> list[str]:
    """Log *people* in through the front proxy on *port*; return the Cookie header of each."""
    secrets, _ = asyncio.run(enrol_people(stage.folder / "ecluse.yaml", people))
    return asyncio.run(_enter(stage, port, people, secrets))


async def _enter(
    stage: Stage, port: int, people: tuple[Professional, ...], secrets: dict[str, str]
) -> list[str]:
    found = []
    for person in people:
        client = Client(port, tls=stage.tls())
        shown = await log_in(client, person.login, person.password, pyotp.TOTP(secrets[person.login]).now())
        answer = await client.request("GET", "/", (("Accept", "application/json"),))
        stranger = Client(port, tls=stage.tls())
        turned_away = await stranger.request("GET", "/", (("Accept", "application/json"),))
        await client.close()
        await stranger.close()
        if answer.body != PAGE or turned_away.status != 401:
            ways = " ".join(f"{method} {target} {got.status}," for method, target, got in client.seen)
            raise ChildError(
                f"the edge answered {answer.status}, and {turned_away.status} to a stranger, after: {ways} "
                f"{shown.text[:400]}"
            )
        found.append("; ".join(f"{name}={value}" for name, value in client.cookies.items()))
    return found


def head(port: int, cookie: str | None) -> str:
    """Return the request head that every side is asked with."""
    lines = ["GET / HTTP/1.1", f"Host: localhost:{port}", "Accept: application/json"]
    return "\r\n".join([*lines, *([f"Cookie: {cookie}"] if cookie else []), "", ""])


def start_nginx(folder: Path, http: str, port: int | None = None) -> Child:
    """Start an nginx of one worker with the *http* block given; return once it listens on *port*."""
    folder.mkdir(exist_ok=True)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        NGINX_HEAD.format(folder=folder)
        + f"http {{\naccess_log off;\nkeepalive_requests 10000000;\n{places}{http}}}\n"
    )
    command = [_program("nginx"), "-p", str(folder), "-e", str(folder / "error.log")]
    child = start_program("nginx", [*command, "-c", str(folder / "nginx.conf")], folder)
    if port is not None:
        wait_until_listening(child, port)
    return child


def start_program(
    name: str, command: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> Child:
    """Start a program of others in *folder*; it ends with us."""
    log = folder / "out.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
            env=environment, start_new_session=True, preexec_fn=bound_to_us(),  # noqa: PLW1509
        )  # fmt: skip
    return Child(name, process, log)


def program(name: str) -> str | None:
    """Return where the program *name* is: beside this Python, or on the path; None when it is not installed."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def wait_for_socket(child: Child, path: Path, within_s: float = 30.0) -> None:
    """Return once somebody listens on the unix socket *path*.

    Raises:
        ChildError: nobody did within *within_s* seconds.
    """
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s and child.running():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise ChildError(f"{child.name} does not listen. It said:\n{child.last_words()}")


def _program(name: str) -> str:
    found = program(name)
    if found is None:
        raise ChildError(f"{name} is not installed")
    return found


def _app(port: int, behind: int) -> str:
    return f"""\
default_type application/json;
upstream behind {{ server 127.0.0.1:{behind}; keepalive 32; }}
server {{
    listen 127.0.0.1:{port};
    location = / {{ return 200 '{PAGE.decode()}'; }}
    location / {{
        proxy_pass http://behind;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
    }}
}}
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return where a certificate for localhost, good for a day, and its key were written."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - a certificate is valid at the machine's time
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(secret.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + _DAY)
        .add_extension(names, critical=False).sign(secret, hashes.SHA256())
    )  # fmt: skip
    certificate, key = folder / "front.crt", folder / "front.key"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(secret.private_bytes(*form))
    key.chmod(0o600)
    return certificate, key
