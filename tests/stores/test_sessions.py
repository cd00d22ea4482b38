"""What the store guarantees about sessions, parked answers and doors."""

import asyncio
from dataclasses import replace

import pytest

from gateway.accounts.names import account_ref
from gateway.accounts.store import AccountStore, Labels
from gateway.policy.policy import FailureBudget, SessionRules
from gateway.sessions.store import DoorState, Link, SessionRefused, SessionStore, new_session_id
from gateway.valkey.client import Store, StoreEmptied
from gateway.vocabulary.identity import NameMapping, Stage, Standing
from gateway.vocabulary.keys import KeyRing
from gateway.vocabulary.limits import BreakGlass
from tests.people import DR_MARTIN, NURSE_BEN

NAMES = KeyRing("names", "n1", {"n1": b"N" * 32})
MARTIN = account_ref(DR_MARTIN.login, "region", NameMapping(), NAMES)
BEN = account_ref(NURSE_BEN.login, "region", NameMapping(), NAMES)
RULES = SessionRules()
APP, OTHER_APP = "parcours", "annuaire"
JAR = ("A" * 22, "B" * 22)


@pytest.fixture
def sessions(store: Store) -> SessionStore:
    return SessionStore(store)


async def test_a_session_is_what_it_was_opened_with(store: Store, sessions: SessionStore) -> None:
    opened = await sessions.open(
        MARTIN.id, APP, Stage.PENDING, RULES, jar=JAR, address="192.0.2.7", agent="Firefox", invitation="i1"
    )
    assert len(opened.session_id) == 32
    assert opened.closed == ()
    session = await sessions.get(MARTIN.id, opened.session_id)
    assert session is not None
    assert (session.app, session.stage, session.jar) == (APP, Stage.PENDING, frozenset(JAR))
    assert (session.address, session.agent, session.invitation) == ("192.0.2.7", "Firefox", "i1")
    assert session.alive
    assert session.created_ms == session.seen_ms
    assert await sessions.list(MARTIN.id) == (session,)
    assert await sessions.get(BEN.id, opened.session_id) is None
    life_ms = await store.execute("PTTL", f"ecluse:{{{MARTIN.id}}}:session:{opened.session_id}")
    assert RULES.pending_s * 1000 - 5_000 < life_ms <= RULES.pending_s * 1000


async def test_j01_each_step_up_has_a_new_id_and_the_old_one_is_dead(
    store: Store, sessions: SessionStore
) -> None:
    pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES, jar=JAR[:1], agent="Firefox")
    full = await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES, add_jar=JAR[1:])
    assert full.session_id != pending.session_id
    assert await sessions.get(MARTIN.id, pending.session_id) is None
    session = await sessions.get(MARTIN.id, full.session_id)
    assert session is not None
    assert (session.stage, session.jar, session.agent) == (Stage.FULL, frozenset(JAR), "Firefox")
    assert [listed.id for listed in await sessions.list(MARTIN.id)] == [full.session_id]
    life_ms = await store.execute("PTTL", f"ecluse:{{{MARTIN.id}}}:session:{full.session_id}")
    assert RULES.absolute_s * 1000 - 5_000 < life_ms <= RULES.absolute_s * 1000
    with pytest.raises(SessionRefused) as refused:
        await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES)
    assert refused.value.standing is None


async def test_one_pending_session_promoted_in_parallel_gives_one_session(sessions: SessionStore) -> None:
    pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    tries = (sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES) for _ in range(20))
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, SessionRefused) for one in done) == 19
    assert len(await sessions.list(MARTIN.id)) == 1


async def test_at_most_two_full_sessions_an_app_and_the_oldest_goes(sessions: SessionStore) -> None:
    ids = []
    for _ in range(4):
        pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
        await sessions.park(MARTIN.id, pending.session_id, "sealed")
        # The store orders sessions by millisecond.
        await _next_millisecond(sessions)
        ids.append(await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES))
    assert [one.closed for one in ids] == [(), (), (ids[0].session_id,), (ids[1].session_id,)]
    other = await sessions.open(MARTIN.id, OTHER_APP, Stage.FULL, RULES)
    pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    assert (other.closed, pending.closed) == ((), ())
    alone = await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, replace(RULES, at_most=1))
    assert set(alone.closed) == {ids[2].session_id, ids[3].session_id}
    left = {session.id for session in await sessions.list(MARTIN.id)}
    assert left == {other.session_id, alone.session_id}


async def _next_millisecond(sessions: SessionStore) -> None:
    # Asks the store's own clock, so that nothing here depends on how fast this machine is.
    before = (await sessions._store.execute("TIME"))[1]
    while int((await sessions._store.execute("TIME"))[1]) // 1000 == int(before) // 1000:
        pass


async def test_waiting_sessions_are_bounded_and_never_push_out_full_ones(sessions: SessionStore) -> None:
    full = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    for _ in range(40):
        await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    listed = await sessions.list(MARTIN.id)
    assert len(listed) == 33
    assert full.session_id in {session.id for session in listed}


async def test_what_expired_leaves_the_list(store: Store, sessions: SessionStore) -> None:
    gone = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    await store.execute("DEL", f"ecluse:{{{MARTIN.id}}}:session:{gone.session_id}")
    assert await sessions.list(MARTIN.id) == ()
    await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    assert await store.execute("ZCARD", f"ecluse:{{{MARTIN.id}}}:sessions") == 1
    assert not await sessions.close(MARTIN.id, gone.session_id)


async def test_closing(sessions: SessionStore) -> None:
    one = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    two = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    three = await sessions.open(MARTIN.id, OTHER_APP, Stage.FULL, RULES)
    bens = await sessions.open(BEN.id, APP, Stage.FULL, RULES)
    # J05, and nobody closes somebody else's.
    assert not await sessions.close(BEN.id, one.session_id)
    assert await sessions.close(MARTIN.id, one.session_id)
    assert not await sessions.close(MARTIN.id, one.session_id)
    assert await sessions.close_all(MARTIN.id, app=OTHER_APP) == (three.session_id,)
    four = await sessions.open(MARTIN.id, OTHER_APP, Stage.FULL, RULES)
    assert await sessions.close_all(MARTIN.id, keep=four.session_id) == (two.session_id,)
    assert await sessions.close_all(MARTIN.id) == (four.session_id,)
    assert await sessions.get(BEN.id, bens.session_id) is not None


async def test_a_session_of_before_a_reset_is_not_alive(store: Store, sessions: SessionStore) -> None:
    accounts = AccountStore(store)
    await accounts.invite(MARTIN, "h" * 64, 4_000_000_000_000, Labels())
    opened = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    # As if the lock had missed it: the epoch alone has to do.
    await store.execute("HINCRBY", f"ecluse:{{{MARTIN.id}}}:account", "epoch", 1)
    session = await sessions.get(MARTIN.id, opened.session_id)
    assert session is not None
    assert not session.alive
    with pytest.raises(SessionRefused):
        await sessions.promote(MARTIN.id, opened.session_id, Stage.FULL, RULES)


@pytest.mark.parametrize("standing", [Standing.LOCKED, Standing.RETIRED])
async def test_no_session_for_closed_accounts(
    store: Store, sessions: SessionStore, standing: Standing
) -> None:
    await store.execute("HSET", f"ecluse:{{{MARTIN.id}}}:account", "state", standing.value)
    with pytest.raises(SessionRefused) as refused:
        await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    assert refused.value.standing is standing


async def test_proving_an_invitation_gives_time_to_enrol(store: Store, sessions: SessionStore) -> None:
    opened = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    await sessions.park(MARTIN.id, opened.session_id, "sealed")
    key = f"ecluse:{{{MARTIN.id}}}:session:{opened.session_id}"
    parked = f"ecluse:{{{MARTIN.id}}}:parked:{opened.session_id}"
    await store.execute("PEXPIRE", key, 9_000)
    await store.execute("PEXPIRE", parked, 9_000)
    await store.execute("HSET", key, "created_ms", 1)
    assert await sessions.note_invitation(MARTIN.id, opened.session_id, "i7", RULES)
    session = await sessions.get(MARTIN.id, opened.session_id)
    assert session is not None
    assert (session.invitation, session.stage) == ("i7", Stage.PENDING)
    assert session.created_ms > 1
    assert await store.execute("PTTL", key) > 9_000
    assert await store.execute("PTTL", parked) > 9_000
    assert not await sessions.note_invitation(MARTIN.id, "0" * 32, "i7", RULES)
    assert await sessions.get(MARTIN.id, "0" * 32) is None


async def test_a_parked_answer_is_read_once(store: Store, sessions: SessionStore) -> None:
    pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    assert await sessions.park(MARTIN.id, pending.session_id, "v1.k.sealed")
    parked = f"ecluse:{{{MARTIN.id}}}:parked:{pending.session_id}"
    assert 295_000 < await store.execute("PTTL", parked) <= 300_000
    await sessions.promote(MARTIN.id, pending.session_id, Stage.FULL, RULES)
    read = await asyncio.gather(*(sessions.unpark(MARTIN.id, pending.session_id) for _ in range(10)))
    assert sorted(read, key=str) == [None] * 9 + ["v1.k.sealed"]
    assert not await sessions.park(MARTIN.id, pending.session_id, "late")
    closed = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    await sessions.park(MARTIN.id, closed.session_id, "sealed")
    await sessions.close(MARTIN.id, closed.session_id)
    assert await sessions.unpark(MARTIN.id, closed.session_id) is None


async def test_doors(sessions: SessionStore) -> None:
    assert await sessions.door_state(JAR) == DoorState(sealed=False, in_flight=0)
    assert await sessions.door_begin(JAR, MARTIN.id)
    assert await sessions.door_state(JAR[:1]) == DoorState(sealed=False, in_flight=1)
    # Somebody who clicks twice is one person; another name, or none, waits.
    assert await sessions.door_begin(JAR[:1], MARTIN.id)
    assert await sessions.door_state(JAR) == DoorState(sealed=False, in_flight=2)
    assert not await sessions.door_begin(JAR[:1], BEN.id)
    assert not await sessions.door_begin(JAR[:1])
    assert await sessions.door_state(JAR) == DoorState(sealed=False, in_flight=2)
    await sessions.door_end(JAR[:1], success=False)
    assert await sessions.door_state(JAR) == DoorState(sealed=False, in_flight=1)
    await sessions.door_end(JAR, success=True)
    assert await sessions.door_state(JAR) == DoorState(sealed=True, in_flight=0)
    # One sealed cookie among fresh ones closes the door, and no attempt stays counted.
    fresh = "C" * 22
    assert not await sessions.door_begin((fresh, JAR[0]), BEN.id)
    assert await sessions.door_state((fresh,)) == DoorState(sealed=False, in_flight=0)
    assert await sessions.door_begin(())
    assert await sessions.door_state(()) == DoorState(sealed=False, in_flight=0)


async def test_a_success_also_seals_what_it_set(sessions: SessionStore) -> None:
    await sessions.door_begin(JAR[:1])
    await sessions.door_end(JAR[:1], success=True, also_seal=("D" * 22, JAR[0]))
    assert await sessions.door_state(("D" * 22,)) == DoorState(sealed=True, in_flight=0)
    await sessions.door_end((), success=False, also_seal=("E" * 22,))
    assert await sessions.door_state(("E" * 22,)) == DoorState(sealed=False, in_flight=0)


async def test_ending_an_attempt_that_has_expired_counts_nothing(sessions: SessionStore) -> None:
    await sessions.door_end(JAR, success=False)
    assert await sessions.door_begin(JAR)
    assert (await sessions.door_state(JAR)).in_flight == 1


async def test_a_step_up_within_a_session_keeps_all_but_its_id(store: Store, sessions: SessionStore) -> None:
    first = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES, jar=JAR, address="192.0.2.7")
    # Sessions are in order of milliseconds.
    await asyncio.sleep(0.005)
    other = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    before = await sessions.get(MARTIN.id, first.session_id)
    stepped = await sessions.step_up(MARTIN.id, first.session_id, new_session_id())
    after = await sessions.get(MARTIN.id, stepped.session_id)
    assert before is not None
    assert after == replace(before, id=stepped.session_id, seen_ms=after.seen_ms if after else 0)
    assert stepped.session_id != first.session_id
    assert await sessions.get(MARTIN.id, first.session_id) is None
    # It is still the oldest, so the next login closes it and not the other.
    assert [one.id for one in await sessions.list(MARTIN.id)] == [stepped.session_id, other.session_id]
    life_ms = await store.execute("PTTL", f"ecluse:{{{MARTIN.id}}}:session:{stepped.session_id}")
    assert 0 < life_ms <= RULES.absolute_s * 1000
    with pytest.raises(SessionRefused):
        await sessions.step_up(MARTIN.id, first.session_id, new_session_id())


@pytest.mark.parametrize("link", [None, Link("d" * 22, 5, 86_400_000)], ids=["no device", "device"])
async def test_the_facts_that_requests_ask_for_are_those_of_the_session(
    store: Store, sessions: SessionStore, link: Link | None
) -> None:
    """They stand in one field beside the others, and no step of a session's life leaves them behind."""

    async def say_the_same(session_id: str) -> None:
        key = f"ecluse:{{{MARTIN.id}}}:session:{session_id}"
        names = ("app", "stage", "epoch", "address", "device")
        fields = await store.execute("HMGET", key, *names)
        assert await store.execute("HGET", key, "facts") == b"\n".join(each or b"" for each in fields)

    opened = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES, address="192.0.2.7", link=link)
    await say_the_same(opened.session_id)
    full = await sessions.promote(MARTIN.id, opened.session_id, Stage.FULL, RULES, link=link)
    await say_the_same(full.session_id)
    stepped = await sessions.step_up(MARTIN.id, full.session_id, new_session_id())
    await say_the_same(stepped.session_id)


async def test_only_a_full_session_of_an_open_account_steps_up(store: Store, sessions: SessionStore) -> None:
    pending = await sessions.open(MARTIN.id, APP, Stage.PENDING, RULES)
    with pytest.raises(SessionRefused):
        await sessions.step_up(MARTIN.id, pending.session_id, new_session_id())
    full = await sessions.open(MARTIN.id, APP, Stage.FULL, RULES)
    await AccountStore(store).lock(MARTIN.id, "theft", ref=MARTIN)
    with pytest.raises(SessionRefused) as refused:
        await sessions.step_up(MARTIN.id, full.session_id, new_session_id())
    assert refused.value.standing is Standing.LOCKED


async def test_every_function_refuses_an_emptied_store(store: Store, sessions: SessionStore) -> None:
    accounts = AccountStore(store)
    await store.execute("SET", "ecluse:store", "another")
    sid = "0" * 32
    asked = [
        sessions.open(MARTIN.id, APP, Stage.FULL, RULES),
        sessions.promote(MARTIN.id, sid, Stage.FULL, RULES),
        sessions.step_up(MARTIN.id, sid, new_session_id()),
        sessions.note_invitation(MARTIN.id, sid, "i", RULES),
        sessions.get(MARTIN.id, sid),
        sessions.list(MARTIN.id),
        sessions.close(MARTIN.id, sid),
        sessions.close_all(MARTIN.id),
        sessions.park(MARTIN.id, sid, "x"),
        sessions.unpark(MARTIN.id, sid),
        sessions.door_begin(JAR),
        sessions.door_end(JAR, success=True),
        sessions.door_state(JAR),
        accounts.begin_attempt(MARTIN.id, FailureBudget()),
        accounts.fail_attempt(MARTIN.id, FailureBudget(), epoch=0),
        accounts.try_invitation(MARTIN.id, None, FailureBudget()),
        accounts.get(MARTIN.id),
        accounts.list(),
        accounts.accept_step(MARTIN.id, 1, epoch=0),
        accounts.use_recovery(MARTIN.id, "x", epoch=0),
        accounts.candidate(MARTIN.id, sid, "i", None),
        accounts.enrol(MARTIN.id, sid, "i", "s", 1, ()),
        accounts.lock(MARTIN.id, "r", ref=MARTIN),
        accounts.unlock(MARTIN.id),
        accounts.owe(MARTIN.id, "asked", 60),
        accounts.break_glass(MARTIN.id, BreakGlass()),
        accounts.reset(MARTIN.id),
        accounts.retire(MARTIN.id),
        accounts.invite(MARTIN, "h" * 64, 1, Labels()),
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, StoreEmptied) for answer in answers)
    assert await store.execute("DBSIZE") == 1
