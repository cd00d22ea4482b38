"""``ecluse plan-blanc``: more room for one establishment in a mass-casualty event; it ends by itself."""

import click

from gateway.assembly.office import Office
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, json_option
from gateway.cli.account_office import run
from gateway.cli.common import Row, show_rows, time_text
from gateway.cli.measures import event_of, tell
from gateway.limits.in_force import MeasureStore
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import EventKind

RULE = "plan-blanc"


@click.command(
    "plan-blanc", epilog='Example:  ecluse plan-blanc 590000001 --reason "train accident, SAMU 59"'
)
@click.argument("establishment", required=False)
@click.option("--reason", help="Why; it stands in the audit log.")
@click.option(
    "--hours",
    type=click.IntRange(1, 72),
    default=24,
    show_default=True,
    help="After so many it ends by itself.",
)
@click.option("--end", is_flag=True, help="End it now.")
@config_option
@json_option
def plan_blanc(
    establishment: str | None, reason: str | None, hours: int, config_path: str, *, end: bool, as_json: bool
) -> int:
    """Raise the caps of the accounts of ESTABLISHMENT for a while; without it, list the plans in force.

    By how much stands under `plan_blanc` in the configuration. It holds from the next answer on, on every node. Given
    again it lasts longer. It is recorded before it is done, and somebody is told at once.
    """
    if establishment is None:
        if end or reason is not None:
            raise click.UsageError("Name the establishment, as its accounts are labelled.")
        return show_rows(run(config_path, _list), as_csv=False, as_json=as_json)
    if reason is None:
        raise click.UsageError("--reason is needed: it stands in the audit log.")
    if end:
        return _end(config_path, establishment, reason)
    return _begin(config_path, establishment, reason, hours, as_json=as_json)


async def _list(office: Office) -> list[Row]:
    return [
        {
            "establishment": one.establishment,
            "since": time_text(one.since_ms),
            "until": time_text(one.until_ms),
            "reason": one.why,
        }
        for one in (await MeasureStore(office.store).read()).plans
    ]


def _begin(config_path: str, establishment: str, reason: str, hours: int, *, as_json: bool) -> int:
    async def work(office: Office) -> tuple[list[Row], int]:
        accounts = [one for one in await office.accounts.list() if one.establishment == establishment]
        if not accounts:
            click.echo(
                f"no account is labelled with the establishment {establishment}: nothing was changed; "
                "'ecluse account list' shows the labels",
                err=True,
            )
            return [], EXIT_REFUSED
        detail = (("act", "begin"), ("hours", str(hours)))
        office.record(event_of(office, EventKind.PLAN_BLANC, reason, *detail, establishment=establishment))
        until_ms = await MeasureStore(office.store).plan_blanc(establishment, reason, hours * 3_600)
        until = time_text(until_ms)
        alert = _alert(
            office,
            establishment,
            "begin",
            f"Plan blanc pour {establishment} jusqu'au {until} : plafonds relevés.",
            f"Plan blanc for {establishment} until {until}: raised caps.",
        )
        row: Row = {"establishment": establishment, "accounts": len(accounts), "until": until}
        return [row], EXIT_DONE if tell(office, alert) else EXIT_FAULT

    rows, code = run(config_path, work)
    return show_rows(rows, code, as_csv=False, as_json=as_json) if rows or as_json else code


def _end(config_path: str, establishment: str, reason: str) -> int:
    async def work(office: Office) -> int:
        measures = MeasureStore(office.store)
        if (await measures.read()).plan_of(establishment) is None:
            click.echo(f"{establishment} has no plan blanc: nothing was changed", err=True)
            return EXIT_REFUSED
        event = event_of(office, EventKind.PLAN_BLANC, reason, ("act", "end"), establishment=establishment)
        office.record(event)
        await measures.end_plan_blanc(establishment)
        alert = _alert(
            office,
            establishment,
            "end",
            f"Fin du plan blanc pour {establishment} : plafonds habituels.",
            f"End of the plan blanc for {establishment}: the usual caps.",
        )
        click.echo(f"{establishment}: ended", err=True)
        return EXIT_DONE if tell(office, alert) else EXIT_FAULT

    return run(config_path, work)


def _alert(office: Office, establishment: str, done: str, french: str, english: str) -> Alert:
    return Alert(RULE, done, "", "", office.clock.now_ms(), french, english, establishment)
