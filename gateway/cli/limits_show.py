"""``ecluse limits show``: which bounds hold an account, where they come from, and how much of them is used."""

import json
from collections.abc import Sequence
from typing import Any

import click

from gateway.accounts.account import Account
from gateway.assembly.office import Office
from gateway.cli import EXIT_DONE, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.account_office import people_of, realm_of, run
from gateway.cli.account_people import PeopleRefused
from gateway.cli.common import realm_option, time_text
from gateway.cli.limits_pools import pools_of, rows_of
from gateway.limits.in_force import MeasureStore
from gateway.limits.measures import held as held_under
from gateway.limits.scaled import QUARANTINE_MILLI, scaled
from gateway.limits.store import usage
from gateway.limits.widened import widened
from gateway.policy import caps
from gateway.policy.policy import Realm


@click.command(epilog="Example:  ecluse limits show dr.martin --app parcours")
@click.argument("login")
@click.option("--app", help="At this app; without it what holds where no rule names an app.")
@realm_option
@config_option
@json_option
def show(login: str, app: str | None, realm_name: str | None, config_path: str, *, as_json: bool) -> int:
    """Tell which bounds hold LOGIN now, which rule gave each, how much is used; what the account owes or may break.

    It also tells how much all together have used who share a device, a cluster, the establishment or the site with it.
    """

    async def work(office: Office) -> dict[str, Any] | None:
        realm = realm_of(office, realm_name)
        _known_app(office, realm, app)
        [asked] = people_of(office, realm, [login])
        account = await office.accounts.get(asked.ref.id)
        return None if account is None else await _told(office, realm, account, app)

    told = run(config_path, work)
    if told is None:
        fail(f"nobody is known as {login}: look at the spelling with 'ecluse account list'", EXIT_REFUSED)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        _print(told)
    return EXIT_DONE


def _known_app(office: Office, realm: Realm, app: str | None) -> None:
    names = sorted(one.name for one in office.policy.apps.values() if one.realm == realm.name)
    if app is not None and app not in names:
        raise PeopleRefused([f"there is no app {app} in realm {realm.name}: one of {', '.join(names)}"])


async def _told(office: Office, realm: Realm, account: Account, app: str | None) -> dict[str, Any]:
    now_ms = office.clock.now_ms()
    chosen = account.account_class if account.account_class in realm.classes else realm.default_class
    minute = caps.local_minute(now_ms, realm.timezone)
    usual = realm.classes[chosen]

    def at(name: str | None) -> caps.Resolved:
        return caps.resolve(usual, realm.caps, caps.Place(chosen, name, account.establishment, minute))

    resolved = at(app)
    others = [one.name for one in office.policy.apps.values() if one.realm == realm.name and one.name != app]
    in_force = await MeasureStore(office.store).read()
    plan, strict_ms = in_force.plan_of(account.establishment), in_force.strict_since_ms
    open_glass = account.glass_until_ms is not None and account.glass_until_ms > now_ms
    until_ms = (account.enrolled_ms or 0) + realm.quarantine_s * 1000
    quarantined = account.enrolled_ms is not None and now_ms < until_ms
    under = held_under(
        resolved.limits, office.policy.measures, strict=strict_ms is not None, plan_blanc=plan is not None
    )
    measure = "strict" if plan is None else "plan blanc" if strict_ms is None else "strict and plan blanc"
    slow = scaled(under, QUARANTINE_MILLI) if quarantined else under
    held = widened(slow, account.glass_patients) if open_glass else slow
    sources = [f"class {chosen}" if name is None else f"rule {name}" for name in resolved.sources]
    # In the order in which the store applies them.
    steps = ((measure, resolved.limits, under), ("quarantine", under, slow), ("break-glass", slow, held))
    for word, before, after in steps:
        pairs = zip(sources, before.limits, after.limits, strict=True)
        sources = [source if old == new else f"{source}, {word}" for source, old, new in pairs]
    return {
        "login": account.login,
        "class": chosen,
        "from": _origin(account.account_class, chosen),
        "establishment": account.establishment,
        "app": app,
        "other_apps": sorted(name for name in others if at(name) != resolved),
        "strict_since": time_text(strict_ms),
        "plan_blanc_until": time_text(plan.until_ms) if plan is not None else None,
        "quarantine_until": time_text(until_ms) if quarantined else None,
        "limits": rows_of(held, await usage(office.store, account.id, held), sources),
        "shared": await pools_of(
            office,
            account,
            resolved.limits,
            strict=strict_ms is not None,
            plan_blanc=plan is not None,
            extra=account.glass_patients if open_glass else 0,
        ),
        "owes_until": time_text(account.owes_until_ms) if _later(account.owes_until_ms, now_ms) else None,
        "owes_why": account.owes_why if _later(account.owes_until_ms, now_ms) else None,
        "break_glass_until": time_text(account.glass_until_ms) if open_glass else None,
        "break_glass_left": account.glass_left(now_ms, usual.break_glass.per_24h)
        if usual.break_glass is not None
        else None,
    }


def _later(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms > now_ms


def _origin(own: str | None, chosen: str) -> str:
    if own is None:
        return "the realm's default_class: the account has none of its own"
    return "the account" if own == chosen else f"the realm's default_class: there is no class {own}"


def _print(told: dict[str, Any]) -> None:
    click.echo(f"{told['login']}: class {told['class']}, from {told['from']}")
    if told["strict_since"]:
        click.echo(f"strict posture since {told['strict_since']}: lower caps, shorter sessions, a fresh code")
    if told["plan_blanc_until"]:
        word = "no more than the usual caps" if told["strict_since"] else "raised caps"
        click.echo(f"plan blanc of {told['establishment']} until {told['plan_blanc_until']}: {word}")
    if told["quarantine_until"]:
        click.echo(f"in quarantine until {told['quarantine_until']}: half of every cap")
    if told["owes_until"]:
        click.echo(f"owes a fresh code until {told['owes_until']}: {told['owes_why']}")
    if told["break_glass_until"]:
        click.echo(f"break-glass open until {told['break_glass_until']}")
    if told["break_glass_left"] is not None:
        click.echo(f"break-glass still allowed {told['break_glass_left']} times in these 24 hours")
    for name in told["other_apps"]:
        click.echo(f"other bounds hold at {name}: --app {name}")
    _print_table(told["limits"])
    shared = told["shared"]
    for one in shared["devices"]:
        click.echo(
            f"\ndevice {one['device']}, last login {one['last_login']}, shared by {one['accounts']} accounts"
        )
        _print_table(one["limits"])
    if shared["cluster"] is not None:
        click.echo(f"\ncluster of {', '.join(shared['cluster']['logins'])}")
        _print_table(shared["cluster"]["limits"])
    if shared["establishment"] is not None:
        click.echo(f"\nestablishment {shared['establishment']['label']}")
        _print_table(shared["establishment"]["limits"])
    click.echo("\nthe whole site")
    _print_table(shared["site"]["limits"])


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    table = [list(rows[0])]
    table += [["-" if cell is None else f"{cell}" for cell in row.values()] for row in rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
