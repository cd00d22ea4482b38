"""``ecluse audit follow``: events as they are written, by every writer of every node."""

import signal
import sys
import threading
from pathlib import Path

import click

from gateway.audit.follow import follow
from gateway.audit.query import Question
from gateway.cli import EXIT_DONE, config_option, json_option
from gateway.cli.audit_consult import consult_options, open_consultation, reading
from gateway.cli.audit_output import print_json, told

_EVERY_S = 0.5


@click.command("follow", epilog="Example:  ecluse audit follow --json --reason 'watch'")
@click.option("--from-start", is_flag=True, help="Begin with the first entry of each journal.")
@consult_options
@config_option
@json_option
def follow_command(
    from_start: bool,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
) -> int:
    """Show events as they are written, until Ctrl-C. The consultation itself is recorded."""
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    consultation.record("follow", why, Question())
    # An exception raised by Ctrl-C is lost where Python cannot pass one on; an event is not.
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    def again() -> bool:
        sys.stdout.flush()
        return not stopping.wait(_EVERY_S)

    with reading(consultation):
        for event in follow(consultation.places, again, from_start=from_start):
            if stopping.is_set():
                break
            if as_json:
                print_json([event], ())
            else:
                click.echo(told(event))
    return EXIT_DONE
