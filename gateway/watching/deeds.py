"""What is done about an account, and how it is told: done first, recorded then (decision 010)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.accounts.store import Changed, ChangeRefused
from gateway.detection import sentence
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import AccountRef
from gateway.vocabulary.signals import Act, Finding, Signal, Verdict

Refs = Callable[[str, str], AccountRef | None]
"""Whom a realm and a canonical login name; None for a realm that is not configured."""


class Accounts(Protocol):
    """What of the accounts the watcher may change."""

    async def owe(self, account_id: str, why: str, for_s: int) -> Changed | ChangeRefused:
        """Have the account owe a fresh code."""
        ...

    async def lock(
        self, account_id: str, reason: str, *, ref: AccountRef | None = None
    ) -> Changed | ChangeRefused:
        """End every session of the account and let nobody in."""
        ...


class Outcome(StrEnum):
    """What became of a verdict."""

    DONE = "done"
    REFUSED = "refused"
    """The account is not one to which this can be done: it has no factor, or is locked already."""
    UNKNOWN = "unknown"
    """Its realm is not configured any more."""


@dataclass(frozen=True, slots=True)
class Done:
    """A verdict, and what became of it."""

    verdict: Verdict
    outcome: Outcome


class Deeds:
    """Carries verdicts out on *accounts*. *operator* is who the watcher runs as."""

    def __init__(self, accounts: Accounts, refs: Refs, *, operator: str) -> None:
        self._accounts = accounts
        self._refs = refs
        self._operator = operator

    async def carry_out(self, verdict: Verdict, ask_for_s: int) -> Done:
        """Do what *verdict* says.

        Raises:
            StoreUnavailable, StoreEmptied: it was not done; try again.
        """
        ref = self._refs(verdict.realm, verdict.account)
        if ref is None:
            return Done(verdict, Outcome.UNKNOWN)
        if verdict.act is Act.LOCK:
            changed = await self._accounts.lock(ref.id, reason_of(verdict), ref=ref)
        else:
            changed = await self._accounts.owe(ref.id, verdict.signals[0].value, ask_for_s)
        return Done(verdict, Outcome.DONE if isinstance(changed, Changed) else Outcome.REFUSED)

    def tell(self, done: Done, now_ms: int) -> AuditEvent:
        """Return the entry of what was done."""
        verdict = done.verdict
        kind = EventKind.ACCOUNT_LOCKED if verdict.act is Act.LOCK else EventKind.CODE_DEMANDED
        return AuditEvent(
            kind=kind,
            at_ms=now_ms,
            realm=verdict.realm,
            account=verdict.account,
            operator=self._operator,
            rule=verdict.signals[0].value,
            reason=reason_of(verdict),
            detail=(
                ("act", verdict.act.value),
                ("outcome", done.outcome.value),
                ("score", str(verdict.score)),
                ("signals", ",".join(verdict.signals)),
            ),
        )

    def note(self, finding: Finding, now_ms: int) -> AuditEvent:
        """Return the entry of a signal that fired."""
        return AuditEvent(
            kind=EventKind.SIGNALLED,
            at_ms=now_ms,
            realm=finding.realm,
            account=finding.account,
            account_class=finding.account_class,
            establishment=finding.establishment,
            operator=self._operator,
            rule=finding.signal.value,
            reason=sentence(finding, "en"),
            detail=(
                ("event", finding.event),
                ("mode", finding.mode.value),
                *((name, str(figure)) for name, figure in finding.figures),
            ),
        )


def alert_of(done: Done, findings: Sequence[Finding], now_ms: int) -> Alert:
    """Return what somebody is told at once about *done*; *findings* are those of the same moment.

    It is of *now_ms*, when something was done: the entry that led to it may be days old after an outage, and an
    alert that begins its life too old would not be sent.
    """
    verdict = done.verdict
    mine = [each for each in findings if (each.realm, each.account) == (verdict.realm, verdict.account)]
    carried_out = verdict.act.value if done.outcome is Outcome.DONE else ""
    fallback_french = f"Signaux : {', '.join(verdict.signals)}."
    fallback_english = f"Signals: {', '.join(verdict.signals)}."
    return Alert(
        rule=verdict.signals[0].value,
        done=carried_out,
        realm=verdict.realm,
        account=verdict.account,
        at_ms=now_ms,
        french=" ".join(sentence(each, "fr") for each in mine) or fallback_french,
        english=" ".join(sentence(each, "en") for each in mine) or fallback_english,
    )


def reason_of(verdict: Verdict) -> str:
    """Return why, in a few words that professionals and operators are shown."""
    if Signal.CANARY in verdict.signals:
        return "a decoy was opened or exported"
    return f"signals: {', '.join(verdict.signals)}"
