"""``ecluse limits reviews``: every break-glass wants somebody's judgement within 72 hours."""

from typing import Any

import click

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import visible
from gateway.audit.operator import local_user, operator_log
from gateway.audit.query import Question
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_consult import moment, open_consultation, patiently, reading
from gateway.cli.common import Row, show_rows, time_text
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.clock import SystemClock
from gateway.vocabulary.events import AuditEvent, EventKind

DEADLINE_MS = 72 * 3_600_000
VERDICTS = ("justified", "unjustified", "unclear")


@click.command(
    epilog='Example:  ecluse limits reviews --close 7f3k92qd --verdict justified --reason "called the ward"'
)
@click.option("--from", "from_ms", type=moment, default="30d", show_default=True, help="From this moment on.")
@click.option("--all", "everything", is_flag=True, help="Also those that are closed.")
@click.option("--close", "reference", help="Reference of the break-glass that was looked at.")
@click.option("--verdict", type=click.Choice(VERDICTS), help="What it was, with --close.")
@click.option("--reason", required=True, help="Why you look, or how you came to the verdict: recorded.")
@config_option
@json_option
def reviews(
    from_ms: int,
    reference: str | None,
    verdict: str | None,
    reason: str,
    config_path: str,
    *,
    everything: bool,
    as_json: bool,
) -> int:
    """List the emergency accesses that nobody has judged yet, with their deadline; or judge one.

    Leaves with 1 when one is overdue, when there is none of that reference, or when it was judged already.
    """
    if (reference is None) != (verdict is None):
        raise click.UsageError("--close and --verdict belong together.")
    consultation = open_consultation(None, None, config_path, is_copy=False)
    kinds = (EventKind.BREAK_GLASS.value, EventKind.BREAK_GLASS_REVIEWED.value)
    question = Question(kinds=kinds, from_ms=from_ms)
    consultation.record("reviews", reason, question)
    with reading(consultation):
        events = patiently(lambda: list(consultation.ask(question)))
    if reference is not None and verdict is not None:
        return _close(config_path, events, reference, verdict, reason)
    rows = _rows(events, SystemClock().now_ms())
    shown = rows if everything else [row for row in rows if row["state"] != "closed"]
    overdue = any(row["state"] == "overdue" for row in shown)
    return show_rows(shown, EXIT_REFUSED if overdue else EXIT_DONE, as_csv=False, as_json=as_json)


def _rows(events: list[dict[str, Any]], now_ms: int) -> list[Row]:
    closed = _reviews(events)
    rows: list[Row] = []
    for event in events:
        if event["kind"] != EventKind.BREAK_GLASS:
            continue
        detail, review = _detail(event), closed.get(event.get("reference"))
        due_ms = event["at_ms"] + DEADLINE_MS
        state = "closed" if review is not None else "overdue" if now_ms > due_ms else "open"
        rows.append(
            {
                "reference": event.get("reference"),
                "state": state,
                "at": time_text(event["at_ms"]),
                "due": time_text(due_ms),
                "account": visible(event.get("account", "")),
                "establishment": event.get("establishment"),
                "app": event.get("app"),
                "need": detail.get("need"),
                "words": visible(detail.get("words", "")) or None,
                "verdict": _detail(review).get("verdict") if review is not None else None,
            }
        )
    return rows


def _close(config_path: str, events: list[dict[str, Any]], reference: str, verdict: str, reason: str) -> int:
    found = [
        event
        for event in events
        if event["kind"] == EventKind.BREAK_GLASS and event.get("reference") == reference
    ]
    if len(found) != 1:
        fail(f"no break-glass of reference {reference} in this period: look with --from 90d", EXIT_REFUSED)
    judged = _reviews(events).get(reference)
    if judged is not None:
        said = visible(f"{_detail(judged).get('verdict')}, by {judged.get('operator')}")
        fail(f"{reference} was judged already: {said}, {time_text(judged['at_ms'])}", EXIT_REFUSED)
    loaded = load_or_exit(config_path)
    settings, keys = loaded.settings, keys_or_exit(loaded.settings)
    [event] = found
    review = AuditEvent(
        EventKind.BREAK_GLASS_REVIEWED,
        SystemClock().now_ms(),
        realm=event.get("realm"),
        account=event.get("account"),
        account_class=event.get("account_class"),
        establishment=event.get("establishment"),
        operator=local_user(),
        reason=reason,
        reference=reference,
        policy_id=loaded.policy.policy_id,
        detail=(("verdict", verdict),),
    )
    try:
        with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
            log.record(review)
    except AuditUnavailable as error:
        fail(f"the verdict could not be recorded: {error}", EXIT_FAULT)
    click.echo(f"{reference}: {verdict}", err=True)
    return EXIT_DONE


def _reviews(events: list[dict[str, Any]]) -> dict[str | None, dict[str, Any]]:
    return {
        event.get("reference"): event for event in events if event["kind"] == EventKind.BREAK_GLASS_REVIEWED
    }


def _detail(event: dict[str, Any]) -> dict[str, str]:
    return dict(event.get("detail", {}))
