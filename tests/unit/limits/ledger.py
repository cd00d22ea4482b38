"""The oracles put together: every limit checked, then everything written or nothing, as limits.lua must do it."""

from collections import defaultdict
from collections.abc import Sequence

from gateway.limits import distinct, gcra, windows
from gateway.limits.measured import Measured
from gateway.limits.pooled import alike
from gateway.vocabulary.limits import (
    PATIENT_CONTROLS,
    WINDOW_S,
    Asked,
    Charge,
    Control,
    Exhausted,
    Limit,
    LimitSet,
    Mode,
    Outcome,
    Spent,
)

_COSTS = {
    Control.ROWS_1H: "rows",
    Control.BYTES_1H: "bytes",
    Control.EXPORTS_24H: "exports",
    Control.PROBES_1H: "probes",
    Control.SIGHTINGS_1H: "sightings",
}


class Ledger:
    """The memory of one account, or of a pool. *spend* answers as the store does."""

    def __init__(self) -> None:
        self.arrival_us: int | None = None
        self.spent: dict[Control, dict[int, int]] = defaultdict(dict)
        self.seen: dict[bytes, int] = {}
        self.opened: dict[bytes, int] = {}

    def spend(
        self,
        now_us: int,
        limits: LimitSet,
        charge: Charge,
        requests: int = 0,
        *,
        stepped: bool = False,
        pools: Sequence[tuple["Ledger", LimitSet]] = (),
    ) -> Outcome:
        measured = {one: self._measure(one, now_us, limits, charge, requests) for one in limits.limits}
        for shared, bounds in pools:
            measured |= {one: shared._measure(one, now_us, bounds, charge, 0) for one in bounds.limits}
        touched = {one: use for one, use in measured.items() if use is not None}
        pooled = {one for _, bounds in pools for one in bounds.limits}
        would = tuple(
            one.control
            for one, use in touched.items()
            if use.crossed and one.mode is not Mode.ENFORCE and (one not in pooled or use.before <= use.hard)
        )
        would_ask = tuple(
            one.control for one, use in touched.items() if use.reaches_soft and one.mode is Mode.OBSERVE
        )
        denied = [(one, use) for one, use in touched.items() if use.crossed and one.mode is Mode.ENFORCE]
        if denied:
            one, use = max(denied, key=lambda pair: pair[1].retry_us)
            return Exhausted(one.control, max(1, -(-use.retry_us // 1_000_000)), would, would_ask)
        asking = [
            one.control
            for one, use in touched.items()
            if use.past_soft and one.mode is not Mode.OBSERVE and not stepped
        ]
        withheld = [control for control in asking if control is not Control.REQUESTS]
        if withheld:
            return Asked(withheld[0], would, would_ask)
        self._commit(now_us, limits, charge, requests, touched)
        for shared, bounds in pools:
            shared._commit(now_us, bounds, charge, 0, touched)
        near = tuple(one.control for one, use in touched.items() if use.near)
        return Spent(near, would, would_ask, tuple(asking))

    def _measure(
        self, limit: Limit, now_us: int, limits: LimitSet, charge: Charge, requests: int
    ) -> Measured | None:
        control, hard, soft = limit.control, limit.hard, limit.soft
        if control is Control.REQUESTS:
            return gcra.measure(self.arrival_us, now_us, hard, soft) if requests else None
        if alike(control) in PATIENT_CONTROLS:
            return distinct.measure(
                self.seen,
                self.opened,
                now_us // 1000,
                WINDOW_S[control] * 1000,
                charge.opened,
                charge.listed,
                listed_weight_milli=limits.listed_weight_milli,
                hard=hard,
                soft=soft,
            )
        cost = getattr(charge, _COSTS[control])
        window_us = WINDOW_S[control] * 1_000_000
        return windows.measure(self.spent[control], now_us, window_us, cost, hard, soft) if cost else None

    def _commit(
        self, now_us: int, limits: LimitSet, charge: Charge, requests: int, touched: dict[Limit, Measured]
    ) -> None:
        for one in limits.limits:
            if one.control is Control.REQUESTS and requests and not touched[one].crossed:
                self.arrival_us = now_us + touched[one].after
        for control, name in _COSTS.items():
            cost = getattr(charge, name)
            if cost:
                number = windows.bucket_of(now_us, WINDOW_S[control] * 1_000_000)
                self.spent[control][number] = self.spent[control].get(number, 0) + cost
        second_ms = distinct.noted_ms(now_us // 1000)
        for member in (*charge.opened, *charge.listed):
            self.seen[member] = second_ms
        for member in charge.opened:
            self.opened[member] = second_ms
