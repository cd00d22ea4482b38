"""``ecluse workers``: which workers serve, and replacing all of them without losing a request."""

import json
import signal
from typing import Final

import click

from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import load_or_exit
from gateway.cli.running import Running
from gateway.vocabulary.running import Door

WAIT_S: Final = 600.0


@click.group(epilog="Example:  ecluse workers restart --config /etc/ecluse/ecluse.yaml")
def workers() -> None:
    """Show the workers of this node, replace them one by one."""


@workers.command(epilog="Example:  ecluse workers status --json")
@config_option
@json_option
def status(config_path: str, as_json: bool) -> int:
    """Tell which workers there are. Exit code 0: all serve; 1: some do not; 2: no workers run here."""
    return show_status(Running.of(load_or_exit(config_path).settings, Door.INSPECTOR), as_json=as_json)


@workers.command(epilog="Example:  ecluse workers restart")
@click.option("--wait-s", default=WAIT_S, show_default=True, help="Longest wait until all are replaced.")
@config_option
@json_option
def restart(wait_s: float, config_path: str, as_json: bool) -> int:
    """Replace every worker by a fresh one that reads code, keys and configuration anew; no request fails.

    Each old one leaves once a new one serves. Nothing is replaced when the configuration has faults or needs a
    restart of the whole gateway. Exit code 0: all replaced; 1: refused, the old ones go on.
    """
    running = Running.of(load_or_exit(config_path).settings, Door.INSPECTOR)
    return restart_all(running, wait_s, as_json=as_json)


def show_status(running: Running, *, as_json: bool) -> int:
    """Print which workers *running* has; return 0 when all serve, else 1."""
    found = _workers(running)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for each in found["workers"]:
            click.echo(
                f"worker {each['worker']:<3} process {each['pid']:<8} {each['state']:<9} {each['policy_id']}"
            )
    return EXIT_DONE if all(each["state"] == "serving" for each in found["workers"]) else EXIT_REFUSED


def restart_all(running: Running, wait_s: float, *, as_json: bool) -> int:
    """Have every worker of *running* replaced; return 0 when all were, else 1."""
    _workers(running)
    running.tell(signal.SIGUSR2, running.files.restart, wait_s)
    answer = json.loads(running.files.restart.read_text("utf-8"))
    done = answer.get("restarted") is True
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    elif done:
        click.echo(f"Every worker was replaced: policy {answer.get('policy_id')}.")
    else:
        for fault in answer.get("faults", []):
            click.echo(str(fault), err=True)
        click.echo("ecluse: not every worker was replaced; the others go on", err=True)
    return EXIT_DONE if done else EXIT_REFUSED


def _workers(running: Running) -> dict[str, list[dict[str, str]]]:
    """Return what the supervisor says of them; leave with 2 where there is none: a signal would end a lone process."""
    pid = running.process()
    try:
        found = json.loads(running.files.workers.read_text("utf-8"))
    except (OSError, ValueError):
        found = {}
    if found.get("pid") != pid:
        fail(
            "this gateway has no workers: set gateway.workers, or run 'ecluse serve --workers N'", EXIT_FAULT
        )
    return {"workers": found["workers"]}
