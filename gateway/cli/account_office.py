"""What the ``ecluse account`` commands share: opening the office, naming people, telling events, printing."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.accounts.account import Account
from gateway.accounts.store import Labels
from gateway.assembly import Office, local_user, open_for_operator
from gateway.audit.cells import cell_text
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, fail
from gateway.cli.account_people import PeopleRefused, Person, person
from gateway.configuration import ConfigurationFaults, KeysRefused
from gateway.policy.policy import Realm
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import Standing

FAULTS = (
    AuditUnavailable,
    ConfigurationFaults,
    EmbeddedFailed,
    KeysDisagree,
    KeysRefused,
    MarkerFileBroken,
    OSError,
    StoreEmptied,
    StoreUnavailable,
)
Row = dict[str, str | int | None]

realm_option = click.option("--realm", "realm_name", help="The realm; not needed when there is only one.")
reason_option = click.option("--reason", required=True, help="Why; it stands in the audit log.")


def run[Answer](config_path: str, work: Callable[[Office], Awaitable[Answer]]) -> Answer:
    """Open the office, do *work* in it and return its answer; leave with 2 when something is missing."""
    answers: list[Answer] = []

    async def inside() -> None:
        async with open_for_operator(Path(config_path)) as office:
            answers.append(await work(office))

    try:
        asyncio.run(inside())
    except PeopleRefused as refused:
        for fault in refused.faults:
            click.echo(fault, err=True)
        fail("nothing was changed", EXIT_FAULT)
    except FAULTS as error:
        if not answers:
            fail(str(error), EXIT_FAULT)
        # The work is done and recorded; its answer must be seen though the office could not be closed in order.
        click.echo(f"ecluse: {error}", err=True)
    return answers[0]


def realm_of(office: Office, name: str | None) -> Realm:
    """Return the realm *name*, or the only one.

    Raises:
        PeopleRefused: there is no such realm, or several and none is named.
    """
    realms = office.policy.realms
    if name is None and len(realms) == 1:
        return next(iter(realms.values()))
    if name is None or name not in realms:
        said = "is needed" if name is None else f"{name!r} does not exist"
        raise PeopleRefused([f"--realm {said}: one of {', '.join(sorted(realms))}"])
    return realms[name]


def people_of(
    office: Office, realm: Realm, logins: Sequence[str], labels: Labels | None = None
) -> tuple[Person, ...]:
    """Return whom *logins* name, each once, with *labels*.

    Raises:
        PeopleRefused: with every fault.
    """
    people: dict[str, Person] = {}
    faults: list[str] = []
    for login in logins:
        try:
            asked = person(login, labels or Labels(), realm, office.keys.names)
        except PeopleRefused as refused:
            faults += refused.faults
        else:
            people[asked.ref.id] = asked
    if faults:
        raise PeopleRefused(faults)
    return tuple(people.values())


def event_of(office: Office, kind: EventKind, asked: Person, act: str, reason: str) -> AuditEvent:
    """Return the event of an operator who does *act* to *asked*."""
    return AuditEvent(
        kind=kind,
        at_ms=office.clock.now_ms(),
        realm=asked.ref.realm,
        account=asked.ref.name,
        account_class=asked.labels.account_class,
        establishment=asked.labels.establishment,
        operator=local_user(),
        reason=reason or None,
        policy_id=office.policy.policy_id,
        detail=(("act", act),),
    )


def standing_of(office: Office, found: Account) -> str:
    """Return the standing as operators read it: an active account nobody uses is dormant."""
    realm = office.policy.realms.get(found.realm)
    dormant = realm is not None and found.is_dormant(office.clock.now_ms(), realm.dormant_s)
    return "dormant" if dormant and found.standing is Standing.ACTIVE else found.standing.value


def time_text(at_ms: int | None) -> str | None:
    """Return Unix milliseconds as UTC, to the second."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def show_rows(rows: list[Row], code: int = EXIT_DONE, *, as_csv: bool, as_json: bool) -> int:
    """Print *rows* as a table, CSV or JSON, and return *code*."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return code
    if not rows:
        click.echo("none", err=True)
        return code
    # A login may begin like a formula, and the codes go into a spreadsheet for the mailing.
    shown = cell_text if as_csv else str
    table = [
        list(rows[0]),
        *(["-" if value is None else shown(str(value)) for value in row.values()] for row in rows),
    ]
    if as_csv:
        text = io.StringIO()
        csv.writer(text).writerows(table)
        click.echo(text.getvalue(), nl=False)
        return code
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return code
