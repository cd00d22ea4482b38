"""Following the journals: events as their writers add them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.audit.columns import EVENT_COLUMNS
from gateway.audit.tail import Tail


def follow(
    places: Path | Sequence[Path], again: Callable[[], bool], *, from_start: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield events as writers add them under *places*: new writers and segments too, whole lines only.

    *again* is called when everything there has been read: it waits and returns True, or False to stop.
    Starts at the present end of each log, or with its first entry when *from_start*.

    Raises:
        OSError, LogDamaged: a place or a journal in it cannot be read.
    """
    directories = [places] if isinstance(places, Path) else list(places)
    tail = Tail(directories, {} if from_start else None)
    while True:
        for directory in directories:
            # Who follows asked for each: one that is not there is told, not taken for one where nothing happens.
            directory.stat()
        while events := tail.read():
            for event in events:
                yield {name: event[name] for name in EVENT_COLUMNS if name in event}
        if not again():
            return
