"""From the words about the edge to settings; the secret's file is looked at, the front proxy's files are not ours."""

from collections.abc import Iterator
from pathlib import Path

from gateway.configuration import files
from gateway.configuration.faults import Location, Problem
from gateway.configuration.schema import GatewaySpec
from gateway.configuration.schema_edge import EdgeSpec
from gateway.configuration.settings import EdgeSettings, FrontSettings

LEAST_SECRET = 32
"""Characters of a secret that nobody guesses, such as those of `openssl rand -hex 32`."""


def check_edge(gateway: GatewaySpec) -> Iterator[Problem]:
    """Yield the faults of what is said about the edge. Pure."""
    edge = gateway.edge
    if edge is None:
        return
    at: Location = ("gateway", "edge")
    if edge.socket is None and edge.port is None:
        yield Problem(at, "the check listens nowhere", "write socket, or port and secret_file")
    if edge.port is not None and edge.secret_file is None:
        yield Problem(
            (*at, "port"),
            "whoever reaches this port would be believed",
            "write secret_file, or use socket alone",
        )
    if edge.group is not None and edge.socket is None:
        yield Problem((*at, "group"), "only a socket has a group", "take it out, or write socket")
    taken = {gateway.listen.port, gateway.metrics.port if gateway.metrics else None} - {0, None}
    if edge.port in taken:
        yield Problem((*at, "port"), "this port is the gateway's own", "choose another")
    if edge.metrics is not None and edge.metrics.port in taken | {edge.port}:
        yield Problem((*at, "metrics", "port"), "this port is taken already", "choose another")
    if edge.front is not None and gateway.listen.tls is not None:
        yield Problem(
            (*at, "front"), "the front proxy keeps the certificate", "take gateway.listen.tls out, or front"
        )
    if edge.front is not None and not gateway.trusted_proxies:
        yield Problem(
            (*at, "front"),
            "the inspector would take everybody for the front proxy",
            "name its address under gateway.trusted_proxies, such as 127.0.0.1/32",
        )
    if edge.front is not None and edge.front.https_port == edge.front.http_port:
        yield Problem((*at, "front", "http_port"), "this is https_port already", "choose another")


def settle_edge(spec: EdgeSpec | None, folder: Path, found: list[Problem]) -> EdgeSettings | None:
    """Return the settings of *spec*; paths are from *folder*, faults of files go to *found*."""
    if spec is None:
        return None
    at: Location = ("gateway", "edge", "secret_file")
    secret = files.secret(folder, spec.secret_file, at, found)
    if secret is not None and (len(secret) < LEAST_SECRET or not secret.isascii() or not secret.isalnum()):
        found.append(
            Problem(
                at,
                f"the secret is not {LEAST_SECRET} letters and digits or more",
                "make it with: openssl rand -hex 32",
            )
        )
    front = spec.front
    return EdgeSettings(
        socket=(folder / spec.socket).absolute() if spec.socket is not None else None,
        group=spec.group,
        address=spec.address,
        port=spec.port,
        secret=secret,
        processes=spec.processes,
        beside=spec.beside == "on",
        metrics_address=spec.metrics.address if spec.metrics is not None else "127.0.0.1",
        metrics_port=spec.metrics.port if spec.metrics is not None else None,
        front=FrontSettings(
            certificate=(folder / front.certificate).absolute(),
            key=(folder / front.key).absolute(),
            address=front.address,
            https_port=front.https_port,
            http_port=front.http_port,
        )
        if front is not None
        else None,
    )
