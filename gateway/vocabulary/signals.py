"""What looks wrong in an account's use, and what may be done about it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Signal(StrEnum):
    """The closed list of signals. Values are stable: they stand in the log and in alerts."""

    ENUMERATION = "enumeration"
    """Patients new to the account, opened along their numbers."""
    PACE = "pace"
    """Records opened faster, or more regularly, than a person reads."""
    SEARCHES = "searches"
    """Many searches that show one patient or none."""
    BREADTH = "breadth"
    """Far more patients in a day than anybody of the class."""
    NEW_NETWORK = "new-network"
    """From where the account never came before."""
    NEW_DEVICE = "new-device"
    """With a browser that neither the account nor its establishment works with."""
    UNUSUAL_HOURS = "unusual-hours"
    """At an hour at which neither the account nor its class works."""
    POOLED = "pooled"
    """Those who share a device with the account saw together all that they may."""
    CANARY = "canary"
    """A decoy was opened or exported."""


class SignalMode(StrEnum):
    """OFF looks at nothing; OBSERVE tells and does nothing; ACT counts for the score, or acts at once for a decoy."""

    OFF = "off"
    OBSERVE = "observe"
    ACT = "act"


class Act(StrEnum):
    """What is done to an account."""

    ASK = "ask"
    """It owes a fresh code before it sees another patient."""
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class SignalRule:
    """*weight* is added to an account's score while the signal lasts, *lasts_s* seconds after it was last seen."""

    mode: SignalMode = SignalMode.ACT
    weight: int = 0
    lasts_s: int = 3_600


HALF_DAY_S = 43_200


def _default_rules() -> dict[Signal, SignalRule]:
    return {
        Signal.ENUMERATION: SignalRule(weight=60),
        Signal.PACE: SignalRule(weight=60),
        Signal.SEARCHES: SignalRule(weight=40),
        Signal.BREADTH: SignalRule(weight=40, lasts_s=HALF_DAY_S),
        Signal.NEW_NETWORK: SignalRule(weight=30, lasts_s=HALF_DAY_S),
        Signal.NEW_DEVICE: SignalRule(weight=20, lasts_s=HALF_DAY_S),
        Signal.UNUSUAL_HOURS: SignalRule(weight=30),
        Signal.POOLED: SignalRule(weight=100, lasts_s=HALF_DAY_S),
        Signal.CANARY: SignalRule(lasts_s=0),
    }


@dataclass(frozen=True, slots=True)
class Rules:
    """When a signal fires, what it weighs, and at which score an account is asked for a code, or locked.

    *ask_at* and *lock_at* are scores; *ask_for_s* is how long the code stays owed, *settled_s* how long one that was
    given answers for what was seen. Events older than *act_within_s* are learned from, never acted on, but
    for decoys. *walk_patients* new patients along their numbers; *paced_patients* openings whose mean distance
    is under *fast_ms*, or whose spread is under *regular_percent* of their mean; *searches_1h* searches;
    *breadth_times* spreads above the class's median, and at least *breadth_least* patients;
    *known_logins* of the last ten logins were with a known device.
    """

    signals: dict[Signal, SignalRule] = field(default_factory=_default_rules)
    timezone: str = "Europe/Paris"
    ask_at: int = 60
    lock_at: int = 150
    ask_for_s: int = 3_600
    settled_s: int = 3_600
    act_within_s: int = 300
    walk_patients: int = 8
    paced_patients: int = 20
    fast_ms: int = 5_000
    regular_percent: int = 25
    searches_1h: int = 60
    breadth_times: int = 8
    breadth_least: int = 20
    known_logins: int = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """A signal that fired for an account, once until it has lasted.

    *figures* are named numbers, in the order in which the sentence needs them; *event* names the entry that made
    it fire (``WRITER:SEQ``). *mode* is OBSERVE or ACT.
    """

    signal: Signal
    mode: SignalMode
    realm: str
    account: str
    at_ms: int
    event: str
    figures: tuple[tuple[str, int], ...] = ()
    account_class: str | None = None
    establishment: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done to an account now. *signals* are those that made *score*, the heaviest first."""

    act: Act
    realm: str
    account: str
    at_ms: int
    score: int
    signals: tuple[Signal, ...]
