"""``ecluse limits``: what holds an account, and what was allowed past it."""

import click

from gateway.cli.limits_reviews import reviews
from gateway.cli.limits_show import show
from gateway.cli.limits_suggest import suggest


@click.group(epilog="Example:  ecluse limits show dr.martin")
def limits() -> None:
    """Show the bounds of an account and their use, review emergency accesses, propose caps."""


limits.add_command(show)
limits.add_command(reviews)
limits.add_command(suggest)
