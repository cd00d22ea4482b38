"""``ecluse witness``: cosign the logs of neighbours, so that none of them rewrites its past unseen."""

import asyncio
import hashlib
import json
import secrets
import signal
import ssl
from pathlib import Path

import click
from tornado.netutil import bind_sockets

from gateway import telemetry
from gateway.audit import files
from gateway.audit.checkpoint import CheckpointRefused, parse
from gateway.audit.cosignature import with_lines
from gateway.audit.files import LogDamaged
from gateway.audit.witness import MAX_REQUEST_BYTES, Refused, RequestRefused, load_request
from gateway.audit.witness_server import make_server
from gateway.audit.witness_store import LOGS, WitnessStore, WitnessUnusable, init_witness
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, fail, json_option
from gateway.clock import SystemClock

_PORT = 8447


def _dir_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--dir",
        "directory",
        required=True,
        envvar="ECLUSE_WITNESS_DIR",
        show_envvar=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the witness: its key, the logs it knows, and their last states.",
    )(command)


@click.group(epilog="Example:  ecluse witness init --dir /var/lib/ecluse-witness --name region.example/w1")
def witness() -> None:
    """Cosign the logs of neighbours, so that none of them rewrites its past unseen."""


@witness.command(
    epilog="Example:  ecluse witness init --dir /var/lib/ecluse-witness --name region.example/w1"
)
@_dir_option
@click.option("--name", required=True, help="Name of the witness, like an address without scheme.")
@json_option
def init(directory: Path, name: str, as_json: bool) -> int:
    """Make the folder and key of a witness; print the verifier key that the logs' operators configure."""
    try:
        secret = init_witness(directory, name, secrets.token_bytes)
    except WitnessUnusable as error:
        fail(str(error), EXIT_FAULT)
    if as_json:
        click.echo(json.dumps({"directory": str(directory), "verifier_key": secret.public.text()}))
    else:
        click.echo(secret.public.text())
        click.echo(f"Now name the logs it cosigns in {directory / LOGS}.", err=True)
    return EXIT_DONE


@witness.command(epilog="Example:  ecluse witness show --dir /var/lib/ecluse-witness --json")
@_dir_option
@json_option
def show(directory: Path, as_json: bool) -> int:
    """Show the verifier key, and the last size cosigned of each log."""
    store = _open(directory)
    try:
        sizes = {origin: _size(store, origin) for origin in store.logs()}
    except (OSError, CheckpointRefused) as error:
        fail(f"{directory}: {error}", EXIT_FAULT)
    key = store.secret.public.text()
    if as_json:
        click.echo(json.dumps({"verifier_key": key, "logs": sizes}))
        return EXIT_DONE
    click.echo(key)
    for origin, size in sizes.items():
        click.echo(f"{origin}  {size if size is not None else 'never cosigned'}")
    return EXIT_DONE


@witness.command(epilog="Example:  ecluse witness serve --dir /var/lib/ecluse-witness --port 8447")
@_dir_option
@click.option("--address", default="127.0.0.1", show_default=True, help="IP address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=_PORT,
    show_default=True,
    help="0 lets the system choose.",
)
@click.option(
    "--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file, for TLS."
)
@click.option(
    "--certificate-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of its private key.",
)
def serve(
    directory: Path, address: str, port: int, certificate: Path | None, certificate_key: Path | None
) -> int:
    """Answer logs over HTTP until SIGTERM: C2SP tlog-witness. Without a certificate, stand behind a proxy."""
    telemetry.configure()
    store = _open(directory)
    if (certificate is None) != (certificate_key is None):
        raise click.UsageError("--certificate and --certificate-key belong together.")
    tls = None
    if certificate is not None and certificate_key is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            tls.load_cert_chain(certificate, certificate_key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError):
            fail(
                f"{certificate} and {certificate_key} are no pair of PEM certificate and unencrypted key",
                EXIT_FAULT,
            )
    try:
        asyncio.run(_serve(store, address, port, tls))
    except OSError as error:
        fail(f"the witness cannot listen on {address}:{port}: {error.strerror}", EXIT_FAULT)
    return EXIT_DONE


@witness.command(
    epilog="Example:  ecluse witness cosign gateway.add-checkpoint -o gateway.cosigned --dir /srv/witness"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The cosigned checkpoint, to be handed back.",
)
@_dir_option
@json_option
def cosign(file: Path, output: Path, directory: Path, as_json: bool) -> int:
    """Cosign the checkpoint in FILE that came from a closed network. 1 when it does not continue what was seen."""
    store = _open(directory)
    try:
        with file.open("rb") as opened:
            request = load_request(opened.read(MAX_REQUEST_BYTES + 1))
        found = store.add_checkpoint(request, SystemClock().now_ms() // 1_000)
        if not isinstance(found, Refused):
            files.replace_durably(output, with_lines(request.note, [found.rstrip("\n")]))
    except RequestRefused as error:
        fail(f"{file}: {error}", EXIT_FAULT)
    except (WitnessUnusable, LogDamaged, OSError) as error:
        fail(str(error), EXIT_FAULT)
    if isinstance(found, Refused):
        what = found.text
        if found.size is not None:
            what = f"this witness has seen {found.size} entries: export again with --since {found.size}"
        if as_json:
            click.echo(json.dumps({"cosigned": False, "status": found.status, "what": what}))
        else:
            click.echo(f"refused: {what}")
        return EXIT_FAULT if found.status == 400 else EXIT_REFUSED
    signed = parse(request.note)
    told = {"cosigned": True, "origin": signed.origin, "size": signed.size, "file": str(output)}
    click.echo(json.dumps(told) if as_json else f"{output}: {signed.origin}, {signed.size} entries")
    return EXIT_DONE


def _open(directory: Path) -> WitnessStore:
    try:
        return WitnessStore(directory)
    except WitnessUnusable as error:
        fail(str(error), EXIT_FAULT)


def _size(store: WitnessStore, origin: str) -> int | None:
    note = store.kept(hashlib.sha256(origin.encode()).hexdigest())
    return parse(note).size if note is not None else None


async def _serve(store: WitnessStore, address: str, port: int, tls: ssl.SSLContext | None) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = make_server(store, SystemClock(), tls=tls)
    sockets = bind_sockets(port, address)
    server.add_sockets(sockets)
    telemetry.log().info(
        "witness_ready", address=address, port=sockets[0].getsockname()[1], name=store.secret.name
    )
    await stop.wait()
    server.stop()
    await server.close_all_connections()
