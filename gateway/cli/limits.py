"""``ecluse limits``: caps as operators meet them; each command stands in a file of its own."""

import click

from gateway.cli.limits_suggest import suggest


@click.group(epilog="Example:  ecluse limits suggest --days 14 --reason 'two weeks of observe'")
def limits() -> None:
    """Propose caps from what was observed."""


limits.add_command(suggest)
