"""The classes of accounts that exist without being written: the numbers of the hard column."""

from types import MappingProxyType
from typing import Final

from gateway.configuration.schema import ClassSpec, LimitValue
from gateway.vocabulary.limits import Control, Limit, LimitSet

_STANDARD: Final = {
    Control.REQUESTS: 60,
    Control.PATIENTS_10MIN: 40,
    Control.PATIENTS_1H: 120,
    Control.PATIENTS_24H: 300,
    Control.PATIENTS_7D: 1_000,
    Control.ROWS_1H: 2_000,
    Control.BYTES_1H: 100_000_000,
    Control.EXPORTS_24H: 20,
    Control.PROBES_1H: 60,
    Control.SIGHTINGS_1H: 200,
}
_HEAVY: Final = {**_STANDARD, Control.PATIENTS_24H: 600, Control.PATIENTS_7D: 2_500}
# Nobody has proven to be more than a password here, so a quarter of everything but requests.
_GRACE: Final = {
    control: hard if control is Control.REQUESTS else hard // 4 for control, hard in _STANDARD.items()
}

BUILT_IN: Final = MappingProxyType({"standard": _STANDARD, "heavy": _HEAVY, "grace": _GRACE})


def compile_classes(written: dict[str, ClassSpec]) -> dict[str, LimitSet]:
    """Return the classes of a realm by name: the built-in ones, and *written*, which may replace them."""
    unwritten = {
        name: LimitSet(name, tuple(Limit(control, hard) for control, hard in numbers.items()))
        for name, numbers in BUILT_IN.items()
    }
    return unwritten | {name: _compile_class(name, spec) for name, spec in written.items()}


def _compile_class(name: str, spec: ClassSpec) -> LimitSet:
    limits = []
    for control, hard in BUILT_IN[spec.based_on].items():
        own: LimitValue | None = getattr(spec, control.value.replace("-", "_"))
        number = own.hard if own is not None else hard
        mode = own.mode if own is not None and own.mode is not None else spec.mode
        limits.append(Limit(control, number, mode))
    return LimitSet(name, tuple(limits), round(spec.listed_weight * 1_000))
