"""The places of all workers: taken by the supervisor, listened on once a worker can serve."""

import contextlib
import grp
import ipaddress
import os
import socket
import stat
from pathlib import Path

_SOCKET_MODE = 0o660


class PortTaken(OSError):
    """A place to listen cannot be had. The message names it and the system's reason."""


def take(address: str, port: int) -> socket.socket:
    """Return a socket bound to *address* and *port* (0: any), not yet listening: nobody is let wait for nothing.

    Raises:
        PortTaken: another process has it, or the address is not this machine's.
    """
    is_v6 = ipaddress.ip_address(address).version == 6
    # Named, so that asyncio knows it for TCP and lets small answers leave at once.
    taken = socket.socket(
        socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind((address, port))
    except OSError as error:
        taken.close()
        raise PortTaken(f"listener {address}:{port}: {error.strerror}") from None
    return taken


def take_path(path: Path, group: str | None) -> socket.socket:
    """Return a unix socket bound to *path*, not yet listening, for the members of *group* alone.

    Raises:
        PortTaken: somebody listens there, something else stands there, or there is no such group.
    """
    # One that a killed process left behind answers nobody; anything else is not ours to remove.
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        gid = -1 if group is None else grp.getgrnam(group).gr_gid
        taken.bind(str(path))
        # Nobody may connect before the group is set.
        path.chmod(0o600)
        os.chown(path, -1, gid)
        path.chmod(_SOCKET_MODE)
    except (OSError, LookupError) as error:
        taken.close()
        why = error.strerror if isinstance(error, OSError) else f"there is no group {group}"
        raise PortTaken(f"listener {path}: {why}") from None
    return taken


class Places:
    """What a door is reached by: *address* and *port* unless *port* is None, *path* for *group* unless that is.

    Raises:
        PortTaken: one of them cannot be had; then none is.
    """

    def __init__(self, address: str, port: int | None, path: str | None, group: str | None) -> None:
        self.sockets: list[socket.socket] = []
        self._path = Path(path) if path is not None else None
        try:
            if self._path is not None:
                self.sockets.append(take_path(self._path, group))
            self._made = self._mark()
            if port is not None:
                self.sockets.append(take(address, port))
        except PortTaken:
            if self.sockets:
                self.close()
            raise

    def shown(self) -> dict[str, str | int]:
        """Return ``address`` and real ``port``, ``path``: those that there are."""
        told: dict[str, str | int] = {} if self._path is None else {"socket": str(self._path)}
        for one in self.sockets:
            if one.family != socket.AF_UNIX:
                told |= zip(("address", "port"), one.getsockname(), strict=False)
        return told

    def close(self) -> None:
        """Let nobody come any more. A path that is another's by now stays."""
        if self._path is not None and self._made is not None and self._mark() == self._made:
            self._path.unlink(missing_ok=True)
        self._made = None
        for one in self.sockets:
            one.close()

    def _mark(self) -> tuple[int, int] | None:
        # Numbers of files are given again at once: the time tells one from the next.
        try:
            found = self._path.lstat() if self._path is not None else None
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_ctime_ns) if found is not None else None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
