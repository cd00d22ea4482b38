"""One process at a time in a directory: the lock is a file, and goes with the process that held it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.audit.files import LOCK, make_directory, open_file

_PRIVATE_MODE = 0o700


def take(directory: Path) -> int:
    """Return a descriptor that holds *directory* alone until it is closed.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the disk refused.
    """
    return _take(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold *directory* alone, once whoever holds it has let go.

    Each opening is a lock of its own: threads exclude each other as processes do.

    Raises:
        OSError: the disk refused.
    """
    handle = _take(directory, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def held_in_private(directory: Path) -> Iterator[None]:
    """Make *directory*, for the gateway's user only, and hold it alone.

    Raises:
        OSError: the disk refused.
    """
    make_directory(directory)
    directory.chmod(_PRIVATE_MODE)
    with held(directory):
        yield


def _take(directory: Path, how: int) -> int:
    handle = open_file(directory / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, how)
    except BaseException:
        os.close(handle)
        raise
    return handle
