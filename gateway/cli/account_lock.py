"""``ecluse account lock``: containment. It waits for nothing, and tries every account named whatever the others do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.accounts.store import Changed, Labels
from gateway.assembly.office import Office
from gateway.audit.encoding import visible
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.account_change import recorded
from gateway.cli.account_logins import LoginsRefused, Typed, read_logins
from gateway.cli.account_office import event_of, realm_of, run
from gateway.cli.account_people import PeopleRefused, Person, person
from gateway.cli.common import Row, realm_option, reason_option, show_rows
from gateway.policy.policy import Realm
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.events import EventKind

UNRECORDED = "done-unrecorded"
_AGAIN = "then run the same command again, which records it"


@dataclass(frozen=True, slots=True)
class _Asked:
    typed: str
    where: str
    person: Person | None
    fault: str = ""


@click.command(
    epilog='Example:  ecluse account lock --file accounts.csv --reason "passwords stolen, ticket 4711"'
)
@click.argument("logins", nargs=-1, metavar="LOGIN...")
@click.option(
    "--file",
    "--from",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also everybody in this file: one login a line, or CSV with a column login.",
)
@reason_option
@realm_option
@config_option
@json_option
def lock(
    logins: tuple[str, ...],
    path: Path | None,
    reason: str,
    realm_name: str | None,
    config_path: str,
    *,
    as_json: bool,
) -> int:
    """Contain accounts: every session ends at once, on every node, and nobody gets in until unlock.

    Every account is tried. Those that nobody invited are locked too, and named. Leaves with 1 when any failed. When the
    audit log cannot record it, it is done all the same, said loudly, and the command leaves with 2.
    """
    if not logins and path is None:
        fail("name at least one LOGIN, or a file with --file", EXIT_FAULT)
    try:
        listed = read_logins(path) if path is not None else ()
    except LoginsRefused as refused:
        fail(f"{refused}; nothing was changed", EXIT_FAULT)

    async def work(office: Office) -> tuple[list[Row], int]:
        asked = _asked(office, realm_of(office, realm_name), logins, path, listed)
        if path is None and any(one.person is None for one in asked):
            raise PeopleRefused([one.fault for one in asked if one.person is None])
        rows = [await _lock(office, one, reason) for one in asked]
        # A thief is not left in because a disk is full: everybody is locked before anything is recorded.
        for one, row in zip(asked, rows, strict=True):
            if one.person is not None and row["outcome"] in {"done", "refused"}:
                event = event_of(office, EventKind.ACCOUNT_LOCKED, one.person, "lock", reason)
                told = recorded(office, event, f"{row['login']}: lock", _AGAIN)
                if not told and row["outcome"] == "done":
                    row["outcome"] = UNRECORDED
        outcomes = {row["outcome"] for row in rows}
        if UNRECORDED in outcomes:
            return rows, EXIT_FAULT
        return rows, EXIT_REFUSED if outcomes - {"done"} else EXIT_DONE

    rows, code = run(config_path, work)
    _tell(rows)
    return show_rows(rows, code, as_csv=False, as_json=as_json)


def _asked(
    office: Office, realm: Realm, logins: Sequence[str], path: Path | None, listed: Sequence[Typed]
) -> list[_Asked]:
    typed = [("", login) for login in logins] + [(f"{path}:{one.line}: ", one.login) for one in listed]
    seen: set[str] = set()
    asked = []
    for where, login in typed:
        try:
            found = person(login, Labels(), realm, office.keys.names)
        except PeopleRefused as refused:
            asked.append(_Asked(login, where, None, "; ".join(refused.faults)))
        else:
            if found.ref.id not in seen:
                asked.append(_Asked(login, where, found))
            seen.add(found.ref.id)
    return asked


async def _lock(office: Office, asked: _Asked, reason: str) -> Row:
    row: Row = {
        "login": visible(asked.typed),
        "outcome": "failed",
        "standing": None,
        "sessions_closed": 0,
        "known": "no",
        "fault": f"{asked.where}{visible(asked.fault)}" if asked.fault else None,
    }
    if asked.person is None:
        return row
    row["login"] = asked.person.ref.name
    try:
        known = await office.accounts.get(asked.person.ref.id) is not None
        done = await office.accounts.lock(asked.person.ref.id, reason, ref=asked.person.ref)
    except (StoreEmptied, StoreUnavailable) as error:
        # A store that fails for one account may answer for the next.
        return row | {"fault": f"{asked.where}{error}"}
    locked = isinstance(done, Changed)
    return row | {
        "outcome": "done" if locked else "refused",
        "standing": done.standing.value,
        "sessions_closed": done.sessions_closed if isinstance(done, Changed) else 0,
        "known": "yes" if known else "no",
    }


def _tell(rows: Sequence[Row]) -> None:
    for row in rows:
        if row["outcome"] not in {"done", UNRECORDED}:
            click.echo(f"not locked: {row['login']}: {row['fault'] or row['standing']}", err=True)
    strange = [
        str(row["login"]) for row in rows if row["outcome"] in {"done", UNRECORDED} and row["known"] == "no"
    ]
    if strange:
        click.echo(
            f"locked, but nobody had invited them, so look at the spelling: {', '.join(strange)}", err=True
        )
