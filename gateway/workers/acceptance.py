"""That somebody accepts a weaker configuration: a file for one reload, from one policy to one other.

Whoever may write in the gateway's folder of state could do worse; what this keeps out is a reload that weakens by
mistake, a signal that comes by chance, and an old consent for a new change.
"""

import os
import stat
from pathlib import Path

import msgspec

LASTS_MS = 60_000
NAME = "accept-weakening.json"


class Acceptance(msgspec.Struct, frozen=True):
    """*before* and *after* identify what is in force and what would be; *by* is who accepts it, *at_ms* when."""

    before: str
    after: str
    by: str
    at_ms: int

    def holds(self, before: str, after: str, now_ms: int) -> bool:
        """Tell whether it is for exactly this change, and fresh."""
        return (self.before, self.after) == (before, after) and 0 <= now_ms - self.at_ms <= LASTS_MS


def leave(path: Path, acceptance: Acceptance) -> None:
    """Write *acceptance* for the gateway, whose user owns the folder of *path*.

    Raises:
        OSError: it cannot be written, or an older one is still there.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        os.write(handle, msgspec.json.encode(acceptance))
    finally:
        os.close(handle)


def take(path: Path) -> Acceptance | None:
    """Return the acceptance that waits at *path*, and take it away: it is for one reload, whatever comes of that.

    None when there is none, or one that is not ours alone.
    """
    # Renamed first, so that of two that come at once one has it.
    taken = path.with_suffix(".taken")
    try:
        path.rename(taken)
        handle = os.open(taken, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return msgspec.json.decode(os.read(handle, 10_000), type=Acceptance) if ours else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(handle)
        taken.unlink(missing_ok=True)
