"""The shape of what is said about measures: the strict posture, a plan blanc."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import Seconds
from gateway.vocabulary.limits import Control
from gateway.vocabulary.measures import PlanBlancRule, StrictRule

_STRICT, _PLAN = StrictRule(), PlanBlancRule()
_CEILINGS = dict(_PLAN.ceilings)
Ceiling = Annotated[int, Field(gt=0, le=1_000_000_000_000)]


class Cap(StrEnum):
    """Every control but the limit of requests, as keys are spelt."""

    PATIENTS_10MIN = "patients_10min"
    PATIENTS_1H = "patients_1h"
    PATIENTS_24H = "patients_24h"
    PATIENTS_7D = "patients_7d"
    ROWS_1H = "rows_1h"
    BYTES_1H = "bytes_1h"
    EXPORTS_24H = "exports_24h"
    PROBES_1H = "probes_1h"
    SIGHTINGS_1H = "sightings_1h"

    @property
    def control(self) -> Control:
        """Return the control it names."""
        return Control(self.value.replace("_", "-"))


class PostureSpec(Spec):
    """What `ecluse posture strict` does to everybody."""

    caps_share: Annotated[float, Field(gt=0, le=1, strict=False)] = _STRICT.caps_share_milli / 1_000
    """What is left of every cap, soft and hard, in steps of 0.001; the limit of requests stays."""
    idle_s: Seconds = _STRICT.idle_s
    """Seconds without a request after which a session ends; never more than the realm's."""
    absolute_s: Seconds = _STRICT.absolute_s
    """Seconds after which a session ends whatever happens; never more than the realm's."""


class CeilingSpec(Spec):
    """What no plan blanc raises a hard bound above; a bound that is higher anyway stays where it is."""

    patients_10min: Ceiling = _CEILINGS[Control.PATIENTS_10MIN]
    """Distinct patients per 10 minutes."""
    patients_1h: Ceiling = _CEILINGS[Control.PATIENTS_1H]
    """Distinct patients per hour."""
    patients_24h: Ceiling = _CEILINGS[Control.PATIENTS_24H]
    """Distinct patients per 24 hours."""
    patients_7d: Ceiling = _CEILINGS[Control.PATIENTS_7D]
    """Distinct patients per 7 days."""
    rows_1h: Ceiling = _CEILINGS[Control.ROWS_1H]
    """Rows listed per hour."""
    bytes_1h: Ceiling = _CEILINGS[Control.BYTES_1H]
    """Bytes per hour."""
    exports_24h: Ceiling = _CEILINGS[Control.EXPORTS_24H]
    """Exports per 24 hours."""
    probes_1h: Ceiling = _CEILINGS[Control.PROBES_1H]
    """Probes per hour."""
    sightings_1h: Ceiling = _CEILINGS[Control.SIGHTINGS_1H]
    """Sightings per hour."""


class PlanBlancSpec(Spec):
    """What `ecluse plan-blanc` does to the accounts of an establishment, for a while."""

    times: Annotated[float, Field(ge=1, le=10, strict=False)] = _PLAN.times_milli / 1_000
    """How many times their hard bounds become, in steps of 0.001; soft ones keep their share."""
    raises: list[Cap] = [cap for cap in Cap if cap.control in _PLAN.raises]
    """Which caps it raises."""
    ceiling: CeilingSpec = CeilingSpec()
    """What it raises none of them above."""
