"""What a run of mixed traffic came to: compared with the logs, verified, and told."""

from collections import Counter
from dataclasses import dataclass, field

from loadtest.endurance import memory
from loadtest.endurance.site import Site
from loadtest.endurance.tally import Tally

INSPECTING = frozenset({"gateway", "worker", "supervisor", "edge"})
"""What may not grow. The store holds what it is there to hold: whom each account saw."""
GROWTH_MB, GROWTH_SHARE = 12.0, 0.08
"""What a site may grow by after the warm-up, whichever is more."""


@dataclass
class Run:
    """One gateway, its people, and what was seen."""

    site: Site
    tally: Tally
    workers: int
    samples: memory.Samples = field(default_factory=memory.Samples)
    reloads: int = 0
    served: int = 0
    audited: int = 0
    faults: list[str] = field(default_factory=list)


async def settle(runs: list[Run], *, judge_growth: bool) -> None:
    """Compare with the logs, now that all of them are closed, and verify those."""
    for one in runs:
        name = one.site.name
        found = one.site.compared(one.tally.received)
        one.served, one.audited = found.served, found.audited
        one.faults += [f"{name}: received, not recorded: {who} {len(ids)}" for who, ids in found.unaudited]
        one.faults += [f"{name}: recorded, not received: {who} {len(ids)}" for who, ids in found.unserved]
        code, said = await one.site.types("audit", "verify")
        if code:
            one.faults.append(f"{name}: audit verify left with {code}: {said[:300]}")
        if judge_growth:
            grown = memory.growth(one.samples.totals(INSPECTING))
            if grown.last_mb - grown.first_mb > max(GROWTH_MB, grown.first_mb * GROWTH_SHARE):
                one.faults.append(f"{name}: memory grew from {grown.first_mb:.1f} to {grown.last_mb:.1f} MB")


def told_of(runs: list[Run], minutes: float) -> dict[str, object]:
    """Return the figures of all of them, and of each."""
    total = memory.Growth(0.0, 0.0, 0.0, 0.0)
    sites, acts = {}, Counter[str]()
    for one in runs:
        grown = memory.growth(one.samples.totals(INSPECTING))
        total = memory.Growth(
            total.first_mb + grown.first_mb, total.last_mb + grown.last_mb,
            total.most_mb + grown.most_mb, total.mb_an_hour + grown.mb_an_hour,
        )  # fmt: skip
        acts += one.tally.acts
        sites[one.site.name] = {
            "requests": one.tally.requests, "wrong": one.tally.wrong, "failed": one.tally.failed,
            "served": one.served, "audited": one.audited, "reloads": one.reloads,
            "mb_first": round(grown.first_mb, 1), "mb_last": round(grown.last_mb, 1),
            "mb_most": round(grown.most_mb, 1), "mb_an_hour": round(grown.mb_an_hour, 1),
            "mb_by_process": {kind: round(mb, 1) for kind, mb in sorted(one.samples.taken[-1][1].items())},
        }  # fmt: skip
    return {
        "minutes": minutes,
        **{key: sum(getattr(one.tally, key) for one in runs) for key in ("requests", "wrong", "failed")},
        "served": sum(one.served for one in runs),
        "audited": sum(one.audited for one in runs),
        "mb_first": round(total.first_mb, 1),
        "mb_last": round(total.last_mb, 1),
        "mb_an_hour": round(total.mb_an_hour, 1),
        "acts": dict(acts.most_common()),
        "sites": sites,
        "faults": [words for one in runs for words in (*one.tally.told, *one.faults)],
    }
