"""A progress bar over bytes, for commands that may take longer than a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

_AFTER_S = 1.0


@contextmanager
def bytes_read(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a way to tell how far reading is; nothing is shown during the first second, nor off a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
    task = bar.add_task(what, total=total)

    def advance(count: int) -> None:
        bar.update(task, completed=count)
        if console.is_terminal and (bar.tasks[0].elapsed or 0.0) > _AFTER_S:
            bar.start()
            bar.refresh()

    try:
        yield advance
    finally:
        bar.stop()
