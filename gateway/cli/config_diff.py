"""``ecluse config diff``: what changes in effect between two configurations, and what of it weakens."""

import dataclasses
import json
from typing import Final

import click

from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import load_or_exit
from gateway.cli.running import Running
from gateway.configuration.in_force import InForceUnread, compare, of_loaded, read_in_force
from gateway.policy.weakening import Change, weakenings
from gateway.vocabulary.running import Door

EXIT_WEAKENS: Final = 3
"""The second one weakens the first."""


@click.command(epilog="Example:  ecluse config diff /etc/ecluse/ecluse.yaml new/ecluse.yaml")
@click.argument("paths", nargs=-1, metavar="[OLD] [NEW]", type=click.Path(dir_okay=False, path_type=str))
@config_option
@json_option
def diff(paths: tuple[str, ...], config_path: str, as_json: bool) -> int:
    """Tell what changes in effect from OLD to NEW, and whether that weakens.

    With one file, or none (then --config), against what the gateway of --config has in force. What nobody can tell
    counts as weaker. Exit code 0: the same; 1: they differ, and nothing weakens; 3: NEW weakens.
    """
    if len(paths) > 2:
        raise click.UsageError("name at most two configurations, OLD and NEW")
    new = of_loaded(load_or_exit(paths[-1] if paths else config_path))
    if len(paths) == 2:
        old = of_loaded(load_or_exit(paths[0]))
    else:
        settings = load_or_exit(config_path).settings
        try:
            old = read_in_force(settings.in_force_file)
        except InForceUnread as error:
            fail(f"what the gateway has in force is not known: {error}; name OLD and NEW", EXIT_FAULT)
        if not Running.of(settings, Door.INSPECTOR).is_open():
            click.echo("ecluse: no gateway is running: this is what the last one had in force", err=True)
    changes = compare(old, new)
    if as_json:
        told = {
            "before": old.policy.policy_id,
            "after": new.policy.policy_id,
            "weakens": bool(weakenings(changes)),
            "changes": [dataclasses.asdict(change) for change in changes],
        }
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        tell(changes)
    if weakenings(changes):
        return EXIT_WEAKENS
    return EXIT_REFUSED if changes else EXIT_DONE


def tell(changes: tuple[Change, ...]) -> None:
    """Print *changes*, a line each, and their number."""
    for change in changes:
        click.echo(str(change))
    weaker = len(weakenings(changes))
    if changes:
        click.echo(f"{len(changes)} change(s) in effect, {weaker} of them weaken.")
    else:
        click.echo("The same in effect.")
