"""Accounts in the store: each method is one atomic operation that a guarantee needs."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.accounts.account import Account
from gateway.accounts.invitation import invitation_id
from gateway.accounts.recovery import RecoveryHash
from gateway.policy.policy import FailureBudget
from gateway.valkey.client import Store
from gateway.vocabulary.identity import AccountRef, Standing
from gateway.vocabulary.limits import BreakGlass

_WORD = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")
CANDIDATE_MS = 600_000
"""How long a secret that was shown may wait for its first code."""


class AttemptFault(StrEnum):
    """Why a code or an invitation is not even looked at, or is not good. Pages never tell which."""

    ABSENT = "absent"
    INVITED = "invited"
    """Nothing is enrolled yet."""
    ACTIVE = "active"
    """An invitation is of no use: a factor is enrolled."""
    LOCKED = "locked"
    RETIRED = "retired"
    DORMANT = "dormant"
    DELAYED = "delayed"
    EVERYBODY_DELAYED = "everybody-delayed"
    """Too many wrong invitations on all accounts together, this hour."""
    WRONG = "wrong"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    """That was one wrong invitation code too many: the invitation is dead."""
    NO_INVITATION = "no-invitation"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failure is reserved; the code may now be looked at. *epoch* goes back with the outcome."""

    sealed_secret: str = field(repr=False)
    last_step: int
    recovery: tuple[RecoveryHash, ...] = field(repr=False)
    epoch: int
    failures: int


@dataclass(frozen=True, slots=True)
class AttemptRefused:
    """No code is looked at. *retry_after_s* is 0 when waiting does not help.

    *locked_now*: this try found the budget used up, and locked the account.
    """

    why: AttemptFault
    retry_after_s: int = 0
    locked_now: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """What a wrong code led to. *locked_now*: it was the one that locked the account."""

    retry_after_s: int
    locked_now: bool
    failures: int


@dataclass(frozen=True, slots=True)
class InvitationProven:
    """The code of the invitation *invitation_id* was typed; it stays good until the enrolment."""

    invitation_id: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What an operator may say of an account. None leaves it as it was, "" removes it."""

    account_class: str | None = None
    establishment: str | None = None
    display: str | None = None

    def fields(self) -> list[str]:
        """Return field names and values as the store keeps them."""
        pairs = {
            "class": self.account_class,
            "establishment": self.establishment,
            "display": self.display,
        }
        return [part for name, value in pairs.items() if value is not None for part in (name, value)]


@dataclass(frozen=True, slots=True)
class Changed:
    """The account is now *standing*; *sessions_closed* of its sessions ended."""

    standing: Standing
    sessions_closed: int = 0


@dataclass(frozen=True, slots=True)
class ChangeRefused:
    """Nothing was changed, because the account is *standing*."""

    standing: Standing


@dataclass(frozen=True, slots=True)
class GlassBroken:
    """Until *until_ms* (Unix) the account has *patients* more under each hard bound on patients."""

    until_ms: int
    patients: int


@dataclass(frozen=True, slots=True)
class GlassRefused:
    """It was done too often; *retry_after_s* 0: waiting does not help."""

    retry_after_s: int


class AccountStore:
    """Accounts by id. Every method raises StoreUnavailable or StoreEmptied when the store does not serve.

    What changes an account is confirmed by replicas, where there are any: a failover accepts no code twice and
    frees nobody who was locked.

    *invitation_failures_an_hour* bounds wrong invitation codes on all accounts together.
    """

    def __init__(self, store: Store, *, invitation_failures_an_hour: int = 200) -> None:
        self._store = store
        self._invitation_failures_an_hour = invitation_failures_an_hour

    async def get(self, account_id: str) -> Account | None:
        """Return the account, or None when nobody ever invited or locked it."""
        fields = _pairs(await self._store.call("ecluse_account_get", [_key(account_id)]))
        return _account(account_id, fields) if fields else None

    async def list(self) -> tuple[Account, ...]:
        """Return every account, by realm and login."""
        ids = sorted(_text(id_) for id_ in await self._store.call("ecluse_account_ids"))
        found = await asyncio.gather(*(self.get(id_) for id_ in ids))
        accounts = [account for account in found if account is not None]
        return tuple(sorted(accounts, key=lambda account: (account.realm, account.login)))

    async def sealed(self) -> dict[str, str]:
        """Return the sealed factor of every account that has one, by account id."""
        ids = [_text(id_) for id_ in await self._store.call("ecluse_account_ids")]
        found = await asyncio.gather(*(self._store.call("ecluse_account_sealed", [_key(id_)]) for id_ in ids))
        return {id_: _text(value) for id_, value in zip(ids, found, strict=True) if value}

    async def reseal(self, account_id: str, before: str, after: str) -> bool:
        """Put *after* in the place of the sealed factor *before*; False when that changed meanwhile."""
        return bool(await self._write("reseal", account_id, before, after))

    async def invite(
        self, ref: AccountRef, code_hash: str, until_ms: int, labels: Labels, *, dormant_s: int = 0
    ) -> Changed | ChangeRefused:
        """Keep a new invitation, good until *until_ms*; an earlier one is dead.

        Active accounts are refused, unless nobody used them for *dormant_s* (0: never dormant); locked
        ones too. A dormant or retired account starts anew.
        """
        args = (ref.name, ref.realm, code_hash, invitation_id(code_hash), until_ms, dormant_s)
        return await self._change("invite", ref.id, *args, *labels.fields())

    async def note(self, ref: AccountRef, account_class: str) -> Changed | ChangeRefused:
        """Note somebody whom nobody invited, who passes without a factor until the roll-out's deadline.

        Known accounts stay as they are and are refused, unless they were noted before.
        """
        return await self._change("note", ref.id, ref.name, ref.realm, account_class)

    async def begin_attempt(
        self, account_id: str, budget: FailureBudget, *, dormant_s: int = 0
    ) -> Attempt | AttemptRefused:
        """Reserve one failure, before any code is looked at.

        Parallel tries therefore never get more looks than *budget* allows (NIST SP 800-63B-4, 3.2.2).
        """
        # A try that nobody can confirm must not use the budget up: replicas may be away for longer than it lasts.
        self._store.need_confirmation()
        bounds = (budget.free, budget.first_delay_s, budget.longest_delay_s, budget.lock_at)
        reply = await self._write("begin_attempt", account_id, *bounds, dormant_s)
        if reply[0] != b"ok":
            return AttemptRefused(AttemptFault(_text(reply[1])), int(reply[2]), len(reply) > 3)
        _, secret, last_step, recovery, epoch, failures = reply
        return Attempt(_text(secret), int(last_step), _recovery(recovery), int(epoch), int(failures))

    async def fail_attempt(self, account_id: str, budget: FailureBudget, *, epoch: int) -> AttemptFailed:
        """Say that the code of a begun attempt was wrong: the last one of the budget locks the account."""
        locked, retry_after_s, failures = await self._write("fail_attempt", account_id, budget.lock_at, epoch)
        return AttemptFailed(int(retry_after_s), locked == b"1", int(failures))

    async def accept_step(self, account_id: str, step: int, *, epoch: int) -> bool:
        """Accept *step* once, across all nodes (RFC 6238, 5.2); False when it or a later one was accepted.

        Gives the reserved failures back and notes the login.
        """
        return bool(await self._write("accept_step", account_id, step, epoch) == 1)

    async def use_recovery(self, account_id: str, recovery_id: str, *, epoch: int) -> int | None:
        """Use a recovery code up; return how many are left, None when it was used before."""
        left = await self._write("use_recovery", account_id, recovery_id, epoch)
        return None if left < 0 else int(left)

    async def try_invitation(
        self, account_id: str, code_hash: str | None, budget: FailureBudget
    ) -> InvitationProven | AttemptRefused:
        """Compare a typed invitation with the kept one. *code_hash* None: what was typed is no code at all.

        Wrong ones spend a budget of the account and one of everybody; using *budget* up kills the invitation.
        """
        self._store.need_confirmation()
        bounds = (budget.free, budget.first_delay_s, budget.longest_delay_s, budget.lock_at)
        reply = await self._write(
            "try_invitation", account_id, code_hash or "", *bounds, self._invitation_failures_an_hour
        )
        if reply[0] == b"ok":
            return InvitationProven(_text(reply[1]))
        return AttemptRefused(AttemptFault(_text(reply[1])), int(reply[2]))

    async def candidate(
        self, account_id: str, session_id: str, invitation: str, sealed: str | None
    ) -> str | None:
        """Return the sealed secret shown to this session, keeping *sealed* for 10 minutes when there is none.

        *sealed* None only reads. None is returned when the invitation does not hold, or nothing is kept.
        """
        reply = await self._store.call(
            "ecluse_account_candidate",
            [_key(account_id)],
            [session_id, invitation, sealed or "", CANDIDATE_MS],
        )
        return None if reply is None else _text(reply)

    async def enrol(
        self,
        account_id: str,
        session_id: str,
        invitation: str,
        sealed_secret: str,
        first_step: int,
        recovery: tuple[RecoveryHash, ...],
    ) -> bool:
        """Make the account active with this factor and consume the invitation; False when it does not hold.

        Of two enrolments at the same time exactly one succeeds.
        """
        codes = json.dumps([{"id": entry.id, "hash": entry.hash} for entry in recovery])
        reply = await self._write(
            "enrol", account_id, session_id, invitation, sealed_secret, first_step, codes
        )
        return bool(reply == 1)

    async def lock(
        self, account_id: str, reason: str, *, ref: AccountRef | None = None
    ) -> Changed | ChangeRefused:
        """Contain an account: every session ends. With *ref*, one that nobody invited is locked too."""
        login, realm = (ref.name, ref.realm) if ref is not None else ("", "")
        return await self._change("lock", account_id, reason, login, realm)

    async def owe(self, account_id: str, why: str, for_s: int) -> Changed | ChangeRefused:
        """Let every session of the account owe a fresh code for *for_s* seconds, or until it gives one.

        *why* is a short stable word for the log. Doors that name patients then lead to the step-up page; a
        code given before counts for nothing. A longer debt is never shortened. Refused for accounts that are
        not active or have no factor, since they could not pay: lock those.

        Raises:
            ValueError: *why* is no short word, or *for_s* is not positive.
        """
        if not _WORD.match(why) or for_s < 1:
            raise ValueError("a debt needs a word of a-z, 0-9 and '-', at most 40, and at least one second")
        return await self._change("owe", account_id, why, for_s * 1000)

    async def break_glass(self, account_id: str, rule: BreakGlass) -> GlassBroken | GlassRefused:
        """Give the account *rule.patients* more patients for *rule.for_s* seconds, in every app and session.

        Refused when it was done *rule.per_24h* times in the last 24 hours, or there is no factor.
        """
        reply = await self._write("break_glass", account_id, rule.patients, rule.for_s * 1000, rule.per_24h)
        if reply[0] != b"ok":
            return GlassRefused(int(reply[1]))
        return GlassBroken(int(reply[1]), int(reply[2]))

    async def unlock(self, account_id: str) -> Changed | ChangeRefused:
        """Let a locked account in again: active when it has a factor, else invited. Its failures go."""
        return await self._change("unlock", account_id)

    async def reset(self, account_id: str) -> Changed | ChangeRefused:
        """Forget factor, recovery codes and invitation and end every session; a locked account stays locked.

        The failures stay (NIST SP 800-63B-4, 3.2.2). The reason stands in the audit log.
        """
        return await self._change("reset", account_id)

    async def retire(self, account_id: str) -> Changed | ChangeRefused:
        """Close an account: factor gone, every session ended. Only a new invitation brings it back."""
        return await self._change("retire", account_id)

    async def _change(self, act: str, account_id: str, *args: str | int) -> Changed | ChangeRefused:
        outcome, standing, sessions_closed = await self._write(act, account_id, *args)
        if outcome != b"ok":
            return ChangeRefused(Standing(_text(standing)))
        return Changed(Standing(_text(standing)), int(sessions_closed))

    async def _write(self, act: str, account_id: str, *args: str | int) -> Any:
        """Run one act on an account, so that a failover of the store does not undo it."""
        return await self._store.call(f"ecluse_account_{act}", [_key(account_id)], args, confirmed=True)


def _key(account_id: str) -> str:
    return f"ecluse:{{{account_id}}}:account"


def _text(value: bytes) -> str:
    return value.decode()


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {_text(flat[at]): _text(flat[at + 1]) for at in range(0, len(flat), 2)}


def _recovery(text: bytes) -> tuple[RecoveryHash, ...]:
    # Lua writes an empty list as an object.
    return tuple(
        RecoveryHash(entry["id"], entry["hash"], entry.get("used_ms")) for entry in json.loads(text) or ()
    )


def _number(fields: dict[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _account(account_id: str, fields: dict[str, str]) -> Account:
    recovery = _recovery(fields.get("recovery", "[]").encode())
    return Account(
        id=account_id,
        login=fields.get("login", ""),
        realm=fields.get("realm", ""),
        standing=Standing(fields.get("state", Standing.ABSENT)),
        account_class=fields.get("class"),
        establishment=fields.get("establishment"),
        display=fields.get("display"),
        created_ms=_number(fields, "created_ms"),
        enrolled_ms=_number(fields, "enrolled_ms"),
        last_login_ms=_number(fields, "last_login_ms"),
        has_secret="secret" in fields,
        failures=_number(fields, "failures") or 0,
        next_try_ms=_number(fields, "next_try_ms") or None,
        recovery_left=sum(1 for entry in recovery if entry.used_ms is None),
        invitation_id=fields.get("invitation_id"),
        invitation_until_ms=_number(fields, "invitation_until_ms"),
        locked_reason=fields.get("locked_reason"),
        epoch=_number(fields, "epoch") or 0,
        owes_until_ms=_number(fields, "owes_until_ms"),
        owes_why=fields.get("owes_why"),
        glass_until_ms=_number(fields, "glass_until_ms"),
        glass_patients=_number(fields, "glass_patients") or 0,
        glass_times_ms=tuple(int(at) for at in fields.get("glass_times", "").split(",") if at),
    )
