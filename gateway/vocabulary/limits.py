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
    """OBSERVE decides and records ``would_...`` but changes nothing; ENFORCE acts."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Limit:
    """The hard bound of one control. *hard* is a whole number of its own unit: requests, patients, rows, bytes."""

    control: Control
    hard: int
    mode: Mode = Mode.ENFORCE


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

    *near*: controls that this charge took past 80 %. *would*: observed controls it crossed.
    """

    near: tuple[Control, ...] = ()
    would: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing was committed: *control* would have been crossed. *retry_after_s* is at least 1."""

    control: Control
    retry_after_s: int
    would: tuple[Control, ...] = ()
