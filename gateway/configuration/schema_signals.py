"""The shape of what is said about signals: what looks wrong in an account's use, and what is then done."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import Seconds, TimeZone
from gateway.vocabulary.signals import HALF_DAY_S, Rules, SignalMode

_RULES = Rules()
Score = Annotated[int, Field(ge=1, le=10_000)]
Weight = Annotated[int, Field(ge=0, le=1_000)]
Count = Annotated[int, Field(ge=2, le=1_000)]


class EnumerationSpec(Spec):
    """Patients new to the account, opened along their numbers."""

    mode: SignalMode = SignalMode.ACT
    """`act` counts for the score, `observe` only records, `off` does not look."""
    weight: Weight = 60
    """What it adds to the account's score while it lasts."""
    lasts_s: Seconds = 3_600
    """Seconds for which it counts after it was last seen."""
    patients: Annotated[int, Field(ge=2, le=24)] = _RULES.walk_patients
    """So many new patients of a walk; the gateway looks back over 24 numbers, and tells a walk from eight on."""


class PaceSpec(Spec):
    """Records opened faster, or more regularly, than a person reads."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 60
    """What it adds to the score."""
    lasts_s: Seconds = 3_600
    """Seconds for which it counts."""
    patients: Annotated[int, Field(ge=5, le=200)] = _RULES.paced_patients
    """Over how many openings of different patients it is measured."""
    fast_ms: Annotated[int, Field(ge=0, le=600_000)] = _RULES.fast_ms
    """Milliseconds between two openings, on average, under which nobody has read."""
    regular_percent: Annotated[int, Field(ge=0, le=100)] = _RULES.regular_percent
    """Spread of the distances, in per cent of their mean, under which it is a program; people have 60 and more."""


class SearchesSpec(Spec):
    """Many searches that show one patient or none."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 40
    """What it adds to the score."""
    lasts_s: Seconds = 3_600
    """Seconds for which it counts."""
    per_hour: Count = _RULES.searches_1h
    """So many within an hour."""


class BreadthSpec(Spec):
    """Far more patients in a day than anybody of the class."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 40
    """What it adds to the score."""
    lasts_s: Seconds = HALF_DAY_S
    """Seconds for which it counts."""
    times: Annotated[int, Field(ge=1, le=100)] = _RULES.breadth_times
    """So many median absolute deviations above the median of the class's days."""
    at_least: Annotated[int, Field(ge=1, le=10_000)] = _RULES.breadth_least
    """Patients in a day below which nothing is said."""


class NewNetworkSpec(Spec):
    """From a network (/24, or /48 of IPv6) from which the account never came before."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 30
    """What it adds to the score."""
    lasts_s: Seconds = HALF_DAY_S
    """Seconds for which it counts."""


class NewDeviceSpec(Spec):
    """A login with a browser that neither the account nor its establishment works with."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 20
    """What it adds to the score."""
    lasts_s: Seconds = HALF_DAY_S
    """Seconds for which it counts."""
    known_logins: Annotated[int, Field(ge=1, le=10)] = _RULES.known_logins
    """So many of the account's last ten logins in the app were with a known one; else it has no usual device."""


class UnusualHoursSpec(Spec):
    """At an hour at which neither the account nor its class works."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 30
    """What it adds to the score."""
    lasts_s: Seconds = 3_600
    """Seconds for which it counts."""


class PooledSpec(Spec):
    """The hard bound of a device or a cluster was met: those who share one saw together all that they may."""

    mode: SignalMode = SignalMode.ACT
    """`act`, `observe` or `off`."""
    weight: Weight = 100
    """What it adds to the score of each account that meets the bound."""
    lasts_s: Seconds = HALF_DAY_S
    """Seconds for which it counts."""


class CanarySpec(Spec):
    """Decoys, set by `ecluse canary add`: opening or exporting one locks the account at once."""

    mode: SignalMode = SignalMode.ACT
    """`act` locks the account, `observe` only records, `off` does not look."""


SignalSpec = (
    EnumerationSpec
    | PaceSpec
    | SearchesSpec
    | BreadthSpec
    | NewNetworkSpec
    | NewDeviceSpec
    | UnusualHoursSpec
    | PooledSpec
)


class SignalsSpec(Spec):
    """What looks wrong in the log, watched by `ecluse audit watch`, and what is then done."""

    watcher: Literal["on", "off"] = "on"
    """`on`: `ecluse serve` runs `ecluse audit watch` beside it; `off`: you run it, or nobody watches."""
    timezone: TimeZone = "Europe/Paris"
    """Where the hours of work are local."""
    ask_at: Score = _RULES.ask_at
    """Score at which an account is asked for a fresh code."""
    lock_at: Score = _RULES.lock_at
    """Score at which it is locked, if it was asked and gave the code within the last 24 hours."""
    ask_for_s: Seconds = _RULES.ask_for_s
    """Seconds for which the code stays owed."""
    settled_s: Seconds = _RULES.settled_s
    """Seconds after a code in which the account is not asked again."""
    enumeration: EnumerationSpec = EnumerationSpec()
    """Patients new to the account, opened along their numbers."""
    pace: PaceSpec = PaceSpec()
    """Records opened faster, or more regularly, than a person reads."""
    searches: SearchesSpec = SearchesSpec()
    """Many searches that show one patient or none."""
    breadth: BreadthSpec = BreadthSpec()
    """Far more patients in a day than anybody of the class."""
    new_network: NewNetworkSpec = NewNetworkSpec()
    """From where the account never came before."""
    new_device: NewDeviceSpec = NewDeviceSpec()
    """With a browser that neither the account nor its establishment works with."""
    unusual_hours: UnusualHoursSpec = UnusualHoursSpec()
    """At an hour at which neither the account nor its class works."""
    pooled: PooledSpec = PooledSpec()
    """Those who share a device saw together all that they may."""
    canary: CanarySpec = CanarySpec()
    """Decoys: opening or exporting one locks the account at once."""
