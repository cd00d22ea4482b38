"""How much in how long."""

from dataclasses import dataclass
from enum import StrEnum


class Control(StrEnum):
    """The closed list of limits and caps, all per account across the apps of a realm (behaviour, part 6)."""

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


WINDOW_S: dict[Control, int] = {
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
class LimitSet:
    """All limits of one account class.

    *listed_weight_milli*: what a listed patient weighs, in thousandths of an opened one.
    """

    name: str
    limits: tuple[Limit, ...]
    listed_weight_milli: int = 200


@dataclass(frozen=True, slots=True)
class Charge:
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


@dataclass(frozen=True, slots=True)
class Spent:
    """The charge was committed.

    *near*: controls that this charge took past 80 % of their hard bound. *would*: observed controls whose hard
    bound it crossed; *would_ask*: observed ones that it took past their soft bound. *asks*: the limit of requests
    is past its soft bound; requests are counted all the same, and asked about at the doors that name patients.
    """

    near: tuple[Control, ...] = ()
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()
    asks: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing was committed: the hard bound of *control* would have been crossed. *retry_after_s* is at least 1."""

    control: Control
    retry_after_s: int
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Nothing was committed: this goes past the soft bound of *control*, and no fresh code was given."""

    control: Control
    would: tuple[Control, ...] = ()
    would_ask: tuple[Control, ...] = ()


Outcome = Spent | Exhausted | Asked
"""What becomes of a charge."""
