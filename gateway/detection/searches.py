"""Many searches that show one patient or none: names or numbers are being tried."""

import msgspec

HOUR_MS = 3_600_000


class Searched(msgspec.Struct):
    """When the last narrow searches were made, oldest first, in milliseconds."""

    at_ms: list[int] = []


def judge(state: Searched, at_ms: int, most: int) -> int | None:
    """Note a search at *at_ms*; return how many there were within an hour, from *most* on."""
    state.at_ms = [*state.at_ms[1 - most :], at_ms] if most > 1 else [at_ms]
    within = sum(at_ms - each < HOUR_MS for each in state.at_ms)
    return within if within >= most else None
