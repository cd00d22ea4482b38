"""``ecluse account``: invite people, look at accounts, contain them, list their sessions."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.accounts.account import Account
from gateway.accounts.invitation import RANDOM_BYTES, new_invitation
from gateway.accounts.store import Changed, ChangeRefused, Labels
from gateway.assembly.office import Office
from gateway.audit.describe import session_label
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.account_change import change, recorded
from gateway.cli.account_lock import lock
from gateway.cli.account_office import event_of, people_of, realm_of, run, standing_of
from gateway.cli.account_people import PeopleRefused, Person, read_people
from gateway.cli.common import Row, realm_option, reason_option, show_rows, time_text
from gateway.policy.policy import Realm
from gateway.sessions.store import Session
from gateway.valkey.client import StoreUnavailable
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import Standing

class_option = click.option("--class", "account_class", help="The class that picks the caps.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
logins_argument = click.argument("logins", nargs=-1, required=True, metavar="LOGIN...")


@click.group(epilog='Example:  ecluse account lock dr.martin --reason "password stolen"')
def account() -> None:
    """Invite people, lock and unlock accounts, list sessions."""


@account.command(epilog="Example:  ecluse account invite dr.martin --class ward")
@logins_argument
@class_option
@click.option("--establishment", help="FINESS number of the establishment.")
@click.option("--display", help="The person's name, as letters show it.")
@click.option("--reason", default="", help="Why, if there is something to say.")
@csv_option
@realm_option
@config_option
@json_option
def invite(
    logins: tuple[str, ...],
    account_class: str | None,
    establishment: str | None,
    display: str | None,
    reason: str,
    realm_name: str | None,
    config_path: str,
    *,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Make single-use invitation codes, shown this once. An earlier code of the same person is dead."""
    labels = Labels(account_class, establishment, display)

    async def work(office: Office) -> tuple[list[Row], int]:
        realm = realm_of(office, realm_name)
        return await _invite(office, realm, people_of(office, realm, logins, labels), reason)

    return show_rows(*run(config_path, work), as_csv=as_csv, as_json=as_json)


@account.command("import", epilog="Example:  ecluse account import people.csv --csv > codes.csv")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), metavar="PEOPLE.CSV")
@click.option("--reason", default="", help="Why, if there is something to say.")
@csv_option
@realm_option
@config_option
@json_option
def import_(
    path: Path, reason: str, realm_name: str | None, config_path: str, *, as_csv: bool, as_json: bool
) -> int:
    """Invite everybody in a CSV file with the columns login, class, establishment, display.

    The whole file is checked first; with one fault in it nobody is invited.
    """

    async def work(office: Office) -> tuple[list[Row], int]:
        realm = realm_of(office, realm_name)
        return await _invite(office, realm, read_people(path, realm, office.keys.names), reason)

    return show_rows(*run(config_path, work), as_csv=as_csv, as_json=as_json)


@account.command("list", epilog="Example:  ecluse account list --standing locked")
@click.option(
    "--standing", type=click.Choice([standing.value for standing in Standing][1:]), help="Only these."
)
@csv_option
@realm_option
@config_option
@json_option
def list_(
    standing: str | None, realm_name: str | None, config_path: str, *, as_csv: bool, as_json: bool
) -> int:
    """List the accounts."""

    async def work(office: Office) -> list[Row]:
        wanted = realm_of(office, realm_name).name if realm_name else None
        return [
            {
                "login": found.login,
                "realm": found.realm,
                "standing": standing_of(office, found),
                "class": found.account_class,
                "establishment": found.establishment,
                "last_login": time_text(found.last_login_ms),
            }
            for found in await office.accounts.list()
            if wanted in {None, found.realm} and standing in {None, found.standing.value}
        ]

    return show_rows(run(config_path, work), as_csv=as_csv, as_json=as_json)


@account.command(epilog="Example:  ecluse account show dr.martin --json")
@click.argument("login")
@realm_option
@config_option
@json_option
def show(login: str, realm_name: str | None, config_path: str, *, as_json: bool) -> int:
    """Show what is known of an account, never its secrets. Leaves with 1 when there is none."""

    async def work(office: Office) -> dict[str, Any] | None:
        (asked,) = people_of(office, realm_of(office, realm_name), (login,))
        found = await office.accounts.get(asked.ref.id)
        if found is None:
            return None
        told = {
            name: _times(value) if name.endswith("_ms") else value for name, value in asdict(found).items()
        }
        told = {name.removesuffix("_ms"): value for name, value in told.items()}
        return told | {"standing": standing_of(office, found)}

    told = run(config_path, work)
    if told is None:
        fail(f"nobody invited {login!r}", EXIT_REFUSED)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        for name, value in told.items():
            click.echo(f"{name:<18} {'-' if value is None else value}")
    return EXIT_DONE


@account.command(epilog='Example:  ecluse account unlock dr.martin --reason "password changed, ticket 4711"')
@logins_argument
@reason_option
@realm_option
@config_option
@json_option
def unlock(
    logins: tuple[str, ...], reason: str, realm_name: str | None, config_path: str, *, as_json: bool
) -> int:
    """Let locked accounts in again, with the second factor they had."""

    async def act(office: Office, asked: Person) -> Changed | ChangeRefused:
        return await office.accounts.unlock(asked.ref.id)

    return change(
        config_path, realm_name, logins, EventKind.ACCOUNT_UNLOCKED, "unlock", reason, act, as_json=as_json
    )


@account.command(epilog='Example:  ecluse account reset dr.martin --reason "telephone lost, seen in person"')
@logins_argument
@reason_option
@realm_option
@config_option
@json_option
def reset(
    logins: tuple[str, ...], reason: str, realm_name: str | None, config_path: str, *, as_json: bool
) -> int:
    """Forget second factor and recovery codes, and end every session. Then invite the person again."""

    async def act(office: Office, asked: Person) -> Changed | ChangeRefused:
        return await office.accounts.reset(asked.ref.id)

    return change(
        config_path, realm_name, logins, EventKind.FACTOR_RESET, "reset", reason, act, as_json=as_json
    )


@account.command(epilog='Example:  ecluse account retire dr.martin --reason "left the hospital"')
@logins_argument
@reason_option
@realm_option
@config_option
@json_option
def retire(
    logins: tuple[str, ...], reason: str, realm_name: str | None, config_path: str, *, as_json: bool
) -> int:
    """Close accounts of people who have left. Only a new invitation brings one back."""

    async def act(office: Office, asked: Person) -> Changed | ChangeRefused:
        return await office.accounts.retire(asked.ref.id)

    return change(
        config_path, realm_name, logins, EventKind.ACCOUNT_LOCKED, "retire", reason, act, as_json=as_json
    )


@account.command(
    epilog='Example:  ecluse account sessions dr.martin --close-all --reason "laptop left behind"'
)
@click.argument("login")
@click.option("--close", "label", metavar="SESSION", help="End the session of this name, as listed.")
@click.option("--close-all", is_flag=True, help="End every session of the account.")
@click.option("--reason", default="", help="Why; needed to end sessions.")
@csv_option
@realm_option
@config_option
@json_option
def sessions(
    login: str,
    label: str | None,
    reason: str,
    realm_name: str | None,
    config_path: str,
    *,
    close_all: bool,
    as_csv: bool,
    as_json: bool,
) -> int:
    """List the sessions of an account, under the names they have in the audit log; or end some."""
    closing = close_all or label is not None
    if closing and not reason:
        fail("ending sessions needs --reason", EXIT_FAULT)

    async def work(office: Office) -> tuple[list[Row], int]:
        (asked,) = people_of(office, realm_of(office, realm_name), (login,))
        found = await office.sessions.list(asked.ref.id)
        told: list[bool] = []
        if closing:
            found = tuple(one for one in found if close_all or session_label(one.id) == label)
            told = await _closed(office, asked, found, reason)
        rows: list[Row] = [
            {
                "session": session_label(one.id),
                "app": one.app,
                "stage": one.stage.value,
                "since": time_text(one.created_ms),
                "seen": time_text(one.seen_ms),
                "address": one.address,
                "agent": one.agent,
            }
            for one in found
        ]
        if not all(told):
            return rows, EXIT_FAULT
        return rows, EXIT_REFUSED if closing and not found else EXIT_DONE

    return show_rows(*run(config_path, work), as_csv=as_csv, as_json=as_json)


async def _closed(office: Office, asked: Person, found: Sequence[Session], reason: str) -> list[bool]:
    """End the sessions *found*, then record each that was ended; tell which could be recorded."""
    ended: list[Session] = []
    told: list[bool] = []
    try:
        for one in found:
            await office.sessions.close(asked.ref.id, one.id)
            ended.append(one)
    finally:
        event = event_of(office, EventKind.SESSION_CLOSED, asked, "close-session", reason)
        for one in ended:
            of_it = msgspec.structs.replace(event, session=session_label(one.id), app=one.app)
            told.append(recorded(office, of_it, f"the end of session {session_label(one.id)}"))
    return told


async def _invite(
    office: Office, realm: Realm, people: Sequence[Person], reason: str
) -> tuple[list[Row], int]:
    faults = []
    for asked in people:
        known = await office.accounts.get(asked.ref.id)
        if known is not None and not _may_be_invited(office, known, realm):
            where = f"line {asked.line}: " if asked.line is not None else ""
            faults.append(f"{where}{asked.ref.name!r} is {known.standing.value}: {_mend(known.standing)}")
    if faults:
        raise PeopleRefused(faults)
    rows: list[Row] = []
    for asked in people:
        until_ms = office.clock.now_ms() + realm.invitation_s * 1000
        invitation = new_invitation(office.keys.names, asked.ref.id, secrets.token_bytes(RANDOM_BYTES))
        office.record(event_of(office, EventKind.INVITED, asked, "invite", reason))
        try:
            done = await office.accounts.invite(
                asked.ref, invitation.hash, until_ms, asked.labels, dormant_s=realm.dormant_s
            )
        except StoreUnavailable as error:
            # The codes made so far are good and shown nowhere else.
            click.echo(f"ecluse: stopped before {asked.ref.name!r}: {error}", err=True)
            return rows, EXIT_FAULT
        code = invitation.code if isinstance(done, Changed) else None
        rows.append(
            {
                "login": asked.ref.name,
                "display": asked.labels.display,
                "code": code,
                "until": time_text(until_ms) if code else None,
                "standing": done.standing.value,
            }
        )
    return rows, EXIT_DONE if all(row["code"] for row in rows) else EXIT_REFUSED


def _may_be_invited(office: Office, known: Account, realm: Realm) -> bool:
    dormant = known.is_dormant(office.clock.now_ms(), realm.dormant_s)
    return known.standing in {Standing.INVITED, Standing.RETIRED} or (
        known.standing is Standing.ACTIVE and dormant
    )


def _mend(standing: Standing) -> str:
    return "unlock it first" if standing is Standing.LOCKED else "reset it first, with a reason"


account.add_command(lock)


def _times(at_ms: int | tuple[int, ...] | None) -> str | None:
    if isinstance(at_ms, tuple):
        return ", ".join(time_text(one) or "" for one in at_ms) or None
    return time_text(at_ms)
