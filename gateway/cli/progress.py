"""How far a long reading is: on a terminal, after the first second, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from gateway.audit.encoding import visible

_AFTER_S = 1.0


@contextmanager
def progress(noun: str = "entries") -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Give a way to begin a task by name, which gives a way to tell how many *noun* were read."""
    with _bar(TextColumn(f"{{task.completed:,}} {noun}")) as begin:
        yield lambda name: begin(name, None)


@contextmanager
def bytes_read(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a way to tell how many bytes of *total* were read."""
    with _bar(BarColumn(), DownloadColumn()) as begin:
        yield begin(what, total)


@contextmanager
def _bar(*columns: ProgressColumn) -> Iterator[Callable[[str, int | None], Callable[[int], None]]]:
    """Give a way to begin a task by name and total, None when unknown; it gives a way to tell how far it is."""
    console = Console(stderr=True)
    named = TextColumn("{task.description}"), *columns, TimeElapsedColumn()
    bar = Progress(*named, console=console, transient=True, auto_refresh=False)

    def begin(name: str, total: int | None) -> Callable[[int], None]:
        task = bar.add_task(visible(name), total=total)

        def advance(count: int) -> None:
            bar.update(task, completed=count)
            if console.is_terminal and (bar.tasks[0].elapsed or 0.0) > _AFTER_S:
                bar.start()
                bar.refresh()

        return advance

    try:
        yield begin
    finally:
        # Stopping one that never started would print an empty line.
        if bar.live.is_started:
            bar.stop()
