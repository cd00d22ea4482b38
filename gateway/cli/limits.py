"""``ecluse limits``: what holds an account, and what was allowed past it."""

from typing import Final

import click

from gateway.cli import LazyGroup, Listed

_COMMANDS: Final[Listed] = {
    "show": (
        "gateway.cli.limits_show:show",
        "Tell which bounds hold LOGIN now, which rule gave each, how much is used; what the account owes or may break.",
    ),
    "reviews": (
        "gateway.cli.limits_reviews:reviews",
        "List the emergency accesses that nobody has judged yet, with their deadline; or judge one.",
    ),
    "suggest": (
        "gateway.cli.limits_suggest:suggest",
        "Propose caps per class: the 99.5th percentile of what each account used at most on a day, times 1.5.",
    ),
}


@click.group(cls=LazyGroup, listed=_COMMANDS, epilog="Example:  ecluse limits show dr.martin")
def limits() -> None:
    """Show the bounds of an account and their use, review emergency accesses, propose caps."""
