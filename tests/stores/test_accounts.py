"""What the store guarantees about accounts: once, never more than the budget, and all or nothing."""

import asyncio
import time
from itertools import count

import pytest

from gateway.accounts import enrolment
from gateway.accounts.account import Account, Act, after
from gateway.accounts.enrolment import Candidate, Enrolled, EnrolmentFault, EnrolmentRefused
from gateway.accounts.invitation import Invitation, code_hash, new_invitation
from gateway.accounts.names import account_ref
from gateway.accounts.recovery import CHEAPEST, RANDOM_BYTES, find_code
from gateway.accounts.sealing import SealBroken
from gateway.accounts.store import (
    AccountStore,
    Attempt,
    AttemptFault,
    AttemptRefused,
    Changed,
    ChangeRefused,
    InvitationProven,
    Labels,
)
from gateway.accounts.totp import code_at
from gateway.accounts.verification import Refusal, Refused, Verified, verify_code, verify_recovery
from gateway.policy.policy import FailureBudget, SessionRules
from gateway.sessions.store import SessionRefused, SessionStore
from gateway.valkey.client import Store
from gateway.vocabulary.identity import AccountRef, NameMapping, Stage, Standing
from gateway.vocabulary.keys import KeyRing
from tests.people import DR_MARTIN, INTRUDER, NURSE_BEN

NAMES = KeyRing("names", "n1", {"n1": b"N" * 32})
SEALING = KeyRing("sealing", "s1", {"s1": b"S" * 32})
MARTIN = account_ref(DR_MARTIN.login, "region", NameMapping(), NAMES)
BEN = account_ref(NURSE_BEN.login, "region", NameMapping(), NAMES)
BUDGET = FailureBudget()
RULES = SessionRules()
NOW_MS = 1_790_000_000_000
STEP = NOW_MS // 30_000
FAR_MS = 4_000_000_000_000
SID = "5" * 32
_numbers = count(1)


@pytest.fixture
def accounts(store: Store) -> AccountStore:
    return AccountStore(store)


async def invited(accounts: AccountStore, ref: AccountRef, until_ms: int = FAR_MS) -> Invitation:
    invitation = new_invitation(NAMES, ref.id, next(_numbers).to_bytes(10))
    assert isinstance(await accounts.invite(ref, invitation.hash, until_ms, Labels()), Changed)
    return invitation


async def enrolled(accounts: AccountStore, ref: AccountRef) -> tuple[str, Enrolled]:
    """Take *ref* the whole way; return the secret and what enrolment gave."""
    invitation = await invited(accounts, ref)
    shown = await enrolment.start(accounts, SEALING, ref.id, SID, invitation.id, next(_numbers).to_bytes(20))
    assert isinstance(shown, Candidate)
    done = await confirm(accounts, ref, invitation, code_at(shown.secret, STEP - 10), now_ms=NOW_MS - 300_000)
    assert isinstance(done, Enrolled)
    return shown.secret, done


async def confirm(
    accounts: AccountStore,
    ref: AccountRef,
    invitation: Invitation,
    code: str,
    *,
    sid: str = SID,
    now_ms: int = NOW_MS,
) -> Enrolled | EnrolmentRefused:
    randomness = next(_numbers).to_bytes(8) * (RANDOM_BYTES // 8 + 1)
    return await enrolment.confirm(
        accounts, SEALING, ref.id, sid, invitation.id, code, now_ms, randomness[:RANDOM_BYTES], CHEAPEST
    )


async def known(accounts: AccountStore, ref: AccountRef) -> Account:
    account = await accounts.get(ref.id)
    assert account is not None
    return account


async def set_fields(store: Store, ref: AccountRef, *pairs: str | int) -> None:
    await store.execute("HSET", f"ecluse:{{{ref.id}}}:account", *pairs)


async def test_from_invitation_to_first_login(accounts: AccountStore) -> None:
    assert await accounts.get(MARTIN.id) is None
    invitation = await invited(accounts, MARTIN)
    account = await known(accounts, MARTIN)
    assert (account.login, account.realm, account.standing) == ("dr.martin", "region", Standing.INVITED)
    assert (account.invitation_id, account.invitation_until_ms) == (invitation.id, FAR_MS)
    typed = code_hash(NAMES, MARTIN.id, invitation.code.lower())
    assert await accounts.try_invitation(MARTIN.id, typed, BUDGET) == InvitationProven(invitation.id)
    shown = await enrolment.start(accounts, SEALING, MARTIN.id, SID, invitation.id, bytes(20))
    assert isinstance(shown, Candidate)
    done = await confirm(accounts, MARTIN, invitation, code_at(shown.secret, STEP))
    assert isinstance(done, Enrolled)
    assert len(done.recovery_codes) == 10
    account = await known(accounts, MARTIN)
    assert account.standing is Standing.ACTIVE
    assert (account.recovery_left, account.has_secret, account.invitation_id) == (10, True, None)
    assert account.enrolled_ms is not None
    # The code that proved the secret is used up.
    again = await verify_code(accounts, SEALING, MARTIN.id, code_at(shown.secret, STEP), BUDGET, NOW_MS)
    assert again == Refused(Refusal.REPLAYED)
    later = await verify_code(
        accounts, SEALING, MARTIN.id, code_at(shown.secret, STEP + 1), BUDGET, NOW_MS + 30_000
    )
    assert later == Verified(step=STEP + 1)
    assert (await known(accounts, MARTIN)).failures == 0


async def test_labels_are_set_kept_and_removed(accounts: AccountStore) -> None:
    hashes = [new_invitation(NAMES, MARTIN.id, bytes([n]) * 10).hash for n in range(3)]
    await accounts.invite(MARTIN, hashes[0], FAR_MS, Labels("ward", "590000001", "Dr Martin"))
    await accounts.invite(MARTIN, hashes[1], FAR_MS, Labels(establishment=""))
    account = await known(accounts, MARTIN)
    assert (account.account_class, account.establishment, account.display) == ("ward", None, "Dr Martin")
    await accounts.invite(BEN, hashes[2], FAR_MS, Labels())
    assert [listed.login for listed in await accounts.list()] == ["ben.infirmier", "dr.martin"]


# Every act from every standing does what the pure table says, and nothing when it says no.

LIVES = [
    *((standing, act, False) for standing in Standing for act in Act),
    *((standing, act, True) for standing in (Standing.ACTIVE, Standing.LOCKED) for act in Act),
]


@pytest.mark.parametrize(("standing", "act", "has_secret"), LIVES)
async def test_the_store_lives_the_same_life_as_the_table(
    store: Store, accounts: AccountStore, standing: Standing, act: Act, *, has_secret: bool
) -> None:
    if standing is not Standing.ABSENT:
        await set_fields(
            store, MARTIN, "login", "dr.martin", "realm", "region", "state", standing.value, "epoch", 3
        )
        await set_fields(
            store, MARTIN, "invitation", "h" * 64, "invitation_id", "h" * 16, "invitation_until_ms", FAR_MS
        )
    if has_secret:
        await set_fields(store, MARTIN, "secret", "sealed", "enrolled_ms", "1", "last_login_ms", FAR_MS)
    before = await accounts.get(MARTIN.id)
    match act:
        case Act.INVITE:
            changed = await accounts.invite(MARTIN, "e" * 64, FAR_MS, Labels())
        case Act.ENROL:
            won = await accounts.enrol(MARTIN.id, SID, "h" * 16, "sealed", STEP, ())
            changed = Changed(Standing.ACTIVE) if won else ChangeRefused(standing)
        case Act.LOCK:
            changed = await accounts.lock(MARTIN.id, "containment", ref=MARTIN)
        case Act.UNLOCK:
            changed = await accounts.unlock(MARTIN.id)
        case Act.RESET:
            changed = await accounts.reset(MARTIN.id)
        case Act.RETIRE:
            changed = await accounts.retire(MARTIN.id)
    expected = after(standing, act, has_secret=has_secret)
    now = await accounts.get(MARTIN.id)
    if expected is None:
        assert changed == ChangeRefused(standing)
        assert now == before
        return
    assert isinstance(changed, Changed)
    assert now is not None
    assert changed.standing is now.standing is expected
    if act in {Act.LOCK, Act.RESET, Act.RETIRE}:
        assert now.epoch > (before.epoch if before else 0)
    if act in {Act.RESET, Act.RETIRE}:
        assert (now.has_secret, now.invitation_id, now.recovery_left) == (False, None, 0)


async def test_locking_an_unknown_id_without_a_name_is_refused(accounts: AccountStore) -> None:
    assert await accounts.lock(MARTIN.id, "typo") == ChangeRefused(Standing.ABSENT)
    assert await accounts.get(MARTIN.id) is None


# Enrolment (G in docs/attack-cases.md).


async def test_g01_no_secret_is_shown_without_a_proven_invitation(accounts: AccountStore) -> None:
    refused = EnrolmentRefused(EnrolmentFault.NOT_INVITED)
    assert await enrolment.start(accounts, SEALING, MARTIN.id, SID, "", bytes(20)) == refused
    await invited(accounts, MARTIN)
    assert await enrolment.start(accounts, SEALING, MARTIN.id, SID, "", bytes(20)) == refused
    assert await enrolment.start(accounts, SEALING, MARTIN.id, SID, "0" * 16, bytes(20)) == refused


async def test_g02_an_invitation_works_once_for_its_account_until_it_ends(accounts: AccountStore) -> None:
    first = await invited(accounts, MARTIN)
    # Of another account.
    await invited(accounts, BEN)
    assert code_hash(NAMES, BEN.id, first.code) != first.hash
    found = await accounts.try_invitation(BEN.id, code_hash(NAMES, BEN.id, first.code), BUDGET)
    assert found == AttemptRefused(AttemptFault.WRONG)
    # Replaced by a newer one.
    second = await invited(accounts, MARTIN)
    assert await accounts.try_invitation(MARTIN.id, first.hash, BUDGET) == AttemptRefused(AttemptFault.WRONG)
    assert await accounts.try_invitation(MARTIN.id, second.hash, BUDGET) == InvitationProven(second.id)
    assert not await accounts.enrol(MARTIN.id, SID, first.id, "sealed", STEP, ())
    # Used.
    assert await accounts.enrol(MARTIN.id, SID, second.id, "sealed", STEP, ())
    assert not await accounts.enrol(MARTIN.id, SID, second.id, "other", STEP, ())
    assert await accounts.try_invitation(MARTIN.id, second.hash, BUDGET) == AttemptRefused(
        AttemptFault.ACTIVE
    )
    # Expired.
    late = await invited(accounts, BEN, until_ms=int(time.time() * 1000) - 1)
    assert await accounts.try_invitation(BEN.id, late.hash, BUDGET) == AttemptRefused(AttemptFault.EXPIRED)
    assert not await accounts.enrol(BEN.id, SID, late.id, "sealed", STEP, ())


async def test_g03_guessing_invitations_is_stopped_for_one_account(
    store: Store, accounts: AccountStore
) -> None:
    invitation = await invited(accounts, MARTIN)
    answers = [await accounts.try_invitation(MARTIN.id, "0" * 64, BUDGET) for _ in range(7)]
    assert [answer.why for answer in answers if isinstance(answer, AttemptRefused)] == (
        [AttemptFault.WRONG] * 5 + [AttemptFault.DELAYED] * 2
    )
    assert isinstance(answers[-1], AttemptRefused)
    assert 1 <= answers[-1].retry_after_s <= 30
    # The right one has to wait too.
    waiting = await accounts.try_invitation(MARTIN.id, invitation.hash, BUDGET)
    assert isinstance(waiting, AttemptRefused)
    # The last failure of the budget kills the invitation, not the account.
    await set_fields(store, MARTIN, "invitation_failures", 49, "invitation_next_try_ms", 0)
    assert await accounts.try_invitation(MARTIN.id, None, BUDGET) == AttemptRefused(AttemptFault.EXHAUSTED)
    account = await known(accounts, MARTIN)
    assert (account.standing, account.invitation_id) == (Standing.INVITED, None)
    assert await accounts.try_invitation(MARTIN.id, invitation.hash, BUDGET) == AttemptRefused(
        AttemptFault.NO_INVITATION
    )


async def test_g03_guessing_invitations_is_stopped_for_everybody(store: Store) -> None:
    accounts = AccountStore(store, invitation_failures_an_hour=20)
    invitation = await invited(accounts, MARTIN)
    refs = [account_ref(f"{INTRUDER.login}{n}", "region", NameMapping(), NAMES) for n in range(30)]
    answers = await asyncio.gather(*(accounts.try_invitation(ref.id, "0" * 64, BUDGET) for ref in refs))
    whys = [answer.why for answer in answers if isinstance(answer, AttemptRefused)]
    assert whys == [AttemptFault.ABSENT] * 20 + [AttemptFault.EVERYBODY_DELAYED] * 10
    stopped = await accounts.try_invitation(MARTIN.id, invitation.hash, BUDGET)
    assert isinstance(stopped, AttemptRefused)
    assert 1 <= stopped.retry_after_s <= 3_600


async def test_g04_a_secret_that_was_only_shown_is_no_factor_and_goes_away(
    store: Store, accounts: AccountStore
) -> None:
    invitation = await invited(accounts, MARTIN)
    shown = await enrolment.start(accounts, SEALING, MARTIN.id, SID, invitation.id, bytes(20))
    assert isinstance(shown, Candidate)
    assert not (await known(accounts, MARTIN)).has_secret
    code = code_at(shown.secret, STEP)
    assert isinstance(await accounts.begin_attempt(MARTIN.id, BUDGET), AttemptRefused)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    assert await confirm(accounts, MARTIN, invitation, wrong) == EnrolmentRefused(EnrolmentFault.WRONG_CODE)
    key = f"ecluse:{{{MARTIN.id}}}:enrolling:{SID}"
    assert 0 < await store.execute("PTTL", key) <= 600_000
    # Showing the page again shows the same secret and gives it no more time.
    await store.execute("PEXPIRE", key, 5_000)
    again = await enrolment.start(accounts, SEALING, MARTIN.id, SID, invitation.id, b"x" * 20)
    assert again == shown
    assert await store.execute("PTTL", key) <= 5_000
    await store.execute("DEL", key)
    assert await confirm(accounts, MARTIN, invitation, code) == EnrolmentRefused(EnrolmentFault.TOO_LATE)
    assert shown.secret not in repr(shown)


async def test_g05_who_is_enrolled_cannot_enrol_again(accounts: AccountStore) -> None:
    await enrolled(accounts, MARTIN)
    invitation = new_invitation(NAMES, MARTIN.id, bytes(10))
    assert await accounts.invite(MARTIN, invitation.hash, FAR_MS, Labels()) == ChangeRefused(Standing.ACTIVE)
    refused = EnrolmentRefused(EnrolmentFault.NOT_INVITED)
    assert await enrolment.start(accounts, SEALING, MARTIN.id, SID, invitation.id, bytes(20)) == refused
    assert not await accounts.enrol(MARTIN.id, SID, invitation.id, "sealed", STEP, ())


async def test_g09_a_dormant_account_needs_a_new_invitation(store: Store, accounts: AccountStore) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    await set_fields(store, MARTIN, "last_login_ms", int(time.time() * 1000) - 90 * 86_400_000)
    found = await verify_code(
        accounts, SEALING, MARTIN.id, code_at(secret, STEP), BUDGET, NOW_MS, dormant_s=90 * 86_400 - 60
    )
    assert found == Refused(Refusal.DORMANT)
    assert (await known(accounts, MARTIN)).failures == 0
    fresh = new_invitation(NAMES, MARTIN.id, b"d" * 10)
    kept = await accounts.invite(MARTIN, fresh.hash, FAR_MS, Labels(), dormant_s=91 * 86_400)
    assert kept == ChangeRefused(Standing.ACTIVE)
    changed = await accounts.invite(MARTIN, fresh.hash, FAR_MS, Labels(), dormant_s=89 * 86_400)
    assert changed == Changed(Standing.INVITED)
    assert not (await known(accounts, MARTIN)).has_secret


async def test_g10_of_two_enrolments_at_once_exactly_one_wins(accounts: AccountStore) -> None:
    for _ in range(10):
        invitation = await invited(accounts, MARTIN)
        sids = [f"{n:032x}" for n in range(2)]
        shown = [
            await enrolment.start(accounts, SEALING, MARTIN.id, sid, invitation.id, bytes([n]) * 20)
            for n, sid in enumerate(sids)
        ]
        secrets = [one.secret for one in shown if isinstance(one, Candidate)]
        done = await asyncio.gather(
            *(
                confirm(accounts, MARTIN, invitation, code_at(secret, STEP), sid=sid)
                for secret, sid in zip(secrets, sids, strict=True)
            )
        )
        winners = [n for n, one in enumerate(done) if isinstance(one, Enrolled)]
        assert len(winners) == 1
        # The other QR is dead.
        for n, secret in enumerate(secrets):
            code = code_at(secret, STEP + 1)
            found = await verify_code(accounts, SEALING, MARTIN.id, code, BUDGET, NOW_MS + 30_000)
            assert isinstance(found, Verified) is (n in winners)
        await accounts.reset(MARTIN.id)


# Verification (H in docs/attack-cases.md).


async def test_h01_a_code_works_once(accounts: AccountStore) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    code = code_at(secret, STEP)
    assert await verify_code(accounts, SEALING, MARTIN.id, code, BUDGET, NOW_MS) == Verified(step=STEP)
    for spelling in (code, f"{code[:3]} {code[3:]}"):
        again = await verify_code(accounts, SEALING, MARTIN.id, spelling, BUDGET, NOW_MS)
        assert again == Refused(Refusal.REPLAYED)


@pytest.mark.parametrize("parallel", [2, 5, 50])
async def test_h03_parallel_submissions_of_one_code_open_once(
    store_url: str, store: Store, accounts: AccountStore, parallel: int
) -> None:
    other_node = await Store.open(store_url, libraries=_sources(), state_dir=None)
    try:
        nodes = [accounts, AccountStore(other_node)]
        secret, _ = await enrolled(accounts, MARTIN)
        code = code_at(secret, STEP)
        found = await asyncio.gather(
            *(verify_code(nodes[n % 2], SEALING, MARTIN.id, code, BUDGET, NOW_MS) for n in range(parallel))
        )
    finally:
        await other_node.close()
    assert sum(isinstance(one, Verified) for one in found) == 1


async def test_h03_the_compare_and_set_alone_is_enough(accounts: AccountStore) -> None:
    await enrolled(accounts, MARTIN)
    epoch = (await known(accounts, MARTIN)).epoch
    won = await asyncio.gather(*(accounts.accept_step(MARTIN.id, STEP, epoch=epoch) for _ in range(50)))
    assert sum(won) == 1


async def test_h04_an_older_step_never_follows_a_newer_one(accounts: AccountStore) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    assert isinstance(
        await verify_code(accounts, SEALING, MARTIN.id, code_at(secret, STEP), BUDGET, NOW_MS), Verified
    )
    older = await verify_code(accounts, SEALING, MARTIN.id, code_at(secret, STEP - 1), BUDGET, NOW_MS)
    assert older == Refused(Refusal.REPLAYED)
    assert not await accounts.accept_step(MARTIN.id, STEP - 1, epoch=0)


async def test_h05_a_node_with_a_fast_or_slow_clock_stays_in_the_window(accounts: AccountStore) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    code = code_at(secret, STEP)
    ahead = await verify_code(accounts, SEALING, MARTIN.id, code, BUDGET, NOW_MS + 60_000)
    behind = await verify_code(accounts, SEALING, MARTIN.id, code, BUDGET, NOW_MS - 45_000)
    assert (ahead, behind) == (Refused(Refusal.WRONG), Refused(Refusal.WRONG))


async def test_h06_failures_outlive_sessions_and_wait_longer_and_longer(
    store: Store, accounts: AccountStore
) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    sessions = SessionStore(store)
    waits: list[int] = []
    for _ in range(14):
        # A new login with the right password between two tries changes nothing.
        await sessions.open(MARTIN.id, "parcours", Stage.PENDING, RULES)
        await sessions.close_all(MARTIN.id)
        found = await verify_code(accounts, SEALING, MARTIN.id, "000000", BUDGET, 0)
        assert isinstance(found, Refused)
        waits.append(found.retry_after_s)
        # As if that time had passed.
        await set_fields(store, MARTIN, "next_try_ms", 0)
    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert (await known(accounts, MARTIN)).failures == 14
    found = await verify_code(accounts, SEALING, MARTIN.id, code_at(secret, STEP), BUDGET, NOW_MS)
    assert found == Verified(step=STEP)
    assert (await known(accounts, MARTIN)).failures == 0


async def test_h06_the_last_failure_locks_and_ends_every_session(
    store: Store, accounts: AccountStore
) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    sessions = SessionStore(store)
    await sessions.open(MARTIN.id, "parcours", Stage.FULL, RULES)
    await set_fields(store, MARTIN, "failures", 48)
    found = [
        (await set_fields(store, MARTIN, "next_try_ms", 0))
        or await verify_code(accounts, SEALING, MARTIN.id, "000000", BUDGET, 0)
        for _ in range(2)
    ]
    assert found[0] == Refused(Refusal.WRONG, 3_600)
    assert found[1] == Refused(Refusal.WRONG, 3_600, locked_now=True)
    account = await known(accounts, MARTIN)
    assert (account.standing, account.locked_reason) == (Standing.LOCKED, "failures")
    assert await sessions.list(MARTIN.id) == ()
    right = await verify_code(accounts, SEALING, MARTIN.id, code_at(secret, STEP), BUDGET, NOW_MS)
    assert right == Refused(Refusal.LOCKED)
    assert await accounts.unlock(MARTIN.id) == Changed(Standing.ACTIVE)
    right = await verify_code(accounts, SEALING, MARTIN.id, code_at(secret, STEP), BUDGET, NOW_MS)
    assert right == Verified(step=STEP)


async def test_a_node_that_died_before_telling_does_not_stretch_the_budget(
    store: Store, accounts: AccountStore
) -> None:
    await enrolled(accounts, MARTIN)
    await set_fields(store, MARTIN, "failures", 50)
    first = await accounts.begin_attempt(MARTIN.id, BUDGET)
    assert first == AttemptRefused(AttemptFault.LOCKED, locked_now=True)
    assert (await known(accounts, MARTIN)).standing is Standing.LOCKED
    assert await accounts.begin_attempt(MARTIN.id, BUDGET) == AttemptRefused(AttemptFault.LOCKED)


@pytest.mark.parametrize("parallel", [6, 50, 300])
async def test_h09_parallel_wrong_codes_never_get_more_looks_than_the_budget(
    accounts: AccountStore, parallel: int
) -> None:
    await enrolled(accounts, MARTIN)
    begun = await asyncio.gather(*(accounts.begin_attempt(MARTIN.id, BUDGET) for _ in range(parallel)))
    assert sum(isinstance(one, Attempt) for one in begun) == BUDGET.free
    assert (await known(accounts, MARTIN)).failures == BUDGET.free


async def test_h10_the_budget_is_that_of_the_canonical_account(accounts: AccountStore) -> None:
    await enrolled(accounts, MARTIN)
    for spelling in ("dr.martin", "DR.MARTIN", " dr.martin ", "\uff44r.martin", "Dr.Martin"):
        ref = account_ref(spelling, "region", NameMapping(), NAMES)
        await verify_code(accounts, SEALING, ref.id, "000000", BUDGET, 0)
    found = await verify_code(accounts, SEALING, MARTIN.id, "000000", BUDGET, 0)
    assert isinstance(found, Refused)
    assert found.why is Refusal.DELAYED


@pytest.mark.parametrize("typed", ["", "null", "[1]", "\uff11" * 6, "1" * 100_000])
async def test_h14_malformed_codes_are_counted_and_raise_nothing(accounts: AccountStore, typed: str) -> None:
    await enrolled(accounts, MARTIN)
    found = await verify_code(accounts, SEALING, MARTIN.id, typed, BUDGET, NOW_MS)
    assert found == Refused(Refusal.MALFORMED)
    assert (await known(accounts, MARTIN)).failures == 1


async def test_h17_a_secret_moved_to_another_account_does_not_open(
    store: Store, accounts: AccountStore
) -> None:
    secret, _ = await enrolled(accounts, MARTIN)
    await enrolled(accounts, BEN)
    stolen = await store.execute("HGET", f"ecluse:{{{MARTIN.id}}}:account", "secret")
    await set_fields(store, BEN, "secret", stolen.decode())
    with pytest.raises(SealBroken):
        await verify_code(accounts, SEALING, BEN.id, code_at(secret, STEP), BUDGET, NOW_MS)


async def test_a_code_of_before_a_reset_is_not_accepted_after_it(accounts: AccountStore) -> None:
    await enrolled(accounts, MARTIN)
    attempt = await accounts.begin_attempt(MARTIN.id, BUDGET)
    assert isinstance(attempt, Attempt)
    await accounts.reset(MARTIN.id)
    await enrolled(accounts, MARTIN)
    assert not await accounts.accept_step(MARTIN.id, STEP, epoch=attempt.epoch)
    assert await accounts.use_recovery(MARTIN.id, attempt.recovery[0].id, epoch=attempt.epoch) is None


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (None, Refusal.NOT_ENROLLED),
        (Standing.INVITED, Refusal.NOT_ENROLLED),
        (Standing.ACTIVE, Refusal.NOT_ENROLLED),
        (Standing.LOCKED, Refusal.LOCKED),
        (Standing.RETIRED, Refusal.RETIRED),
    ],
)
async def test_nobody_is_asked_who_has_no_factor(
    store: Store, accounts: AccountStore, standing: Standing | None, why: Refusal
) -> None:
    if standing is not None:
        await set_fields(store, MARTIN, "state", standing.value)
    assert await verify_code(accounts, SEALING, MARTIN.id, "123456", BUDGET, NOW_MS) == Refused(why)


# Recovery codes (I01 in docs/attack-cases.md).


async def test_a_recovery_code_works_once_and_shares_the_budget(accounts: AccountStore) -> None:
    _, done = await enrolled(accounts, MARTIN)
    await verify_code(accounts, SEALING, MARTIN.id, "000000", BUDGET, 0)
    assert await verify_recovery(accounts, MARTIN.id, "nonsense", BUDGET, CHEAPEST) == Refused(Refusal.WRONG)
    assert (await known(accounts, MARTIN)).failures == 2
    first = done.recovery_codes[0]
    assert await verify_recovery(accounts, MARTIN.id, first.lower(), BUDGET, CHEAPEST) == Verified(
        recovery_left=9
    )
    assert (await known(accounts, MARTIN)).failures == 0
    assert await verify_recovery(accounts, MARTIN.id, first, BUDGET, CHEAPEST) == Refused(Refusal.WRONG)
    for left, code in zip(range(8, -1, -1), done.recovery_codes[1:], strict=True):
        assert await verify_recovery(accounts, MARTIN.id, code, BUDGET, CHEAPEST) == Verified(
            recovery_left=left
        )
    assert (await known(accounts, MARTIN)).recovery_left == 0


async def test_one_recovery_code_raced_opens_once(accounts: AccountStore) -> None:
    _, done = await enrolled(accounts, MARTIN)
    found = await asyncio.gather(
        *(verify_recovery(accounts, MARTIN.id, done.recovery_codes[4], BUDGET, CHEAPEST) for _ in range(5))
    )
    assert sum(isinstance(one, Verified) for one in found) == 1


async def test_the_store_never_holds_a_code_in_clear(store: Store, accounts: AccountStore) -> None:
    secret, done = await enrolled(accounts, MARTIN)
    invitation = await invited(accounts, BEN)
    kept = b"".join(await store.execute("HGETALL", f"ecluse:{{{MARTIN.id}}}:account"))
    kept += b"".join(await store.execute("HGETALL", f"ecluse:{{{BEN.id}}}:account"))
    for clear in (secret, invitation.code, invitation.code.replace("-", ""), *done.recovery_codes):
        assert clear.encode() not in kept
        assert clear.replace("-", "")[4:].encode() not in kept
    attempt = await accounts.begin_attempt(MARTIN.id, BUDGET)
    assert isinstance(attempt, Attempt)
    assert find_code(done.recovery_codes[0], attempt.recovery, CHEAPEST) is not None
    assert attempt.sealed_secret not in repr(attempt)


# Containment.


async def test_a_locked_account_has_no_session_and_gets_none(store: Store, accounts: AccountStore) -> None:
    sessions = SessionStore(store)
    await enrolled(accounts, MARTIN)
    opened = await sessions.open(MARTIN.id, "parcours", Stage.FULL, RULES)
    await sessions.park(MARTIN.id, opened.session_id, "sealed")
    pending = await sessions.open(MARTIN.id, "parcours", Stage.PENDING, RULES)
    other = await sessions.open(BEN.id, "parcours", Stage.FULL, RULES)
    assert await accounts.lock(MARTIN.id, "stolen password") == Changed(Standing.LOCKED, 2)
    assert await sessions.list(MARTIN.id) == ()
    assert await sessions.get(MARTIN.id, opened.session_id) is None
    assert await sessions.unpark(MARTIN.id, opened.session_id) is None
    with pytest.raises(SessionRefused):
        await sessions.open(MARTIN.id, "parcours", Stage.PENDING, RULES)
    with pytest.raises(SessionRefused):
        await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES)
    assert await sessions.get(BEN.id, other.session_id) is not None


def _sources() -> tuple[str, ...]:
    from tests.stores.conftest import product_sources

    return product_sources()


async def test_only_whoever_has_a_factor_can_owe_a_code(accounts: AccountStore) -> None:
    assert await accounts.owe(MARTIN.id, "new-device", 60) == ChangeRefused(Standing.ABSENT)
    await invited(accounts, MARTIN)
    assert await accounts.owe(MARTIN.id, "new-device", 60) == ChangeRefused(Standing.INVITED)
    await accounts.reset(MARTIN.id)
    await enrolled(accounts, MARTIN)
    assert await accounts.owe(MARTIN.id, "new-device", 60) == Changed(Standing.ACTIVE)
    account = await accounts.get(MARTIN.id)
    assert account is not None
    assert account.owes_why == "new-device"
    assert account.owes_until_ms is not None
    assert 55_000 < account.owes_until_ms - time.time() * 1000 <= 60_000


async def test_a_longer_debt_is_not_shortened_and_a_new_factor_owes_nothing(accounts: AccountStore) -> None:
    await enrolled(accounts, MARTIN)
    await accounts.owe(MARTIN.id, "posture", 3_600)
    before = await accounts.get(MARTIN.id)
    await accounts.owe(MARTIN.id, "new-device", 60)
    after_it = await accounts.get(MARTIN.id)
    assert before is not None
    assert after_it is not None
    assert after_it.owes_until_ms == before.owes_until_ms
    assert after_it.owes_why == "new-device"
    await accounts.reset(MARTIN.id)
    forgotten = await accounts.get(MARTIN.id)
    assert forgotten is not None
    assert forgotten.owes_until_ms is None


@pytest.mark.parametrize(("why", "for_s"), [("", 60), ("Pourquoi ?", 60), ("x" * 41, 60), ("asked", 0)])
async def test_a_debt_has_a_word_and_a_time(accounts: AccountStore, why: str, for_s: int) -> None:
    with pytest.raises(ValueError, match="a debt needs"):
        await accounts.owe(MARTIN.id, why, for_s)
