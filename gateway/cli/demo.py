"""``ecluse demo``: a small e-health app with the gateway in front of it, and people to try it with."""

import importlib
import select
import signal
import sys
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.table import Table

from gateway.demo.children import ChildError, port_taken
from gateway.demo.people import PROFESSIONALS, Enrolment
from gateway.demo.stage import Stage, raise_stage

_WATCH_S = 0.5
_HIGHEST_PORT = 65_535


@click.command(epilog="Example:  ecluse demo --port 8443")
@click.option(
    "--port",
    type=click.IntRange(1, _HIGHEST_PORT),
    default=8443,
    show_default=True,
    help="Port of the gateway.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Folder to keep state in.",
)
@click.option(
    "--check", is_flag=True, help="Play the attack of September 2025 unattended; one JSON line at the end."
)
@click.option(
    "--scope-check",
    is_flag=True,
    help="Let ten accounts take thousands of patients, and compare with `breach scope`; one JSON line at the end.",
)
def demo(port: int, directory: Path | None, *, check: bool, scope_check: bool) -> None:
    """Run a small e-health app with the gateway in front of it.

    Exit codes: 0 stopped, or all as it must be; 1 the check found something off; 2 it could not start.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if check:
        sys.exit(importlib.import_module("gateway.demo.check").check(directory))
    if scope_check:
        sys.exit(importlib.import_module("gateway.demo.scope_check").scope_check(directory))
    if port_taken(port):
        raise click.ClickException(f"port {port} of this machine is in use: choose another with --port")
    try:
        stage = raise_stage(port, directory)
    except ChildError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(0)
    try:
        _tell(stage)
        sys.exit(_stay(stage))
    except KeyboardInterrupt:
        print("\nStopping.")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stage.strike()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stay(stage: Stage) -> int:
    """Stay until stopped, or until a part fails; Enter at a terminal shows the present codes."""
    watched = [sys.stdin] if sys.stdin is not None and sys.stdin.isatty() else []
    while (fallen := stage.fallen()) is None:
        ready, _, _ = select.select(watched, [], [], _WATCH_S)
        if ready:
            if not sys.stdin.readline():
                watched = []
                continue
            _table(stage)
    print(f"{fallen.name} ended on its own. It said:\n{fallen.last_words()}", file=sys.stderr)
    return 2


def _tell(stage: Stage) -> None:
    print(f"Écluse stands in front of Parcours, a small orientation app:  http://localhost:{stage.port}\n")
    _table(stage)
    print(
        f"""
To try:
  1. Open the address, log in as e.marchand: the app's own page, then a code. Open a few records.
  2. Log in as t.leroy: a right password, but nobody invited him. He gets no further.
  3. Log in as n.caron with the invitation code above, and enrol an authenticator app.
  4. Play the thief: after login, open more than 40 records within ten minutes.
  5. Read what was recorded:  {Path(sys.executable).parent / "ecluse"} audit query --reason demo --config {stage.config}
The app itself, without the gateway, is at http://localhost:{stage.app_port}. Codes change every 30 s:
{"press Enter for the present ones, " if sys.stdin is not None and sys.stdin.isatty() else ""}press Ctrl-C to stop."""
    )
    sys.stdout.flush()


def _table(stage: Stage) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("login", "password", "limits", "code now", "authenticator secret"):
        table.add_column(heading, no_wrap=True)
    for person in PROFESSIONALS:
        code = stage.code(person.login) or "none"
        second = stage.secrets.get(person.login, "not invited")
        if person.enrolment is Enrolment.INVITED:
            second = f"invited: {stage.invitations[person.login]}"
        table.add_row(person.login, person.password, person.account_class, code, second)
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(table)
