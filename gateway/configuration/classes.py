"""The classes of accounts that exist without being written: the numbers of both columns."""

from types import MappingProxyType
from typing import Final

from gateway.configuration.schema_realm import ClassSpec, LimitValue
from gateway.vocabulary.limits import BreakGlass, Control, Limit, LimitSet

Bounds = tuple[int, int]
"""The soft bound and the hard one; the same number twice: nobody is asked."""

_STANDARD: Final[dict[Control, Bounds]] = {
    Control.REQUESTS: (30, 60),
    Control.PATIENTS_10MIN: (40, 80),
    Control.PATIENTS_1H: (60, 120),
    Control.PATIENTS_24H: (100, 200),
    Control.PATIENTS_7D: (200, 400),
    Control.ROWS_1H: (600, 2_000),
    Control.BYTES_1H: (30_000_000, 100_000_000),
    Control.EXPORTS_24H: (5, 20),
    Control.PROBES_1H: (20, 60),
    Control.SIGHTINGS_1H: (100, 200),
}
_HEAVY: Final[dict[Control, Bounds]] = {
    **_STANDARD,
    Control.PATIENTS_1H: (80, 120),
    Control.PATIENTS_24H: (300, 450),
    Control.PATIENTS_7D: (700, 1_000),
}
# Nobody has proven to be more than a password here, so a quarter of everything but requests; nobody has a code to
# be asked for either, so there is one bound.
_GRACE: Final[dict[Control, Bounds]] = {
    control: (hard, hard) if control is Control.REQUESTS else (hard // 4, hard // 4)
    for control, (_, hard) in _STANDARD.items()
}

BUILT_IN: Final = MappingProxyType({"standard": _STANDARD, "heavy": _HEAVY, "grace": _GRACE})
SOFT_SHARE: Final = 0.5
"""Where the soft bound lies when only the hard one is written."""


def compile_classes(written: dict[str, ClassSpec]) -> dict[str, LimitSet]:
    """Return the classes of a realm by name: the built-in ones, and *written*, which may replace them."""
    unwritten = {
        name: LimitSet(
            name, tuple(Limit(control, hard, soft=soft) for control, (soft, hard) in numbers.items())
        )
        for name, numbers in BUILT_IN.items()
    }
    return unwritten | {name: _compile_class(name, spec) for name, spec in written.items()}


def _compile_class(name: str, spec: ClassSpec) -> LimitSet:
    limits = []
    for control, built_in in BUILT_IN[spec.based_on].items():
        own: LimitValue | None = getattr(spec, control.value.replace("-", "_"))
        mode = own.mode if own is not None and own.mode is not None else spec.mode
        soft, hard = _bounds(own, built_in, spec.soft_share)
        limits.append(Limit(control, hard, mode, soft))
    glass = BreakGlass(spec.break_glass_patients, spec.break_glass_s, spec.break_glass_per_24h)
    return LimitSet(
        name, tuple(limits), round(spec.listed_weight * 1_000), glass if spec.break_glass else None
    )


def _bounds(own: LimitValue | None, built_in: Bounds, share: float | None) -> Bounds:
    """Return the bounds of one limit: what is written, else a share of the hard one, else the built-in ones."""
    if own is None:
        hard = built_in[1]
        return built_in if share is None else (round(hard * share), hard)
    if own.soft is not None:
        return own.soft, own.hard
    return round(own.hard * (SOFT_SHARE if share is None else share)), own.hard
