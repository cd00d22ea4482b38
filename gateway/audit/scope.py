"""Who was exposed by some accounts in some period: events in, figures and one exposure per patient out.

Pure, and it streams. Events are taken one after the other in any order; what each shows of a patient comes
out as sights. Sights sorted by patient come back in and go out as exposures. What is held meanwhile grows
with the accounts, routes, addresses and hours concerned, never with the patients or the events.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from gateway.audit.describe import DEVICE, ON_DEVICE
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.records import RouteKind, Sensitivity

HOUR_MS = 3_600_000

Sight = tuple[str, int, str, int, str, int, int]
"""What one answer showed of one patient: patient, at_ms, writer, seq, how, context, bytes. Sorts by patient."""

Shown = tuple[tuple[str, ...], bool]
"""Which categories of somebody's data were shown, and whether a medical page was: what their letter depends on."""

OPENED, LISTED, EXPORTED = "opened", "listed", "exported"

_FINGERPRINTED = (
    "seq", "at_ms", "kind", "realm", "account", "establishment", "app", "route", "route_kind", "sensitivity",
    "opened", "rows", "bytes", "client", "policy_id", "operator", "reason",
)  # fmt: skip
_ACTS = frozenset(
    {
        EventKind.ACCOUNT_LOCKED,
        EventKind.ACCOUNT_UNLOCKED,
        EventKind.FACTOR_RESET,
        EventKind.SESSION_CLOSED,
        EventKind.INVITED,
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which accounts and when. *accounts* are canonical logins; *from_ms* is included, *to_ms* is not.

    *devices* are pseudonyms: what these accounts were shown counts only where it was shown on one of them.
    """

    accounts: tuple[str, ...]
    from_ms: int
    to_ms: int
    realm: str | None = None
    devices: tuple[str, ...] = ()

    def elsewhere(self, event: Mapping[str, Any]) -> bool:
        """Tell whether *event* shows something, on another device than those asked about."""
        return bool(self.devices) and event["kind"] in ON_DEVICE and device_of(event) not in self.devices


@dataclass(slots=True)
class Figures:
    """How much left. *answers* that named patients; *patients* distinct; *first_ms*, *last_ms* of the answers.

    *rows* and *bytes* are those of the answers, each counted once however many patients it named.
    """

    answers: int = 0
    opened: int = 0
    listed: int = 0
    exported: int = 0
    rows: int = 0
    bytes: int = 0
    patients: int = 0
    patients_opened: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def count(self, how: str, event: Mapping[str, Any]) -> None:
        """Add one answer that named patients."""
        self.answers += 1
        self.opened += how == OPENED
        self.listed += how == LISTED
        self.exported += how == EXPORTED
        self.rows += event.get("rows") or 0
        self.bytes += event.get("bytes") or 0
        at_ms = event["at_ms"]
        self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)
        self.last_ms = at_ms if self.last_ms is None else max(self.last_ms, at_ms)


@dataclass(frozen=True, slots=True)
class Context:
    """What the sights of many answers share."""

    realm: str
    account: str
    establishment: str
    app: str
    route: str
    kind: str
    sensitivity: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One patient: how often and when each way of showing happened, what it showed, and by which entries.

    *bytes* are those of every answer that named the patient, whoever else it named. *evidence* holds
    (writer, seq), in order of time.
    """

    patient: str
    opened: int
    listed: int
    exported: int
    first_ms: int
    last_ms: int
    categories: tuple[str, ...]
    medical: bool
    accounts: tuple[str, ...]
    apps: tuple[str, ...]
    establishments: tuple[str, ...]
    bytes: int
    evidence: tuple[tuple[str, int], ...]

    @property
    def shown(self) -> Shown:
        """Return what the letter to this patient depends on."""
        return self.categories, self.medical


@dataclass(slots=True)
class Door:
    """One route that showed patients."""

    app: str
    route: str
    kind: str
    sensitivity: str
    categories: tuple[str, ...]
    figures: Figures = field(default_factory=Figures)


@dataclass(slots=True)
class Hour:
    """One hour of the period in which patients were shown: *answers*, and *patients* seen for the first time."""

    answers: int = 0
    patients: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator, or the failure budget, did to one of the accounts."""

    at_ms: int
    kind: str
    account: str
    operator: str
    reason: str
    evidence: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything the events told but the list of patients.

    *kinds* counts every event of the accounts. *nobody* counts answers of revealing routes that named
    nobody; *sighted* the pieces (NIR, telephone, e-mail) on pages that no route declares, which no
    patient can be tied to. *unsafe* counts methods that change things. *letters* counts patients by what
    was shown of them. *evidence* is, by writer: entries, first and last seq.
    """

    asked: Asked
    total: Figures
    accounts: dict[tuple[str, str], Figures]
    apps: dict[str, Figures]
    establishments: dict[str, Figures]
    doors: tuple[Door, ...]
    categories: dict[str, int]
    letters: dict[Shown, int]
    hours: dict[int, Hour]
    clients: dict[str, int]
    kinds: dict[str, dict[str, int]]
    acts: tuple[Act, ...]
    nobody: int
    sighted: dict[str, int]
    unsafe: int
    medical: Figures
    policies: tuple[str, ...]
    evidence: dict[str, tuple[int, int, int]]


def device_of(event: Mapping[str, Any]) -> str | None:
    """Return the pseudonym of the device that *event* tells of."""
    found = (event.get("detail") or {}).get(DEVICE)
    return found if isinstance(found, str) else None


def fingerprint(event: Mapping[str, Any]) -> int:
    """Return a number that tells one event from another by everything a scope is made of.

    The sum of those of many events does not depend on their order: two readings of a log can be compared.
    """
    values = [*(event.get(name) for name in _FINGERPRINTED), device_of(event)]
    lists = [sorted(set(event.get("patients") or ())), sorted(event.get("categories") or ())]
    return int.from_bytes(hashlib.sha256(msgspec.json.encode([values, lists])).digest())


class Survey:
    """Takes events, gives sights; takes sights sorted by patient, gives exposures; then knows the scope."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._contexts: dict[Context, int] = {}
        self._known: list[Context] = []
        self._figures: dict[Context, tuple[Figures, ...]] = {}
        self._total, self._medical = Figures(), Figures()
        self._accounts: dict[tuple[str, str], Figures] = {}
        self._apps: dict[str, Figures] = {}
        self._establishments: dict[str, Figures] = {}
        self._doors: dict[tuple[str, str, str, str], Door] = {}
        self._categories: Counter[str] = Counter()
        self._letters: Counter[Shown] = Counter()
        self._hours: dict[int, Hour] = {}
        self._clients: Counter[str] = Counter()
        self._kinds: dict[str, Counter[str]] = {}
        self._acts: list[Act] = []
        self._nobody = 0
        self._sighted: Counter[str] = Counter()
        self._unsafe = 0
        self._policies: set[str] = set()
        self._evidence: dict[str, tuple[int, int, int]] = {}

    def take(self, event: Mapping[str, Any]) -> list[Sight]:
        """Count *event* (as ``query.ask`` gives it) and return what it showed, a sight for each patient.

        Events of other accounts or moments are passed over.
        """
        asked, account, kind = self._asked, event.get("account"), event["kind"]
        if account not in asked.accounts or not asked.from_ms <= event["at_ms"] < asked.to_ms:
            return []
        if asked.realm is not None and event.get("realm") != asked.realm:
            return []
        if asked.elsewhere(event):
            return []
        self._kinds.setdefault(account, Counter())[kind] += 1
        if policy_id := event.get("policy_id"):
            self._policies.add(policy_id)
        if kind == EventKind.ACCESS:
            if patients := event.get("patients"):
                return self._show(event, sorted(set(patients)))
            self._nobody += 1
        elif kind == EventKind.SIGHTED:
            self._sighted["answers"] += 1
            for name, text in sorted((event.get("detail") or {}).items()):
                if name != DEVICE:
                    self._sighted[name] += int(text) if text.isdecimal() else 0
        elif kind == EventKind.UNSAFE_SENT:
            self._unsafe += 1
        elif kind in _ACTS and (event.get("operator") or kind == EventKind.ACCOUNT_LOCKED):
            self._acts.append(
                Act(
                    event["at_ms"], kind, account, event.get("operator") or "", event.get("reason") or "",
                    (event["writer"], event["seq"]),
                )
            )  # fmt: skip
        return []

    def _show(self, event: Mapping[str, Any], patients: list[str]) -> list[Sight]:
        writer, seq, at_ms = event["writer"], event["seq"], event["at_ms"]
        context = Context(
            event.get("realm") or "",
            event["account"],
            event.get("establishment") or "",
            event.get("app") or "",
            event.get("route") or "",
            event.get("route_kind") or "",
            event.get("sensitivity") or "",
            tuple(sorted(event.get("categories") or ())),
        )
        opened = event.get("opened")
        is_record = opened if opened is not None else context.kind == RouteKind.RECORD
        how = EXPORTED if context.kind == RouteKind.EXPORT else OPENED if is_record else LISTED
        door = self._door_of(context)
        door.categories = tuple(sorted({*door.categories, *context.categories}))
        for figures in (self._total, door.figures, *self._figures_of(context)):
            figures.count(how, event)
        if context.sensitivity == Sensitivity.MEDICAL:
            self._medical.count(how, event)
        self._hours.setdefault(at_ms // HOUR_MS * HOUR_MS, Hour()).answers += 1
        if client := event.get("client"):
            self._clients[client] += 1
        count, first, last = self._evidence.get(writer, (0, seq, seq))
        self._evidence[writer] = (count + 1, min(first, seq), max(last, seq))
        number = self._contexts.get(context)
        if number is None:
            number = self._contexts[context] = len(self._known)
            self._known.append(context)
        size_bytes = event.get("bytes") or 0
        return [(patient, at_ms, writer, seq, how, number, size_bytes) for patient in patients]

    def _door_of(self, context: Context) -> Door:
        key = (context.app, context.route, context.kind, context.sensitivity)
        door = self._doors.get(key)
        if door is None:
            door = self._doors[key] = Door(*key, context.categories)
        return door

    def _figures_of(self, context: Context) -> tuple[Figures, ...]:
        return (
            self._accounts.setdefault((context.realm, context.account), Figures()),
            self._apps.setdefault(context.app, Figures()),
            self._establishments.setdefault(context.establishment, Figures()),
        )

    def group(self, sights: Iterable[Sight]) -> Iterator[Exposure]:
        """Yield one exposure for each patient of *sights*, which must be sorted."""
        for patient, seen in groupby(sights, key=itemgetter(0)):
            yield self._exposure(patient, list(seen))

    def _exposure(self, patient: str, seen: list[Sight]) -> Exposure:
        ways = Counter(how for _, _, _, _, how, _, _ in seen)
        opened_by = {number for _, _, _, _, how, number, _ in seen if how == OPENED}
        numbers = {number for _, _, _, _, _, number, _ in seen}
        contexts = [self._known[number] for number in sorted(numbers)]
        categories = tuple(sorted({name for context in contexts for name in context.categories}))
        medical = any(context.sensitivity == Sensitivity.MEDICAL for context in contexts)
        opening = [self._known[number] for number in sorted(opened_by)]
        self._count_patient(contexts, opening, medical=medical)
        for name in categories:
            self._categories[name] += 1
        self._letters[categories, medical] += 1
        self._hours[seen[0][1] // HOUR_MS * HOUR_MS].patients += 1
        return Exposure(
            patient=patient,
            opened=ways[OPENED],
            listed=ways[LISTED],
            exported=ways[EXPORTED],
            first_ms=seen[0][1],
            last_ms=seen[-1][1],
            categories=categories,
            medical=medical,
            accounts=tuple(sorted({context.account for context in contexts})),
            apps=tuple(sorted({context.app for context in contexts})),
            establishments=tuple(sorted({context.establishment for context in contexts} - {""})),
            bytes=sum(size_bytes for *_, size_bytes in seen),
            evidence=tuple((writer, seq) for _, _, writer, seq, _, _, _ in seen),
        )

    def _count_patient(self, contexts: list[Context], opening: list[Context], *, medical: bool) -> None:
        # Every figure counts a patient once, however many contexts lead to it.
        shown = {id(figures): figures for context in contexts for figures in self._all_of(context)}
        opened = {id(figures): figures for context in opening for figures in self._all_of(context)}
        for figures in shown.values():
            figures.patients += 1
        for figures in opened.values():
            figures.patients_opened += 1
        self._medical.patients += medical
        self._medical.patients_opened += any(
            context.sensitivity == Sensitivity.MEDICAL for context in opening
        )

    def _all_of(self, context: Context) -> tuple[Figures, ...]:
        known = self._figures.get(context)
        if known is None:
            known = (self._total, *self._figures_of(context), self._door_of(context).figures)
            self._figures[context] = known
        return known

    def scope(self) -> Scope:
        """Return what was counted. Everything stands in an order of its own, whatever the events' was."""
        return Scope(
            asked=self._asked,
            total=self._total,
            accounts=dict(sorted(self._accounts.items())),
            apps=dict(sorted(self._apps.items())),
            establishments=dict(sorted(self._establishments.items())),
            doors=tuple(self._doors[key] for key in sorted(self._doors)),
            categories=dict(sorted(self._categories.items())),
            letters=dict(sorted(self._letters.items())),
            hours=dict(sorted(self._hours.items())),
            clients=dict(sorted(self._clients.items(), key=lambda item: (-item[1], item[0]))),
            kinds={name: dict(sorted(counted.items())) for name, counted in sorted(self._kinds.items())},
            acts=tuple(sorted(self._acts, key=lambda act: (act.at_ms, act.evidence))),
            nobody=self._nobody,
            sighted=dict(sorted(self._sighted.items())),
            unsafe=self._unsafe,
            medical=self._medical,
            policies=tuple(sorted(self._policies)),
            evidence=dict(sorted(self._evidence.items())),
        )
