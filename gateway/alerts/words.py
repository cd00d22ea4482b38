"""An alert as people and programs read it. It names a professional only where that is configured, a patient never."""

import json
import shlex
from datetime import UTC, datetime

from gateway.alerts.outbox import Kept
from gateway.vocabulary.signals import Signal

_DONE_FRENCH = {"ask": "Un nouveau code lui est demandé.", "lock": "Le compte est verrouillé.", "": ""}
_DONE_ENGLISH = {"ask": "It owes a fresh code.", "lock": "The account is locked.", "": ""}

_SHOWN_BY = {"posture": "ecluse posture show", "plan-blanc": "ecluse plan-blanc"}


def next_command(kept: Kept, *, names: bool) -> str:
    """Return what to run next: it names the account only with *names*."""
    alert = kept.alert
    if alert.rule in _SHOWN_BY:
        return _SHOWN_BY[alert.rule]
    if not names or not alert.account:
        return f"ecluse alerts list --id {kept.id}"
    login = shlex.quote(alert.account)
    if alert.done == "lock":
        return f'ecluse audit account {login} --from 24h --reason "alert {kept.id}"'
    # Who fills what several share is seldom alone.
    more = " --cluster --dry-run" if alert.rule == Signal.POOLED else ""
    return f'ecluse account lock {login}{more} --realm {alert.realm} --reason "alert {kept.id}"'


def subject(kept: Kept) -> str:
    """Return the subject of a mail, in ASCII."""
    return f"[Ecluse] {kept.alert.rule} {kept.id}"


def body(kept: Kept, *, names: bool) -> str:
    """Return the text of a mail, French first."""
    alert = kept.alert
    at = datetime.fromtimestamp(alert.at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    who_french = f"Compte : {alert.account} ({alert.realm})\n" if names and alert.account else ""
    who_english = f"Account: {alert.account} ({alert.realm})\n" if names and alert.account else ""
    command = next_command(kept, names=names)
    return (
        f"{alert.french} {_DONE_FRENCH.get(alert.done, '')}\n{who_french}{at}\n\nÀ faire :\n    {command}\n\n"
        f"--\n{alert.english} {_DONE_ENGLISH.get(alert.done, '')}\n{who_english}{at}\n\nNext:\n    {command}\n\n"
        f'ecluse alerts ack {kept.id} --reason "…"\n'
    )


def document(kept: Kept, *, names: bool) -> bytes:
    """Return the JSON document for a web address."""
    alert = kept.alert
    told: dict[str, object] = {
        "id": kept.id,
        "rule": alert.rule,
        "done": alert.done,
        "at_ms": alert.at_ms,
        "fr": alert.french,
        "en": alert.english,
        "next": next_command(kept, names=names),
    }
    if names and alert.account:
        told |= {"account": alert.account, "realm": alert.realm}
    return json.dumps(told, ensure_ascii=False, sort_keys=True).encode()


def syslog(kept: Kept, host: str, *, names: bool) -> str:
    """Return one RFC 5424 message: facility 10, severity alert (1) once an account is locked, else warning (4)."""
    alert = kept.alert
    at = (
        datetime.fromtimestamp(alert.at_ms / 1_000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
    priority = 10 * 8 + (1 if alert.done == "lock" else 4)
    who = f" account={alert.account}" if names and alert.account else ""
    text = f"{alert.rule}{who} id={kept.id} {alert.english} {_DONE_ENGLISH.get(alert.done, '')}".rstrip()
    return f"<{priority}>1 {at} {host} ecluse - alert - {text}"
