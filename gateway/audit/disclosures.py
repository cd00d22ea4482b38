"""What the trail tells about one patient: who saw the record, when, through which app, and which data. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import StrEnum
from typing import Any

from gateway.vocabulary.events import EventKind


class Manner(StrEnum):
    """How a patient came to stand in an event."""

    OPENED = "opened"
    LISTED = "listed"
    CHANGED = "changed"
    """A request that changes something was sent to the app; its answer is told apart."""
    REJECTED = "rejected"
    """The app answered that there is nothing to see: it revealed nobody."""
    KEPT_BACK = "kept-back"
    """The gateway refused or withheld it: nothing left."""
    CONSULTED = "consulted"
    """Not the record: somebody asked this log about the patient."""


_KEPT_BACK = frozenset({EventKind.WITHHELD, EventKind.REFUSED, EventKind.CHALLENGED, EventKind.FAIL_CLOSED})


@dataclass(frozen=True, slots=True)
class Disclosure:
    """All that one account did in one manner through one app on one day.

    *first* and *last* are moments in the zone that was asked for; *operator* instead of *account* for commands.
    """

    day: date
    manner: Manner
    account: str | None
    account_class: str | None
    establishment: str | None
    operator: str | None
    app: str | None
    first: datetime
    last: datetime
    times: int
    categories: tuple[str, ...]
    is_medical: bool


def manner(access: dict[str, Any]) -> Manner | None:
    """Return how the patient came to stand in *access*, a row of accesses; None when that tells of no act."""
    kind = access.get("kind")
    if kind == EventKind.ACCESS:
        if access.get("status", 200) >= 400:
            return Manner.REJECTED
        return Manner.OPENED if access.get("opened") else Manner.LISTED
    if kind == EventKind.UNSAFE_SENT:
        return Manner.CHANGED
    if kind == EventKind.AUDIT_QUERIED:
        return Manner.CONSULTED
    return Manner.KEPT_BACK if kind in _KEPT_BACK else None


def disclosures(accesses: Iterable[dict[str, Any]], zone: tzinfo) -> list[Disclosure]:
    """Return *accesses*, rows in order of time, told by day, manner, account and app; days are those of *zone*."""
    told: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for access in accesses:
        if (how := manner(access)) is not None:
            who = (
                access.get(name) for name in ("account", "account_class", "establishment", "operator", "app")
            )
            told.setdefault((_moment(access, zone).date(), how, *who), []).append(access)
    return [_disclosure(rows, zone) for rows in told.values()]


def _disclosure(rows: list[dict[str, Any]], zone: tzinfo) -> Disclosure:
    first = rows[0]
    how = manner(first)
    if how is None:
        raise ValueError("these rows tell of no act")
    return Disclosure(
        day=_moment(first, zone).date(),
        manner=how,
        account=first.get("account"),
        account_class=first.get("account_class"),
        establishment=first.get("establishment"),
        operator=first.get("operator"),
        app=first.get("app"),
        first=_moment(first, zone),
        last=_moment(rows[-1], zone),
        times=len(rows),
        categories=tuple(sorted({name for row in rows for name in row.get("categories", ())})),
        is_medical=any(row.get("sensitivity") == "medical" for row in rows),
    )


def _moment(access: dict[str, Any], zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(access["at_ms"] / 1000, UTC).astimezone(zone)
