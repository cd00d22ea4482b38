"""What the ``ecluse account`` commands share: opening the office, naming people, telling events."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from gateway.accounts.account import Account
from gateway.accounts.store import Labels
from gateway.assembly.office import Office, open_for_operator
from gateway.audit.operator import local_user
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_FAULT, fail
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
