"""``ecluse limits show``: which bounds hold an account, where they come from, and how much of them is used."""

import json
from collections.abc import Sequence
from typing import Any

import click

from gateway.accounts.account import Account
from gateway.assembly import Office
from gateway.cli import EXIT_DONE, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.account_office import people_of, realm_of, realm_option, run, time_text
from gateway.limits.links import links_of
from gateway.limits.pooled import alike, pooled
from gateway.limits.scaled import QUARANTINE_MILLI, scaled
from gateway.limits.store import Used, pool_usage, usage
from gateway.limits.widened import widened
from gateway.vocabulary.limits import PATIENT_CONTROLS, LimitSet, Pool


@click.command(epilog="Example:  ecluse limits show dr.martin")
@click.argument("login")
@realm_option
@config_option
@json_option
def show(login: str, realm_name: str | None, config_path: str, *, as_json: bool) -> int:
    """Tell which bounds hold LOGIN and how much of each is used now; what the account owes, what it may break; and
    how much all together have used who share a device, a cluster, the establishment or the site with it.
    """

    async def work(office: Office) -> dict[str, Any] | None:
        realm = realm_of(office, realm_name)
        [asked] = people_of(office, realm, [login])
        account = await office.accounts.get(asked.ref.id)
        if account is None:
            return None
        now_ms = office.clock.now_ms()
        chosen = account.account_class if account.account_class in realm.classes else realm.default_class
        written = realm.classes[chosen]
        open_glass = account.glass_until_ms is not None and account.glass_until_ms > now_ms
        until_ms = (account.enrolled_ms or 0) + realm.quarantine_s * 1000
        quarantined = account.enrolled_ms is not None and now_ms < until_ms
        held = scaled(written, QUARANTINE_MILLI) if quarantined else written
        held = widened(held, account.glass_patients) if open_glass else held
        return {
            "login": account.login,
            "class": chosen,
            "from": _origin(account.account_class, chosen),
            "quarantine_until": time_text(until_ms) if quarantined else None,
            "limits": _rows(held, await usage(office.store, account.id, held)),
            **await _pools(office, account, written, account.glass_patients if open_glass else 0),
            "owes_until": time_text(account.owes_until_ms) if _later(account.owes_until_ms, now_ms) else None,
            "owes_why": account.owes_why if _later(account.owes_until_ms, now_ms) else None,
            "break_glass_until": time_text(account.glass_until_ms) if open_glass else None,
            "break_glass_left": account.glass_left(now_ms, written.break_glass.per_24h)
            if written.break_glass is not None
            else None,
        }

    told = run(config_path, work)
    if told is None:
        fail(f"nobody is known as {login}: look at the spelling with 'ecluse account list'", EXIT_REFUSED)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        _print(told)
    return EXIT_DONE


def _later(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms > now_ms


def _origin(own: str | None, chosen: str) -> str:
    if own is None:
        return "the realm's default_class: the account has none of its own"
    return "the account" if own == chosen else f"the realm's default_class: there is no class {own}"


async def _pools(office: Office, account: Account, limits: LimitSet, extra: int) -> dict[str, Any]:
    """Return the devices and the cluster of *account*, and what is used of each pool that it is in."""
    pools = office.policy.pools
    bounds = {pool: widened(one, extra) for pool, one in pooled(pools, limits).items()}
    links = await links_of(office.store, account.id, pools.clusters.linked_s)

    async def used(pool: Pool, name: str) -> list[dict[str, Any]]:
        held = bounds.get(pool)
        return [] if held is None else _rows(held, await pool_usage(office.store, pool, name, held))

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


def _rows(held: LimitSet, used: Sequence[Used]) -> list[dict[str, Any]]:
    found = {one.control: one for one in used}
    rows = []
    for limit in held.limits:
        used_milli = found[limit.control].used_milli
        patients = alike(limit.control) in PATIENT_CONTROLS
        rows.append(
            {
                "control": limit.control.value,
                "used": used_milli / 1000 if patients else used_milli // 1000,
                "soft": limit.soft if limit.soft is not None and limit.soft < limit.hard else None,
                "hard": limit.hard,
                "mode": limit.mode.value,
            }
        )
    return rows


def _print(told: dict[str, Any]) -> None:
    click.echo(f"{told['login']}: class {told['class']}, from {told['from']}")
    if told["quarantine_until"]:
        click.echo(f"in quarantine until {told['quarantine_until']}: half of every cap")
    if told["owes_until"]:
        click.echo(f"owes a fresh code until {told['owes_until']}: {told['owes_why']}")
    if told["break_glass_until"]:
        click.echo(f"break-glass open until {told['break_glass_until']}")
    if told["break_glass_left"] is not None:
        click.echo(f"break-glass still allowed {told['break_glass_left']} times in these 24 hours")
    _print_table(told["limits"])
    for one in told["devices"]:
        click.echo(
            f"\ndevice {one['device']}, last login {one['last_login']}, shared by {one['accounts']} accounts"
        )
        _print_table(one["limits"])
    if told["cluster"] is not None:
        click.echo(f"\ncluster of {', '.join(told['cluster']['logins'])}")
        _print_table(told["cluster"]["limits"])
    if told["establishment"] is not None:
        click.echo(f"\nestablishment {told['establishment']['label']}")
        _print_table(told["establishment"]["limits"])
    click.echo("\nthe whole site")
    _print_table(told["site"]["limits"])


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    table = [["control", "used", "soft", "hard", "mode"]]
    table += [["-" if cell is None else f"{cell}" for cell in row.values()] for row in rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
