"""Reading the journals on from where somebody stopped, across restarts: what watches keeps the place it has reached."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.audit import files
from gateway.audit.encoding import NotAnEntry, decode

MOST = 2_000
Places = dict[str, tuple[int, int]]
"""For each writer's folder the segment being read and the bytes of it that were read."""


class Tail:
    """The end of every writer's journal under *directories*. Without *places* it begins at the present ends.

    A writer that appears later is read from its first entry. Only whole lines are read.
    """

    def __init__(
        self, directories: Sequence[Path], places: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        self._directories = tuple(directories)
        self._places: Places = dict(places or {})
        self._from_end = places is None

    @property
    def places(self) -> Places:
        """Return how far each journal was read: to be kept, and given to the next reader."""
        return dict(self._places)

    def read(self, most: int = MOST) -> list[dict[str, Any]]:
        """Return what was added since, by time: entries with their ``writer``, at most *most* of each writer.

        A line that is no entry is passed over: verification names it.

        Raises:
            OSError, LogDamaged: a journal cannot be read.
        """
        found: list[dict[str, Any]] = []
        for folder in self._folders():
            found += self._read(folder, most)
        self._from_end = False
        found.sort(key=_moment)
        return found

    def _folders(self) -> list[Path]:
        there = [directory for directory in self._directories if directory.is_dir()]
        return [folder for directory in there for folder in files.log_directories(directory)]

    def _read(self, folder: Path, most: int) -> list[dict[str, Any]]:
        starts = files.segment_starts(folder)
        if not starts:
            return []
        place = self._places.get(str(folder))
        if place is None:
            place = self._end(folder, starts) if self._from_end else (starts[0], 0)
        if place[0] not in starts:
            later = [start for start in starts if start > place[0]]
            # Purged meanwhile; or, with nothing later, an older copy was put back: what it holds was read.
            place = (later[0], 0) if later else self._end(folder, starts)
        found: list[dict[str, Any]] = []
        for start in [each for each in starts if each >= place[0]]:
            offset = place[1] if start == place[0] else 0
            offset += _lines(files.segment_path(folder, start), offset, most - len(found), folder.name, found)
            self._places[str(folder)] = (start, offset)
            if len(found) >= most:
                break
        return found

    @staticmethod
    def _end(folder: Path, starts: Sequence[int]) -> tuple[int, int]:
        return starts[-1], files.segment_path(folder, starts[-1]).stat().st_size


def _moment(event: Mapping[str, Any]) -> tuple[int, str, int]:
    at_ms = event.get("at_ms")
    return at_ms if isinstance(at_ms, int) else 0, event["writer"], event["seq"]


def _lines(path: Path, offset: int, most: int, writer: str, found: list[dict[str, Any]]) -> int:
    """Add to *found* up to *most* entries of *path* from *offset* on; return by how many bytes to go on, or back."""
    size = path.stat().st_size
    if size <= offset:
        # A writer that recovers cuts what it never promised.
        return size - offset
    read = 0
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n") or most <= 0:
                break
            read += len(line)
            try:
                values = decode(line[:-1])
            except NotAnEntry:
                continue
            most -= 1
            values["writer"] = writer
            found.append(values)
    return read
