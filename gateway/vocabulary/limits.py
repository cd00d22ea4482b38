"""How much in how long, by one account or by those that are counted together."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Control(StrEnum):
    """The closed list of limits and caps: per account across the apps of a realm (behaviour, part 6), then those of
    each pool of accounts."""

    REQUESTS = "requests-10s"
    PATIENTS_10MIN = "patients-10min"
    PATIENTS_1H = "patients-1h"
    PATIENTS_24H = "patients-24h"
    PATIENTS_7D = "patients-7d"
    ROWS_1H = "rows-1h"
    BYTES_1H = "bytes-1h"
    EXPORTS_24H = "exports-24h"
    PROBES_1H = "probes-1h"
    SIGHTINGS_1H = "sightings-1h"
    DEVICE_PATIENTS_10MIN = "device-patients-10min"
    DEVICE_PATIENTS_1H = "device-patients-1h"
    DEVICE_PATIENTS_24H = "device-patients-24h"
    DEVICE_PATIENTS_7D = "device-patients-7d"
    CLUSTER_PATIENTS_10MIN = "cluster-patients-10min"
    CLUSTER_PATIENTS_1H = "cluster-patients-1h"
    CLUSTER_PATIENTS_24H = "cluster-patients-24h"
    CLUSTER_PATIENTS_7D = "cluster-patients-7d"
    ESTABLISHMENT_PATIENTS_10MIN = "establishment-patients-10min"
    ESTABLISHMENT_PATIENTS_1H = "establishment-patients-1h"
    ESTABLISHMENT_PATIENTS_24H = "establishment-patients-24h"
    ESTABLISHMENT_PATIENTS_7D = "establishment-patients-7d"
    SITE_PATIENTS_10MIN = "site-patients-10min"
    SITE_PATIENTS_1H = "site-patients-1h"
    SITE_PATIENTS_24H = "site-patients-24h"
    SITE_PATIENTS_7D = "site-patients-7d"


_ACCOUNT_WINDOW_S: dict[Control, int] = {
    Control.REQUESTS: 10,
    Control.PATIENTS_10MIN: 600,
    Control.PATIENTS_1H: 3_600,
    Control.PATIENTS_24H: 86_400,
    Control.PATIENTS_7D: 604_800,
    Control.ROWS_1H: 3_600,
    Control.BYTES_1H: 3_600,
    Control.EXPORTS_24H: 86_400,
    Control.PROBES_1H: 3_600,
    Control.SIGHTINGS_1H: 3_600,
}

PATIENT_CONTROLS = (
    Control.PATIENTS_10MIN,
    Control.PATIENTS_1H,
    Control.PATIENTS_24H,
    Control.PATIENTS_7D,
)

ACCOUNT_CONTROLS = tuple(_ACCOUNT_WINDOW_S)
"""Those that hold one account."""


class Pool(StrEnum):
    """Whose patients are counted together."""

    DEVICE = "device"
    """Everybody who logs in with one browser."""
    CLUSTER = "cluster"
    """Accounts that logged in with the same devices."""
    ESTABLISHMENT = "establishment"
    SITE = "site"
    """Everybody."""


POOL_CONTROLS: dict[Pool, tuple[Control, ...]] = {
    pool: tuple(Control(f"{pool.value}-{one.value}") for one in PATIENT_CONTROLS) for pool in Pool
}
"""The controls of each pool, in the order of PATIENT_CONTROLS, whose windows they have."""

POOLED_CONTROLS = tuple(control for controls in POOL_CONTROLS.values() for control in controls)

WINDOW_S: dict[Control, int] = _ACCOUNT_WINDOW_S | {
    pooled: _ACCOUNT_WINDOW_S[one]
    for controls in POOL_CONTROLS.values()
    for pooled, one in zip(controls, PATIENT_CONTROLS, strict=True)
}


class Mode(StrEnum):
    """OBSERVE decides and records but changes nothing; SOFT asks for a fresh code past the soft bound and only
    observes the hard one; ENFORCE acts on both."""

    OBSERVE = "observe"
    SOFT = "soft"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Limit:
    """The bounds of one control, whole numbers of its own unit: requests, patients, rows, bytes.

    Past *soft* a fresh code and a reason are wanted, past *hard* nothing leaves. *soft* None, or not below
    *hard*: nobody is asked.
    """

    control: Control
    hard: int
    mode: Mode = Mode.ENFORCE
    soft: int | None = None


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """How far a class may go past its hard bounds on patients: *patients* more for *for_s* seconds, each time,
    *per_24h* times in any 24 hours."""

    patients: int = 50
    for_s: int = 3_600
    per_24h: int = 2


@dataclass(frozen=True, slots=True)
class LimitSet:
    """All limits of one account class. *break_glass* None: nobody goes past a hard bound.

    *listed_weight_milli*: what a listed patient weighs, in thousandths of an opened one.
    """

    name: str
    limits: tuple[Limit, ...]
    listed_weight_milli: int = 200
    break_glass: BreakGlass | None = None

    def __hash__(self) -> int:
        # What it becomes is looked up several times in every exchange, and always for the same few objects.
        return hash((self.name, self.listed_weight_milli, len(self.limits)))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Accounts that logged in with one device within *linked_s* are one cluster, of at most *accounts_most*."""

    accounts_most: int = 20
    linked_s: int = 604_800


@dataclass(frozen=True, slots=True)
class Pools:
    """What holds accounts that are counted together: limits on patients, by pool, in the order of the enumeration.

    Never by network address: a hospital is one. *least_accounts*: a device and a cluster may see what so many accounts
    of the class of whoever asks may see, whatever is written.
    """

    limits: dict[Pool, tuple[Limit, ...]]
    clusters: Clusters = Clusters()
    least_accounts: int = 2

    def __hash__(self) -> int:
        return hash((self.least_accounts, len(self.limits)))


NO_POOLS = Pools({})


class Charge(msgspec.Struct, frozen=True):
    """What one response would spend.

    *opened* and *listed* are 8-byte patient members (disclosure.pseudonym), disjoint and distinct.
    """

    opened: tuple[bytes, ...] = ()
    listed: tuple[bytes, ...] = ()
    rows: int = 0
    bytes: int = 0
    exports: int = 0
    probes: int = 0
    sightings: int = 0


class Spent(msgspec.Struct, frozen=True):
    """The charge was committed.

    *near*: controls that this charge took past 80 % of their hard bound. *would*: observed controls whose hard
    bound it crossed; *would_ask*: observed ones that it took past their soft bound. *asks*: the limit of requests
    is past its soft bound; requests are counted all the same, and asked about at the doors that name patients.
    """

    near: tuple[Control, ...] = ()
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()
    asks: tuple[Control, ...] = ()


class Exhausted(msgspec.Struct, frozen=True):
    """Nothing was committed: the hard bound of *control* would have been crossed. *retry_after_s* is at least 1."""

    control: Control
    retry_after_s: int
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """Nothing was committed: this goes past the soft bound of *control*, and no fresh code was given."""

    control: Control
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


Outcome = Spent | Exhausted | Asked
"""What becomes of a charge."""
