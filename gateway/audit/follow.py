"""Following the journals: events as their writers add them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.audit import files
from gateway.audit.columns import EVENT_COLUMNS
from gateway.audit.encoding import NotAnEntry, decode


def follow(
    places: Path | Sequence[Path], again: Callable[[], bool], *, from_start: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield events as writers add them under *places*: new writers and segments too, whole lines only.

    *again* is called when everything there has been read: it waits and returns True, or False to stop.
    Starts at the present end of each log, or with its first entry when *from_start*.

    Raises:
        OSError: a file cannot be read.
    """
    directories = [places] if isinstance(places, Path) else list(places)
    read: dict[Path, int] = {}
    known_bytes = not from_start
    while True:
        for path in [found for place in directories for found in _segments(place)]:
            if path not in read:
                read[path] = path.stat().st_size if known_bytes else 0
            yield from _news(path, read)
        known_bytes = False
        if not again():
            return


def _segments(place: Path) -> Iterator[Path]:
    for directory in files.log_directories(place):
        for start in files.segment_starts(directory):
            yield files.segment_path(directory, start)


def _news(path: Path, read: dict[Path, int]) -> Iterator[dict[str, Any]]:
    size = path.stat().st_size
    # A writer that recovers cuts what it never promised.
    read[path] = min(read[path], size)
    if size == read[path]:
        return
    with path.open("rb") as file:
        file.seek(read[path])
        for line in file:
            if not line.endswith(b"\n"):
                return
            read[path] += len(line)
            try:
                values = decode(line[:-1])
            except NotAnEntry:
                # A line begun before following started, or no entry at all: verify names it.
                continue
            values["writer"] = path.parent.name
            yield {name: values[name] for name in EVENT_COLUMNS if name in values}
