"""LemonLDAP::NG's handler from Debian, in a folder of its own: a session is put in place by hand.

Packages ``lemonldap-ng-handler`` and ``lemonldap-ng-fastcgi-server``. It refuses root, so its folder is given to
www-data; nothing under /var/lib is written.
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo.children import Child, ChildError
from loadtest.bench.edge_site import program, start_program, wait_for_socket

_USER = "www-data"
_SHIPPED = Path("/var/lib/lemonldap-ng/conf/lmConf-1.json")
_INI = """\
[all]
logLevel = warn
checkTime = 600
[configuration]
type = File
dirName = {folder}/conf
localStorage = Cache::FileCache
localStorageOptions = {{ 'namespace' => 'lemonldap-ng-config', 'default_expires_in' => 600, \
'directory_umask' => '007', 'cache_root' => '{folder}/cache', 'cache_depth' => 3 }}
[handler]
status = 0
useRedirectOnError = 1
"""


class NotHere(Exception):
    """The handler cannot run on this machine. The message says why."""


@dataclass
class Handler:
    """A running handler, and the one cookie it lets pass."""

    child: Child
    socket: Path
    cookie: str


@contextmanager
def handler(processes: int, host: str) -> Iterator[Handler]:
    """Run the handler with so many *processes* for the one virtual *host*.

    Raises:
        NotHere: it is not installed, its shipped configuration cannot be read, or it does not start.
    """
    server = program("llng-fastcgi-server")
    if server is None:
        raise NotHere("apt-get install lemonldap-ng-handler lemonldap-ng-fastcgi-server")
    try:
        shipped: dict[str, Any] = json.loads(_SHIPPED.read_text("utf-8"))
    except OSError as error:
        raise NotHere(f"{_SHIPPED}: {error.strerror}") from error
    folder = Path(tempfile.mkdtemp(prefix="ecluse-llng-"))
    child: Child | None = None
    try:
        cookie = _lay_out(folder, shipped, host)
        as_user = []
        if os.geteuid() == 0:
            as_user = ["-u", _USER, "-g", _USER]
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, _USER, _USER)
        where = folder / "handler.sock"
        command = [server, "--foreground", *as_user, "-s", str(where), "-p", str(folder / "pid")]
        environment = os.environ | {"LLNG_DEFAULTCONFFILE": str(folder / "lemonldap-ng.ini")}
        child = start_program("llng", [*command, "-n", str(processes)], folder, environment)
        try:
            wait_for_socket(child, where)
        except ChildError as error:
            raise NotHere(str(error)) from error
        yield Handler(child, where, cookie)
    finally:
        if child is not None:
            child.stop(6.0)
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _lay_out(folder: Path, shipped: dict[str, Any], host: str) -> str:
    for name in ("conf", "cache", "sessions", "sessions/lock"):
        (folder / name).mkdir()
    sessions = {"Directory": f"{folder}/sessions", "LockDirectory": f"{folder}/sessions/lock"}
    shipped["globalStorageOptions"] = shipped["globalStorageOptions"] | sessions
    shipped["localSessionStorageOptions"] = shipped["localSessionStorageOptions"] | {
        "cache_root": f"{folder}/cache"
    }
    shipped["locationRules"] = {host: {"default": "accept"}}
    shipped["exportedHeaders"] = {host: {"Auth-User": "$uid"}}
    (folder / "conf/lmConf-1.json").write_text(json.dumps(shipped))
    (folder / "lemonldap-ng.ini").write_text(_INI.format(folder=folder))
    name, now_s = secrets.token_hex(32), int(time.time())  # noqa: TID251 - the handler goes by the machine's clock
    held = {
        "_session_id": name, "_session_kind": "SSO", "_utime": now_s, "_lastSeen": now_s, "uid": "dwho",
        "_user": "dwho", "_whatToTrace": "dwho", "ipAddr": "127.0.0.1", "authenticationLevel": 2,
    }  # fmt: skip
    (folder / "sessions" / name).write_text(json.dumps(held))
    return f"{shipped['cookieName']}={name}"
