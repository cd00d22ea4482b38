"""Changing accounts by command: recorded before it is done, but for containment, which waits for nothing
(``account_lock``, and ending sessions)."""

from collections.abc import Awaitable, Callable, Sequence

import click

from gateway.accounts.store import Changed, ChangeRefused
from gateway.assembly.office import Office
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_REFUSED
from gateway.cli.account_office import event_of, people_of, realm_of, run
from gateway.cli.account_people import Person
from gateway.cli.common import Row, show_rows
from gateway.vocabulary.events import AuditEvent, EventKind

Act = Callable[[Office, Person], Awaitable[Changed | ChangeRefused]]


def change(
    config_path: str,
    realm_name: str | None,
    logins: Sequence[str],
    kind: EventKind,
    act_name: str,
    reason: str,
    act: Act,
    *,
    as_json: bool,
) -> int:
    """Record *act* on each of *logins*, then do it; stop at the first that cannot be recorded."""

    async def work(office: Office) -> tuple[list[Row], int]:
        rows: list[Row] = []
        for asked in people_of(office, realm_of(office, realm_name), logins):
            office.record(event_of(office, kind, asked, act_name, reason))
            rows.append(_row(asked, await act(office, asked)))
        return rows, _code(rows)

    return show_rows(*run(config_path, work), as_csv=False, as_json=as_json)


def recorded(office: Office, event: AuditEvent, what: str, mend: str = "note it elsewhere") -> bool:
    """Record what was done already; say it loudly, with the *mend*, when the log cannot take it."""
    try:
        office.record(event)
    except (AuditUnavailable, ValueError) as error:
        click.echo(f"ecluse: {what} WAS DONE BUT IS NOT RECORDED: {error}; {mend}", err=True)
        return False
    return True


def _row(asked: Person, done: Changed | ChangeRefused) -> Row:
    return {
        "login": asked.ref.name,
        "outcome": "done" if isinstance(done, Changed) else "refused",
        "standing": done.standing.value,
        "sessions_closed": done.sessions_closed if isinstance(done, Changed) else 0,
    }


def _code(rows: Sequence[Row]) -> int:
    return EXIT_REFUSED if any(row["outcome"] == "refused" for row in rows) else EXIT_DONE
