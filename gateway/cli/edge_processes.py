"""``ecluse edge status`` and ``restart``: which processes of the check there are, and replacing all of them."""

import click

from gateway.cli import config_option, json_option
from gateway.cli.loading import load_or_exit
from gateway.cli.running import Running
from gateway.cli.workers import WAIT_S, restart_all, show_status
from gateway.vocabulary.running import Door


@click.command(epilog="Example:  ecluse edge status --json")
@config_option
@json_option
def status(config_path: str, as_json: bool) -> int:
    """Tell which processes of the check there are. Exit code 0: all serve; 1: some do not; 2: none run here."""
    return show_status(Running.of(load_or_exit(config_path).settings, Door.EDGE), as_json=as_json)


@click.command(epilog="Example:  ecluse edge restart")
@click.option("--wait-s", default=WAIT_S, show_default=True, help="Longest wait until all are replaced.")
@config_option
@json_option
def restart(wait_s: float, config_path: str, as_json: bool) -> int:
    """Replace every process of the check by a fresh one; no question fails.

    Each reads code, keys, secret and configuration anew; an old one leaves once a new one answers. Nothing is replaced
    when the configuration has faults or needs a restart of the whole. Exit code 0: all replaced; 1: refused.
    """
    running = Running.of(load_or_exit(config_path).settings, Door.EDGE)
    return restart_all(running, wait_s, as_json=as_json)
