"""Bars in a terminal: one line a value, its label, its number and a bar."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.audit.encoding import visible


def print_bars(title: str, bars: Sequence[tuple[str, int]], *, style: str = "cyan") -> None:
    """Print *bars*, labels and numbers of at least 0, under *title*. NO_COLOR is obeyed."""
    console = Console()
    console.print(Text(f"\n{title}", style="bold"))
    if not bars:
        console.print("  nothing")
        return
    greatest = max(number for _, number in bars)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=36)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    for label, number in bars:
        bar = Bar(max(greatest, 1), 0, number, color=style if not console.no_color else "default")
        table.add_row(Text(visible(label)), f"{number:,}", bar)
    console.print(table)
