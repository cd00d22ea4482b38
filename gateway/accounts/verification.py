"""Asking the second factor: a failure is reserved, the code looked at, the success accepted once."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from gateway.accounts.recovery import HashCost, find_code
from gateway.accounts.sealing import unseal
from gateway.accounts.store import AccountStore, Attempt, AttemptFault, AttemptRefused
from gateway.accounts.totp import CodeAccepted, CodeFault, check_code
from gateway.policy.policy import FailureBudget
from gateway.vocabulary.keys import KeyRing

SEALED_FACTOR = "totp-secret"


class Refusal(StrEnum):
    """Why the second factor was refused: for the audit log, never for the page."""

    MALFORMED = "malformed"
    WRONG = "wrong"
    REPLAYED = "replayed"
    DELAYED = "delayed"
    LOCKED = "locked"
    NOT_ENROLLED = "not-enrolled"
    DORMANT = "dormant"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Verified:
    """The code was right and is used up. *step* for a TOTP code, *recovery_left* for a recovery code."""

    step: int | None = None
    recovery_left: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody is let in. *retry_after_s* is 0 when the next try may come at once, or waiting does not help.

    *locked_now*: this try was the one that locked the account.
    """

    why: Refusal
    retry_after_s: int = 0
    locked_now: bool = False


_WHY = {
    AttemptFault.DELAYED: Refusal.DELAYED,
    AttemptFault.LOCKED: Refusal.LOCKED,
    AttemptFault.RETIRED: Refusal.RETIRED,
    AttemptFault.DORMANT: Refusal.DORMANT,
}


async def verify_code(
    accounts: AccountStore,
    ring: KeyRing,
    account_id: str,
    code: str,
    budget: FailureBudget,
    now_ms: int,
    *,
    dormant_s: int = 0,
) -> Verified | Refused:
    """Check a TOTP code against *account_id*, once.

    *ring* is the sealing ring; *now_ms* Unix milliseconds. Whatever is typed, a malformed code too,
    spends the budget until the code is accepted.

    Raises:
        SealBroken, SecretUnusable: what the store holds is not what was put there.
        StoreUnavailable, StoreEmptied: nobody is let in.
    """
    attempt = await accounts.begin_attempt(account_id, budget, dormant_s=dormant_s)
    if isinstance(attempt, AttemptRefused):
        return _refused(attempt)
    secret = unseal(ring, attempt.sealed_secret, purpose=SEALED_FACTOR, account_id=account_id)
    found = check_code(secret.decode("ascii"), code, now_s=now_ms // 1000, last_step=attempt.last_step)
    if isinstance(found, CodeAccepted):
        if await accounts.accept_step(account_id, found.step, epoch=attempt.epoch):
            return Verified(step=found.step)
        why = CodeFault.REPLAYED
    else:
        why = found.why
    return await _failed(accounts, account_id, budget, attempt, Refusal(why.value))


async def verify_recovery(
    accounts: AccountStore,
    account_id: str,
    code: str,
    budget: FailureBudget,
    cost: HashCost,
    *,
    dormant_s: int = 0,
) -> Verified | Refused:
    """Check a recovery code against *account_id*, once; it shares the budget of TOTP codes.

    Raises:
        StoreUnavailable, StoreEmptied: nobody is let in.
    """
    attempt = await accounts.begin_attempt(account_id, budget, dormant_s=dormant_s)
    if isinstance(attempt, AttemptRefused):
        return _refused(attempt)
    recovery_id = await asyncio.to_thread(find_code, code, attempt.recovery, cost)
    if recovery_id is None:
        return await _failed(accounts, account_id, budget, attempt, Refusal.WRONG)
    left = await accounts.use_recovery(account_id, recovery_id, epoch=attempt.epoch)
    if left is None:
        return await _failed(accounts, account_id, budget, attempt, Refusal.REPLAYED)
    return Verified(recovery_left=left)


def _refused(attempt: AttemptRefused) -> Refused:
    why = _WHY.get(attempt.why, Refusal.NOT_ENROLLED)
    return Refused(why, attempt.retry_after_s, attempt.locked_now)


async def _failed(
    accounts: AccountStore, account_id: str, budget: FailureBudget, attempt: Attempt, why: Refusal
) -> Refused:
    failed = await accounts.fail_attempt(account_id, budget, epoch=attempt.epoch)
    return Refused(why, failed.retry_after_s, failed.locked_now)
