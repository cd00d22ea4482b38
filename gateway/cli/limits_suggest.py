"""``ecluse limits suggest``: caps out of the trail, per class, and who would have been stopped by them."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.audit.drafts import NotWritten
from gateway.audit.encoding import visible
from gateway.audit.query import Question
from gateway.audit.sql import DAY_MS
from gateway.cli import EXIT_DONE, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_consult import consult_options, open_consultation, patiently, reading
from gateway.cli.limits_report import ClassReport, Report, write_html
from gateway.clock import SystemClock
from gateway.limits.suggest import ENOUGH_DAYS, Finding, Observed
from gateway.policy.policy import Realm
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import Charge, Control
from gateway.vocabulary.records import RouteKind

_WARM_DAYS = 7
_KINDS = (EventKind.ACCESS.value, EventKind.SIGHTED.value, EventKind.WITHHELD.value)
_UNSET = "standard"
_USUAL_WEIGHT_MILLI = 200


@click.command(
    epilog="Example:  ecluse limits suggest --days 14 --html caps.html --reason 'two weeks of observe'"
)
@click.option(
    "--days", type=click.IntRange(min=1, max=400), default=14, show_default=True, help="How far back to look."
)
@click.option("--realm", "realm_name", help="The realm; all of them when left out.")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a report with plots.",
)
@consult_options
@config_option
@json_option
def suggest(
    days: int,
    realm_name: str | None,
    html_path: Path | None,
    as_json: bool,
    why: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    is_copy: bool,
    config_path: str,
) -> int:
    """Propose caps per class: the 99.5th percentile of what each account used at most on a day, times 1.5.

    Tells whom present and proposed caps would have stopped. The consultation itself is recorded. Leaves with 1
    when the log holds no access in the period.
    """
    if html_path is not None and not html_path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {html_path.absolute().parent}", param_hint="--html")
    consultation = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    realms = dict(consultation.loaded.policy.realms) if consultation.loaded is not None else {}
    if realm_name is not None and realms and realm_name not in realms:
        raise click.BadParameter(f"one of {', '.join(sorted(realms))}", param_hint="--realm")
    to_ms = SystemClock().now_ms()
    from_ms = to_ms - days * DAY_MS
    # The longest window looks a week back, so a week more is read, and is not in the sample.
    question = Question(realm=realm_name, kinds=_KINDS, from_ms=from_ms - _WARM_DAYS * DAY_MS, to_ms=to_ms)
    consultation.record("limits suggest", why, question, days=days)
    gatherer = _Gatherer(realms, from_ms, one_realm=realm_name is not None or len(realms) == 1)
    with reading(consultation):
        patiently(lambda: gatherer.gather(consultation.ask(question)))
    report = gatherer.report(from_ms, to_ms, days)
    if not report.classes:
        fail(
            f"the log holds no access in the last {days} days: there is nothing to propose from", EXIT_REFUSED
        )
    if html_path is not None:
        try:
            write_html(report, html_path)
        except NotWritten as error:
            fail(str(error))
        click.echo(f"{html_path}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(_values(report)).decode())
    else:
        _print(report)
    return EXIT_DONE


class _Gatherer:
    """Turns rows of the log into what accounts used."""

    def __init__(self, realms: dict[str, Realm], from_ms: int, *, one_realm: bool) -> None:
        self._realms = realms
        self._from_ms = from_ms
        self._one_realm = one_realm
        self._members: dict[str, bytes] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._withheld: dict[tuple[str, str, str], int] = {}
        self.observed = Observed(self._weight, from_ms)

    def gather(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take every row; they come in order of time."""
        for row in rows:
            account = row.get("account")
            if account is None:
                continue
            realm = row.get("realm", "")
            label = self._class_of(realm, row.get("account_class"))
            who = account if self._one_realm else f"{realm}/{account}"
            if row["kind"] == EventKind.WITHHELD.value:
                if row["at_ms"] >= self._from_ms and "control" in row:
                    where = (label, row["control"], who)
                    self._withheld[where] = self._withheld.get(where, 0) + 1
                continue
            self.observed.note(row["at_ms"], who, label, self._charge(row))

    def report(self, from_ms: int, to_ms: int, days: int) -> Report:
        """Return all that was found."""
        classes = []
        for label in self.observed.classes:
            findings = self.observed.findings(label, self._present(label))
            withheld = {
                (control, who): count for (of, control, who), count in self._withheld.items() if of == label
            }
            classes.append(ClassReport(label, self.observed.accounts(label), tuple(findings), withheld))
        return Report(from_ms, to_ms, days, tuple(classes))

    def _class_of(self, realm: str, account_class: str | None) -> str:
        known = self._realms.get(realm)
        name = account_class or (known.default_class if known is not None else _UNSET)
        label = name if self._one_realm else f"{realm}/{name}"
        self._names[label] = (realm, name)
        return label

    def _present(self, label: str) -> dict[Control, int]:
        realm, name = self._names[label]
        known = self._realms.get(realm)
        if known is None:
            return {}
        limits = known.classes.get(name, known.classes[known.default_class])
        return {one.control: one.hard for one in limits.limits}

    def _weight(self, label: str) -> int:
        realm, name = self._names[label]
        known = self._realms.get(realm)
        if known is None:
            return _USUAL_WEIGHT_MILLI
        return known.classes.get(name, known.classes[known.default_class]).listed_weight_milli

    def _charge(self, row: dict[str, Any]) -> Charge:
        members = tuple(dict.fromkeys(self._member(name) for name in row.get("patients", ())))
        opened = row.get("opened") is True
        return Charge(
            opened=members if opened else (),
            listed=() if opened else members,
            rows=0 if opened else row.get("rows", 0),
            bytes=row.get("bytes", 0),
            exports=1 if row.get("route_kind") == RouteKind.EXPORT.value and members else 0,
            probes=1 if row.get("detail", {}).get("probe") == "true" else 0,
        )

    def _member(self, pseudonym: str) -> bytes:
        # One object for each patient: weeks of a region name the same ones again and again.
        return self._members.setdefault(pseudonym, pseudonym.encode())


def _values(report: Report) -> dict[str, Any]:
    def finding(one: Finding) -> dict[str, Any]:
        return {
            "control": one.control.value,
            "account_days": one.days,
            "p50": one.p50,
            "p95": one.p95,
            "p99_5": one.p995,
            "max": one.most,
            "present": one.present,
            "proposed": one.proposed,
            "stopped_present": {"days": one.stopped_present.days, "accounts": one.stopped_present.by_account},
            "stopped_proposed": {
                "days": one.stopped_proposed.days,
                "accounts": one.stopped_proposed.by_account,
            },
        }

    return {
        "from_ms": report.from_ms,
        "to_ms": report.to_ms,
        "days": report.days,
        "classes": [
            {
                "class": each.label,
                "accounts": each.accounts,
                "controls": [finding(one) for one in each.findings],
                "withheld": [
                    {"control": control, "account": who, "times": times}
                    for (control, who), times in sorted(each.withheld.items())
                ],
            }
            for each in report.classes
        ],
    }


def _print(report: Report) -> None:
    console = Console()
    for each in report.classes:
        days = each.findings[0].days
        head = f"\n{visible(each.label)}: {each.accounts} accounts, {days} account-days"
        console.print(Text(head, style="bold"))
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("control")
        for name in ("P50", "P95", "P99.5", "max", "present", "stops", "proposed", "would stop"):
            table.add_column(name, justify="right")
        for one in each.findings:
            table.add_row(
                one.control.value,
                *(f"{value:,}" for value in (one.p50, one.p95, one.p995, one.most)),
                _told(one.present),
                _told(one.stopped_present.days if one.present is not None else None),
                _told(one.proposed),
                _told(one.stopped_proposed.days if one.proposed is not None else None),
            )
        console.print(table)
        _print_people(console, each)
        if days < ENOUGH_DAYS:
            console.print(Text(f"too few to propose from: {ENOUGH_DAYS} account-days are needed"))
    print("stops: account-days on which the use went over the cap", file=sys.stderr)


def _told(amount: int | None) -> str:
    return "–" if amount is None else f"{amount:,}"


def _print_people(console: Console, each: ClassReport) -> None:
    for line in each.people():
        console.print(Text(visible(f"  {line}", 400)))
