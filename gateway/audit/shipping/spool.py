"""One writer's log, read as it grows: signed entries only, in order, each once until told to go back."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.audit import files
from gateway.audit.checkpoint import CheckpointRefused, parse
from gateway.audit.encoding import NotAnEntry, decode
from gateway.audit.shipping.cursors import ShippingRefused

_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class _Place:
    """Where entry *seq* begins: *offset_bytes* into the segment that starts at *segment*, None when not known."""

    seq: int
    segment: int | None = None
    offset_bytes: int = 0


class Spool:
    """The log in *directory* from entry *seq* on.

    Only what a checkpoint covers is read: an entry that was written and not yet signed may still be cut by a
    recovery. ``missing`` counts entries whose segment is gone, ``unreadable`` lines that are no entry; neither
    holds up what follows.
    """

    def __init__(self, directory: Path, seq: int) -> None:
        self.directory = directory
        self.missing = 0
        self.unreadable = 0
        self._next = self._kept = _Place(seq)
        self._kept_gaps = (0, 0)

    @property
    def writer(self) -> str:
        """Return the writer's name."""
        return self.directory.name

    @property
    def next(self) -> int:
        """Return the entry that is read next."""
        return self._next.seq

    @property
    def kept(self) -> int:
        """Return the entry that reading goes back to."""
        return self._kept.seq

    def keep(self) -> None:
        """Never go back before the entry that is read next."""
        self._kept, self._kept_gaps = self._next, (self.missing, self.unreadable)

    def go_back(self) -> None:
        """Read again from where ``keep`` was last called."""
        self._next, (self.missing, self.unreadable) = self._kept, self._kept_gaps

    def signed(self) -> int:
        """Return how many entries the log's checkpoint covers.

        Raises:
            ShippingRefused: there is no checkpoint, or it covers less than was sent already.
            OSError: it cannot be read.
        """
        path = self.directory / files.CHECKPOINT
        try:
            size = parse(path.read_bytes()).size
        except FileNotFoundError:
            raise ShippingRefused(f"{path} is missing: restore the log whole") from None
        except CheckpointRefused as error:
            raise ShippingRefused(f"{path}: {error}; restore the log whole") from error
        if size < self._kept.seq:
            raise ShippingRefused(
                f"{self.directory} holds {size} signed entries, but {self._kept.seq} were sent: it is an old copy; "
                "restore the log whole, or send everything again with --from-start"
            )
        return size

    def take(self, end: int, most_bytes: int) -> list[dict[str, Any]]:
        """Return the next entries up to *end*, exclusive, each with its ``writer``: about *most_bytes* of them.

        Raises:
            OSError: a segment cannot be read.
            LogDamaged: a file bears no segment's name.
        """
        taken, size = [], 0
        for line in self._lines(end):
            size += len(line)
            try:
                taken.append({**decode(line[:-1]), "writer": self.writer})
            except NotAnEntry:
                self.unreadable += 1
            if size >= most_bytes:
                break
        return taken

    def _lines(self, end: int) -> Iterator[bytes]:
        while self._next.seq < end:
            starts = files.segment_starts(self.directory)
            place = self._placed(starts)
            until = min([end, *(start for start in starts if start > place.seq)])
            if place.segment is not None:
                yield from self._read_segment(place.segment, place, until)
            # Purged before it was sent, or lost: what is there is sent all the same.
            if self._next.seq < until:
                self.missing += until - self._next.seq
                self._next = _Place(until)

    def _placed(self, starts: list[int]) -> _Place:
        place = self._next
        holding = max((start for start in starts if start <= place.seq), default=None)
        if holding is None:
            return _Place(place.seq)
        if place.segment == holding:
            return place
        return _Place(place.seq, holding, self._offset_bytes(holding, place.seq - holding))

    def _offset_bytes(self, segment: int, lines: int) -> int:
        path = files.segment_path(self.directory, segment)
        return sum(len(line) for line in islice(files.read_lines(path), lines))

    def _read_segment(self, segment: int, place: _Place, until: int) -> Iterator[bytes]:
        with files.segment_path(self.directory, segment).open("rb", buffering=_BUFFER_BYTES) as file:
            file.seek(place.offset_bytes)
            while place.seq < until and (line := file.readline()).endswith(b"\n"):
                place = self._next = _Place(place.seq + 1, segment, place.offset_bytes + len(line))
                yield line
