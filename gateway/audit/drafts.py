"""Files that stand in their place whole or not at all, and are nobody else's to read while they are written."""

import io
import os
import tempfile
from collections.abc import Buffer, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from gateway.audit.files import sync_directory

_PREFIX = ".ecluse-"
_MODE = 0o600


class NotWritten(OSError):
    """A file cannot be written or take its place. The message names the file and says why."""


@contextmanager
def drafts(*paths: Path, replace: bool = True) -> Iterator[tuple[Path, ...]]:
    """Give an empty new file beside each of *paths*; they take their places, in that order, when the block ends.

    Each draft has a name that nobody can foresee and is for its owner alone (mode 0600), in its place too. All of
    them are on the disk before the first one takes its place. When the block raises, or a disk refuses, the drafts
    go, and what stood at a path that was not reached stays. Without *replace* nothing that stands there is replaced,
    nor what came there meanwhile.

    Raises:
        NotWritten: a draft cannot be made, made durable, or put in its place; a folder or device stands there;
            without *replace*, anything does.
    """
    with ExitStack() as stack:
        made = []
        for path in paths:
            with _naming(path):
                handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
                stack.callback(Path(name).unlink, missing_ok=True)
                os.close(handle)
            if path.exists() and not path.is_file():
                raise NotWritten(f"{path} could not be written: what stands there is no regular file")
            made.append(Path(name))
        yield tuple(made)
        for draft, path in zip(made, paths, strict=True):
            with _naming(path):
                _keep(draft)
        for draft, path in zip(made, paths, strict=True):
            with _naming(path):
                if replace:
                    draft.replace(path)
                else:
                    path.hardlink_to(draft)
        for path in {path.parent: path for path in paths}.values():
            with _naming(path):
                sync_directory(path.parent)


@contextmanager
def text_draft(path: Path) -> Iterator[TextIO]:
    """Give a file of UTF-8 text, with line ends as they are written, that takes the place of *path* as ``drafts`` do.

    Raises:
        NotWritten: as ``drafts``; writing to the file raises it too, so that it is told from errors of what is read.
    """
    with drafts(path) as (draft,), text_file(draft, path) as file:
        yield file


def text_file(draft: Path, path: Path) -> TextIO:
    """Open the file *draft* for UTF-8 text with line ends as they are written; it is part of making *path*.

    Raises:
        NotWritten: it cannot be written, now or at any later write; the message names *path*.
    """
    with _naming(path):
        return io.TextIOWrapper(io.BufferedWriter(_Raw(draft, path)), encoding="utf-8", newline="")


class _Raw(io.FileIO):
    """The file *draft*, whose errors name *path*."""

    def __init__(self, draft: Path, path: Path) -> None:
        super().__init__(draft, "w", opener=_open)
        self._path = path

    def write(self, piece: Buffer, /) -> int:
        """Write *piece*."""
        with _naming(self._path):
            return super().write(piece)


def _open(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path} could not be written: {error.strerror or error}") from error


def _keep(draft: Path) -> None:
    # Whoever wrote it may have put another file under its name.
    handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, _MODE)
        os.fsync(handle)
    finally:
        os.close(handle)
