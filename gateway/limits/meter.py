"""What one account uses of every window, exchange after exchange: as the store counts it, in constant time.

The store asks its sorted sets anew for each exchange; whoever reads weeks of them at once keeps the windows
moving instead. Pure, and tested against the oracles. Time must not run backwards.
"""

from collections import deque
from typing import Final

from gateway.limits.distinct import noted_ms, weigh_milli
from gateway.limits.windows import SUB_BUCKETS, bucket_of
from gateway.vocabulary.limits import PATIENT_CONTROLS, WINDOW_S, Charge, Control

COSTS: Final = {
    Control.ROWS_1H: "rows",
    Control.BYTES_1H: "bytes",
    Control.EXPORTS_24H: "exports",
    Control.PROBES_1H: "probes",
    Control.SIGHTINGS_1H: "sightings",
}
"""Which part of a charge each counter takes."""


class _Moving:
    """Members seen within a window: those that left are dropped when time is told."""

    def __init__(self, window_ms: int) -> None:
        self.inside: dict[bytes, int] = {}
        self._window_ms = window_ms
        self._coming: deque[tuple[int, bytes]] = deque()

    def forget(self, now_ms: int) -> None:
        since_ms = now_ms - self._window_ms
        while self._coming and self._coming[0][0] <= since_ms:
            at_ms, member = self._coming.popleft()
            if self.inside.get(member) == at_ms:
                del self.inside[member]

    def add(self, now_ms: int, member: bytes) -> None:
        if self.inside.get(member) != now_ms:
            self.inside[member] = now_ms
            self._coming.append((now_ms, member))


class Meter:
    """The moving windows of one account. *listed_weight_milli*: what a listed patient weighs."""

    def __init__(self, listed_weight_milli: int = 200) -> None:
        self._weight = listed_weight_milli
        self._seen = {one: _Moving(WINDOW_S[one] * 1000) for one in PATIENT_CONTROLS}
        self._opened = {one: _Moving(WINDOW_S[one] * 1000) for one in PATIENT_CONTROLS}
        self._spent: dict[Control, deque[list[int]]] = {one: deque() for one in COSTS}

    def after(self, now_us: int, charge: Charge) -> dict[Control, int]:
        """Return what *charge* would make of each control that it adds to.

        Thousandths of a patient, else the control's own unit. What adds nothing is left out: no cap stops it.
        """
        told: dict[Control, int] = {}
        if charge.opened or charge.listed:
            for control in PATIENT_CONTROLS:
                before, after = self._patients(now_us // 1000, control, charge)
                if after > before:
                    told[control] = after
        for control, name in COSTS.items():
            if cost := getattr(charge, name):
                told[control] = self._counted(now_us, control) + cost
        return told

    def commit(self, now_us: int, charge: Charge) -> None:
        """Write *charge* down, as the store does for what is released."""
        now_ms = noted_ms(now_us // 1000)
        for control in PATIENT_CONTROLS:
            for member in charge.opened:
                self._seen[control].add(now_ms, member)
                self._opened[control].add(now_ms, member)
            for member in charge.listed:
                self._seen[control].add(now_ms, member)
        for control, name in COSTS.items():
            if cost := getattr(charge, name):
                number, spent = bucket_of(now_us, WINDOW_S[control] * 1_000_000), self._spent[control]
                if spent and spent[-1][0] == number:
                    spent[-1][1] += cost
                else:
                    spent.append([number, cost])

    def _patients(self, now_ms: int, control: Control, charge: Charge) -> tuple[int, int]:
        seen, opened = self._seen[control], self._opened[control]
        seen.forget(now_ms)
        opened.forget(now_ms)
        new_opened = sum(member not in opened.inside for member in charge.opened)
        new = sum(
            member not in seen.inside for members in (charge.opened, charge.listed) for member in members
        )
        before = weigh_milli(len(seen.inside), len(opened.inside), self._weight)
        return before, before + weigh_milli(new, new_opened, self._weight)

    def _counted(self, now_us: int, control: Control) -> int:
        spent = self._spent[control]
        oldest = bucket_of(now_us, WINDOW_S[control] * 1_000_000) - SUB_BUCKETS
        while spent and spent[0][0] < oldest:
            spent.popleft()
        return sum(cost for _, cost in spent)
