"""How far a long reading is: on a terminal, after the first second, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from gateway.audit.encoding import visible

_AFTER_S = 1.0


@contextmanager
def progress(unit: str = "entries") -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Give a way to begin a task by name, which gives a way to tell how many of *unit* are done."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), TextColumn("{task.completed:,} " + unit), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True, auto_refresh=False)

    def begin(name: str) -> Callable[[int], None]:
        task = bar.add_task(visible(name))

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
