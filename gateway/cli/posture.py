"""``ecluse posture``: lower every cap, shorten sessions and ask everybody for a code, on every node at once."""

import json
from typing import Any

import click

from gateway.assembly.office import Office
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, json_option
from gateway.cli.account_change import recorded
from gateway.cli.account_office import run
from gateway.cli.common import reason_option, time_text
from gateway.cli.measures import event_of, tell
from gateway.limits.in_force import MeasureStore
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import EventKind

RULE = "posture"


@click.group(epilog='Example:  ecluse posture strict --reason "passwords on sale, ticket 4711"')
def posture() -> None:
    """Be strict with everybody for a while, or normal again; show which it is."""


@posture.command(epilog='Example:  ecluse posture strict --reason "passwords on sale, ticket 4711"')
@reason_option
@config_option
@json_option
def strict(reason: str, config_path: str, *, as_json: bool) -> int:
    """Lower every cap, shorten sessions and ask each of them for a fresh code, until `posture normal`.

    It holds from the next request and the next answer on, on every node, and after restarts. Given again it asks for
    a code again. It waits for nothing: when the log cannot record it, that is said, and the command leaves with 2.
    """

    async def work(office: Office) -> tuple[dict[str, Any], bool]:
        since_ms = await MeasureStore(office.store).strict(reason)
        rule = office.policy.measures.strict
        event = event_of(office, EventKind.POSTURE_CHANGED, reason, ("posture", "strict"))
        kept = recorded(office, event, "posture strict", "then run the same command again, which records it")
        share = f"{rule.caps_share_milli / 10:g} %"
        told = tell(
            office,
            _alert(
                "strict",
                office.clock.now_ms(),
                f"Posture stricte : plafonds à {share}, sessions écourtées, un code redemandé à chacun.",
                f"Strict posture: caps at {share}, shorter sessions, a code asked of everybody.",
            ),
        )
        return {"posture": "strict", "since": time_text(since_ms), "reason": reason}, kept and told

    told, whole = run(config_path, work)
    _print(told, as_json=as_json)
    return EXIT_DONE if whole else EXIT_FAULT


@posture.command(epilog='Example:  ecluse posture normal --reason "passwords changed, ticket 4711"')
@reason_option
@config_option
@json_option
def normal(reason: str, config_path: str, *, as_json: bool) -> int:
    """Give everybody the usual caps and sessions back. Sessions that ended stay ended; recorded before it is done."""

    async def work(office: Office) -> tuple[dict[str, Any], bool]:
        measures = MeasureStore(office.store)
        told = {"posture": "normal", "since": None, "reason": None}
        if (await measures.read()).strict_since_ms is None:
            click.echo("the posture was normal: nothing was changed", err=True)
            return told, True
        office.record(event_of(office, EventKind.POSTURE_CHANGED, reason, ("posture", "normal")))
        await measures.normal()
        alert = _alert(
            "normal",
            office.clock.now_ms(),
            "Posture normale : plafonds et sessions habituels.",
            "Normal posture: the usual caps and sessions.",
        )
        return told, tell(office, alert)

    told, whole = run(config_path, work)
    _print(told, as_json=as_json)
    return EXIT_DONE if whole else EXIT_FAULT


@posture.command(epilog="Example:  ecluse posture show")
@config_option
@json_option
def show(config_path: str, *, as_json: bool) -> int:
    """Tell whether the posture is strict, since when and why."""

    async def work(office: Office) -> dict[str, Any]:
        found = await MeasureStore(office.store).read()
        if found.strict_since_ms is None:
            return {"posture": "normal", "since": None, "reason": None}
        return {"posture": "strict", "since": time_text(found.strict_since_ms), "reason": found.strict_why}

    _print(run(config_path, work), as_json=as_json)
    return EXIT_DONE


def _alert(done: str, at_ms: int, french: str, english: str) -> Alert:
    return Alert(RULE, done, "", "", at_ms, french, english)


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    elif told["since"] is None:
        click.echo(told["posture"])
    else:
        click.echo(f"{told['posture']} since {told['since']}: {told['reason']}")
