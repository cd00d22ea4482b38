"""``ecluse account lock``: containment. It waits for nothing, and tries every account named whatever the others do."""

import asyncio
import re
from collections.abc import Callable, Sequence
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
from gateway.cli.progress import progress
from gateway.limits.links import accounts_on, links_of
from gateway.policy.policy import Realm
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import AccountRef

UNRECORDED = "done-unrecorded"
UNCERTAIN = "uncertain"
_AGAIN = "then run the same command again, which records it"
_TOGETHER = 64
_DEVICE = re.compile(r"[0-9a-f]{16}\Z")
_NAMED, _CLUSTER, _ON_DEVICE = "named", "cluster", "device"


@dataclass(frozen=True, slots=True)
class _Asked:
    typed: str
    where: str
    person: Person | None
    fault: str = ""
    because: str = _NAMED


@click.command(
    epilog='Example:  ecluse account lock dr.martin --cluster --reason "passwords stolen, ticket 4711"'
)
@click.argument("logins", nargs=-1, metavar="LOGIN...")
@click.option(
    "--file",
    "--from",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also everybody in this file: one login a line, or CSV with a column login.",
)
@click.option(
    "--cluster", is_flag=True, help="Also every account that logged in with a device of these, lately."
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="LABEL",
    help="Also every account that logged in with this device, as the log names it.",
)
@click.option("--dry-run", is_flag=True, help="Lock nobody: tell who would be.")
@reason_option
@realm_option
@config_option
@json_option
def lock(
    logins: tuple[str, ...],
    path: Path | None,
    devices: tuple[str, ...],
    reason: str,
    realm_name: str | None,
    config_path: str,
    *,
    cluster: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Contain accounts: every session ends at once, on every node, and nobody gets in until unlock.

    Every account is tried. When the store's answer to one is lost, or no replica confirms it, the lock may have
    been done: that is said, and the same command makes it certain. Those that nobody invited are locked too, and
    named. --cluster and --device reach back as far as pools.linked_s: on a PC that a ward shares they take the ward,
    so look with --dry-run first when there is time, and prefer --device with the thief's. Leaves with 1 when any
    failed. When the audit log cannot record it, it is done all the same, said loudly, and the command leaves with 2.
    """
    if not logins and path is None and not devices:
        fail("name at least one LOGIN, a file with --file, or a device with --device", EXIT_FAULT)
    if strange := [label for label in devices if not _DEVICE.match(label)]:
        fail(f"{visible(strange[0])!r} is no device: the log names them by 16 hex digits", EXIT_FAULT)
    try:
        listed = read_logins(path) if path is not None else ()
    except LoginsRefused as refused:
        fail(f"{refused}; nothing was changed", EXIT_FAULT)

    async def work(office: Office) -> tuple[list[Row], int]:
        named = bool(logins or listed)
        asked = _asked(office, realm_of(office, realm_name), logins, path, listed) if named else []
        if path is None and any(one.person is None for one in asked):
            raise PeopleRefused([one.fault for one in asked if one.person is None])
        if dry_run:
            asked += await _linked(office, asked, devices, cluster=cluster)
            return [_row(one) | {"outcome": "would" if one.person else "failed"} for one in asked], EXIT_DONE
        with progress("accounts") as begin:
            advance = begin("locking")
            rows = await _lock_all(office, asked, reason, advance)
            # Those who are named do not wait for those who are looked for.
            more = await _linked(office, asked, devices, cluster=cluster)
            rows += await _lock_all(office, more, reason, lambda count: advance(len(asked) + count))
        asked += more
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


async def _linked(
    office: Office, asked: Sequence[_Asked], devices: Sequence[str], *, cluster: bool
) -> list[_Asked]:
    """Return who belongs to the accounts of *asked*, or logged in with one of *devices*, and is not among them."""
    linked_s = office.policy.pools.clusters.linked_s
    found: dict[str, str] = {}
    try:
        for label in devices:
            found |= dict.fromkeys(await accounts_on(office.store, label, linked_s), _ON_DEVICE)
        for one in asked:
            if cluster and one.person is not None:
                links = await links_of(office.store, one.person.ref.id, linked_s)
                found |= {account_id: _ON_DEVICE for each in links.devices for account_id in each.accounts}
                found |= dict.fromkeys(links.accounts, _CLUSTER)
        seen = {one.person.ref.id for one in asked if one.person is not None}
        more = []
        for account_id, because in found.items():
            known = await office.accounts.get(account_id) if account_id not in seen else None
            if known is not None:
                ref = AccountRef(known.realm, known.login, account_id)
                more.append(_Asked(known.login, "", Person(ref, Labels()), because=because))
    except (StoreEmptied, StoreUnavailable) as error:
        return [_Asked("", "", None, f"who shares devices could not be found: {error}", _CLUSTER)]
    return sorted(more, key=lambda one: one.typed)


async def _lock_all(
    office: Office, asked: Sequence[_Asked], reason: str, advance: Callable[[int], None]
) -> list[Row]:
    rows: list[Row] = []
    for first in range(0, len(asked), _TOGETHER):
        some = asked[first : first + _TOGETHER]
        rows += await asyncio.gather(*(_lock(office, one, reason) for one in some))
        advance(len(rows))
    return rows


def _row(asked: _Asked) -> Row:
    return {
        "login": visible(asked.typed) if asked.person is None else asked.person.ref.name,
        "outcome": "failed",
        "standing": None,
        "sessions_closed": 0,
        "known": "no",
        "because": asked.because,
        "fault": f"{asked.where}{visible(asked.fault)}" if asked.fault else None,
    }


async def _lock(office: Office, asked: _Asked, reason: str) -> Row:
    row = _row(asked)
    if asked.person is None:
        return row
    try:
        known = await office.accounts.get(asked.person.ref.id) is not None
    except (StoreEmptied, StoreUnavailable) as error:
        # A store that fails for one account may answer for the next.
        return row | {"fault": f"{asked.where}{error}"}
    try:
        done = await office.accounts.lock(asked.person.ref.id, reason, ref=asked.person.ref)
    except StoreEmptied as error:
        return row | {"fault": f"{asked.where}{error}"}
    except StoreUnavailable as error:
        # It was asked, and what became of it is not known: the answer was lost, or no replica confirmed it.
        return row | {
            "outcome": UNCERTAIN,
            "known": "yes" if known else "no",
            "fault": f"{asked.where}{error}",
        }
    locked = isinstance(done, Changed)
    return row | {
        "outcome": "done" if locked else "refused",
        "standing": done.standing.value,
        "sessions_closed": done.sessions_closed if isinstance(done, Changed) else 0,
        "known": "yes" if known else "no",
    }


def _tell(rows: Sequence[Row]) -> None:
    for row in rows:
        if row["outcome"] == UNCERTAIN:
            click.echo(
                f"perhaps locked: {row['login']}: it may have been done, and may not last; run the same command again "
                f"until it is done, which does no harm: {row['fault']}",
                err=True,
            )
        elif row["outcome"] not in {"done", UNRECORDED, "would"}:
            click.echo(f"not locked: {row['login']}: {row['fault'] or row['standing']}", err=True)
    strange = [
        str(row["login"]) for row in rows if row["outcome"] in {"done", UNRECORDED} and row["known"] == "no"
    ]
    if strange:
        click.echo(
            f"locked, but nobody had invited them, so look at the spelling: {', '.join(strange)}", err=True
        )
