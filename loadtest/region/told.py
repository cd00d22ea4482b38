"""What the region's bench prints: thieves, honest people, other caps, and what is off."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from loadtest.region.honest import Days, Staff
from loadtest.region.proxy import RealTime
from loadtest.region.rivals import RequestLimit, gone_with, gone_without
from loadtest.region.thieves import BEGIN_US, Gang, Loot
from loadtest.region.watching import Watcher
from loadtest.region.world import DAY_S, HOUR_S, SECOND_US

_LEGEND: Final = (
    "soft at: patients of that account gone when a fresh code would have been asked for.",
    "stop at: patients gone when an answer was first withheld.",
    "sign s: seconds to the first line of the log that says more than an access.",
    "alarm s: seconds until the watcher first acts on one of the accounts (asks for a code, or locks), and alerts.",
    "one device, ten in turn: all ten log in with one browser, which ties them together; the others have one each.",
)
_MOMENTS: Final = {"1 h": HOUR_S, "1 day": DAY_S, "Monday 9 h": 62 * HOUR_S}
TARGETS: Final[dict[str, tuple[float, str]]] = {
    "fast_per_account": (
        300,
        "patients a fast thief takes from one account in a week",
    ),
    "shuffled_cluster": (
        600,
        "patients a fast thief who follows no numbers takes with ten accounts on a device",
    ),
    "slow_week_per_account": (1_000, "patients a slow drip takes from one account in a week"),
    "hard_block_days_per_10000": (1, "professional-days in 10 000 with a wrong hard block"),
    "soft_prompt_days_per_200": (1, "professional-days in 200 with a soft prompt"),
}
"""The issue's targets that this tree can be judged by. Linking and alarms are judged when they exist."""


def thieves(gangs: Sequence[Gang], watcher: Watcher, limit: RequestLimit) -> None:
    """Print what each gang carried away, with the caps, with a limit on requests, and with nothing."""
    print("\nThieves: patients gone of ten accounts with codes, in a week from Friday 19 h.")
    print(
        f"limit: {limit.rate_m} requests a minute and a burst of {limit.burst} per account, "
        "the tightest for honest work."
    )
    heads = (f"{'thief':18}", *(f"{word:>9}" for word in ("soft at", "stop at", "sign s")), f"{'alarm s':>9}")
    more = (f"{'acct ' + word:>16}" for word in _MOMENTS)
    print("".join((*heads, *more, f"{'acct week':>10}{'all week':>9}{'limit':>9}{'nothing':>9}  stopped by")))
    for gang in gangs:
        loots = list(gang.loot.values())
        most = max(loots, key=Loot.gone)
        moments = (max(one.gone(BEGIN_US + s * SECOND_US) for one in loots) for s in _MOMENTS.values())
        stops = sum((one.stops for one in loots), Counter[str]())
        print("".join((
            f"{gang.plan.name:18}",
            f"{_before(most, most.first_soft_us):>9}{_before(most, most.first_stop_us):>9}",
            f"{_seconds(most.first_sign_us):>9}{_alarm(gang, watcher):>9}",
            *(f"{count:>16}" for count in moments),
            f"{most.gone():>10}{sum(map(Loot.gone, loots)):>9}",
            f"{gone_with(gang.plan, limit):>9}{gone_without(gang.plan):>9}",
            "  " + ", ".join(name for name, _ in stops.most_common(3)),
        )))  # fmt: skip
    for line in _LEGEND:
        print(line)


def honest(regions: Sequence[Staff]) -> None:
    """Print on how many professional-days of each kind somebody was asked or stopped."""
    print("\nHonest professional-days of all seeds, with a soft prompt and with a wrong hard block:")
    for name in sorted({name for region in regions for name in region.days}):
        each = [region.days[name] for region in regions if name in region.days]
        kind = next(region.profiles[name] for region in regions if name in region.profiles)
        days, soft, hard = (sum(map(len, found)) for found in (
            (one.worked for one in each), (one.soft for one in each), (one.hard for one in each)))  # fmt: skip
        merged = Days()
        for at, one in enumerate(each):
            merged.soft |= {(f"{at}.{who}", day): control for (who, day), control in one.soft.items()}
            merged.hard |= {(f"{at}.{who}", day): control for (who, day), control in one.hard.items()}
        print(f"  {name:20} {kind.account_class:9} {days:6} days, soft {soft:4} {merged.by(merged.soft):44} "
              f"hard {hard:3} {merged.by(merged.hard)}".rstrip())  # fmt: skip
    print(f"  soft prompts in 200 days: {_spread([200 * one.soft / one.worked for one in regions])} over the seeds; "
          f"wrong blocks in 10 000: {_spread([10_000 * one.hard / one.worked for one in regions])}")  # fmt: skip


def real_time(real: RealTime, virtual: Gang) -> None:
    """Print the fast thief at the real door beside the one in virtual time."""
    loot = next(iter(virtual.loot.values()))
    print(
        f"\nIn real time through the proxy, a fast thief with codes gets {real.patients} patients in {real.seconds} s "
        f"and is then refused {real.refused} times; the bounds of ten minutes are {real.soft} and {real.cap}. "
        f"In virtual time, watched, a code is asked for at {_before(loot, loot.first_soft_us)}."
    )


def result(
    gangs: Sequence[Gang], watcher: Watcher, regions: Sequence[Staff], limit: RequestLimit
) -> dict[str, Any]:
    """Return the figures of the last line."""
    by_name = {gang.plan.name: gang for gang in gangs}
    fast, slow, tied = by_name["fast"], by_name["slow drip"], by_name["shuffled, one dev"]
    worked = sum(one.worked for one in regions)
    return {
        "fast_per_account": max(map(Loot.gone, fast.loot.values())),
        "fast_cluster": sum(map(Loot.gone, fast.loot.values())),
        "shuffled_cluster": sum(map(Loot.gone, tied.loot.values())),
        "slow_week_per_account": max(map(Loot.gone, slow.loot.values())),
        "slow_alarm_day": _day(_alarms(slow, watcher)),
        "hard_block_days_per_10000": round(10_000 * sum(one.hard for one in regions) / worked, 2),
        "soft_prompt_days_per_200": round(200 * sum(one.soft for one in regions) / worked, 2),
        "request_limit_fast_cluster": gone_with(fast.plan, limit),
    }


def faults(found: dict[str, Any]) -> list[str]:
    """Return which targets are missed, in words."""
    return [
        f"{found[name]} {words}; the target is at most {most:g}"
        for name, (most, words) in TARGETS.items()
        if found[name] > most
    ]


def _before(loot: Loot, at_us: int | None) -> str:
    return "-" if at_us is None else str(loot.gone(at_us))


def _seconds(at_us: int | None) -> str:
    return "-" if at_us is None else str((at_us - BEGIN_US) // SECOND_US)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _alarms(gang: Gang, watcher: Watcher) -> list[int]:
    """Return when the watcher first acted on each account, in seconds since the thieves began."""
    found = (watcher.acted_since(name, BEGIN_US) for name in gang.loot)
    return sorted((at_us - BEGIN_US) // SECOND_US for at_us in found if at_us is not None)


def _alarm(gang: Gang, watcher: Watcher) -> str:
    found = _alarms(gang, watcher)
    return str(found[0]) if found else "-"


def _day(alarms: Sequence[int]) -> int | None:
    return alarms[0] // DAY_S + 1 if alarms else None
