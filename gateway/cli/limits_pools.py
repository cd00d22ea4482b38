"""What ``ecluse limits show`` tells of those who are counted together with an account."""

from collections.abc import Sequence
from typing import Any

from gateway.accounts.account import Account
from gateway.assembly.office import Office
from gateway.cli.common import time_text
from gateway.limits.links import links_of
from gateway.limits.measures import pool_states
from gateway.limits.pooled import alike, pooled
from gateway.limits.store import Used, pool_usage
from gateway.limits.widened import widened
from gateway.vocabulary.limits import PATIENT_CONTROLS, LimitSet, Pool


async def pools_of(
    office: Office, account: Account, limits: LimitSet, *, strict: bool, plan_blanc: bool, extra: int
) -> dict[str, Any]:
    """Return the devices and the cluster of *account*, and what is used of each pool that it is in.

    *limits* are the usual ones of the account; *extra* is what an emergency access adds, in patients.
    """
    pools = office.policy.pools
    state = int(strict) + 2 * int(plan_blanc)
    bounds = {
        pool: widened(pool_states(pool, one, office.policy.measures)[state], extra)
        for pool, one in pooled(pools, limits).items()
    }
    links = await links_of(office.store, account.id, pools.clusters.linked_s)

    async def used(pool: Pool, name: str) -> list[dict[str, Any]]:
        held = bounds.get(pool)
        return [] if held is None else rows_of(held, await pool_usage(office.store, pool, name, held))

    found = {
        "devices": [
            {
                "device": one.label,
                "last_login": time_text(one.at_ms),
                "accounts": len(one.accounts),
                "limits": await used(Pool.DEVICE, one.label),
            }
            for one in links.devices
        ],
        "cluster": {
            "logins": sorted([await _login(office, one) for one in links.accounts]),
            "limits": await used(Pool.CLUSTER, links.cluster),
        }
        if links.cluster
        else None,
        "establishment": {
            "label": account.establishment,
            "limits": await used(Pool.ESTABLISHMENT, account.establishment),
        }
        if account.establishment
        else None,
    }
    return found | {"site": {"limits": await used(Pool.SITE, "")}}


async def _login(office: Office, account_id: str) -> str:
    found = await office.accounts.get(account_id)
    return account_id if found is None else found.login


def rows_of(
    held: LimitSet, used: Sequence[Used], sources: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return a row for each limit of *held*: what is used of it, its bounds, and where they come from if told."""
    found, rows = {one.control: one for one in used}, []
    for at, limit in enumerate(held.limits):
        used_milli = found[limit.control].used_milli
        patients = alike(limit.control) in PATIENT_CONTROLS
        row: dict[str, Any] = {
            "control": limit.control.value,
            "used": used_milli / 1000 if patients else used_milli // 1000,
            "soft": limit.soft if limit.soft is not None and limit.soft < limit.hard else None,
            "hard": limit.hard,
            "mode": limit.mode.value,
        }
        rows.append(row if sources is None else row | {"from": sources[at]})
    return rows
