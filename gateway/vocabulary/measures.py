"""What operators put in force for a while over what the configuration says: the strict posture, a plan blanc."""

from dataclasses import dataclass, field

from gateway.vocabulary.limits import Control


@dataclass(frozen=True, slots=True)
class StrictRule:
    """What the strict posture makes of everybody: *caps_share_milli* thousandths of every cap, sessions at most
    *idle_s* without a request and *absolute_s* in all, and a fresh code from every session."""

    caps_share_milli: int = 500
    idle_s: int = 600
    absolute_s: int = 14_400


@dataclass(frozen=True, slots=True)
class PlanBlancRule:
    """What a plan blanc makes of the accounts of its establishment.

    The hard bounds in *raises* become *times_milli* thousandths of themselves, soft ones keep their share; none
    comes above its *ceilings*, none is lowered to it.
    """

    times_milli: int = 3_000
    raises: frozenset[Control] = frozenset(
        {
            Control.PATIENTS_10MIN,
            Control.PATIENTS_1H,
            Control.PATIENTS_24H,
            Control.PATIENTS_7D,
            Control.ROWS_1H,
            Control.BYTES_1H,
            Control.SIGHTINGS_1H,
        }
    )
    ceilings: tuple[tuple[Control, int], ...] = (
        (Control.PATIENTS_10MIN, 120),
        (Control.PATIENTS_1H, 360),
        (Control.PATIENTS_24H, 1_500),
        (Control.PATIENTS_7D, 5_000),
        (Control.ROWS_1H, 6_000),
        (Control.BYTES_1H, 300_000_000),
        (Control.EXPORTS_24H, 60),
        (Control.PROBES_1H, 180),
        (Control.SIGHTINGS_1H, 600),
    )


@dataclass(frozen=True, slots=True)
class MeasureRules:
    """What each measure does, as the configuration has it; whether it is in force stands in the store."""

    strict: StrictRule = field(default_factory=StrictRule)
    plan_blanc: PlanBlancRule = field(default_factory=PlanBlancRule)

    def __hash__(self) -> int:
        return hash((self.strict.caps_share_milli, self.plan_blanc.times_milli))
