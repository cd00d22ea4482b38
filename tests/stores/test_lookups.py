"""The two trips of an exchange, on every store."""

import asyncio

import pytest
from msgspec.structs import replace

from gateway.limits.store import usage
from gateway.lookups import (
    AskedBefore,
    Believed,
    Entered,
    Entering,
    EnterQuestion,
    Revealed,
    RevealQuestion,
    enter,
    reveal,
)
from gateway.valkey.client import Store, StoreEmptied
from gateway.vocabulary.identity import Stage, Standing
from gateway.vocabulary.limits import Charge, Control, Exhausted, Limit, LimitSet, Mode, Spent

ACCOUNT = "0123456789abcdef0123456789abcdef"
SESSION = "fedcba98"
HOSPITAL = "750000001"
BASE = f"ecluse:{{{ACCOUNT}}}"
WARD = LimitSet(
    "ward", (Limit(Control.REQUESTS, 5), Limit(Control.PATIENTS_1H, 10), Limit(Control.ROWS_1H, 100))
)
DESK = LimitSet("desk", (Limit(Control.REQUESTS, 2),))
QUESTION = EnterQuestion(
    account_id=ACCOUNT,
    session_id=SESSION,
    app="dossier",
    credentials=("cookie-a", "cookie-b"),
    idle_ms=1_800_000,
    absolute_ms=43_200_000,
    pending_ms=300_000,
    spend_request=True,
)


def limits_of(name: str | None, _establishment: str | None) -> LimitSet:
    return DESK if name == "desk" else WARD


async def now_ms(store: Store) -> int:
    seconds, micros = await store.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def person(store: Store, **changes: str) -> None:
    fields = {
        "state": "active", "class": "ward", "establishment": HOSPITAL, "login": "dr.martin",
        "epoch": "3", "secret": "v1.k.n.ct",
    } | changes  # fmt: skip
    await store.execute("HSET", f"{BASE}:account", *(part for pair in fields.items() for part in pair))


async def session(store: Store, *, created_s: int = 10, seen_s: int = 5, **changes: str) -> None:
    at_ms = await now_ms(store)
    fields = {
        "app": "dossier", "stage": "full", "created_ms": str(at_ms - created_s * 1000),
        "seen_ms": str(at_ms - seen_s * 1000), "epoch": "3", "address": "192.0.2.7", "agent": "Firefox",
        "j:cookie-a": str(at_ms - 5000),
    } | changes  # fmt: skip
    await store.execute("DEL", f"{BASE}:session:{SESSION}")
    await store.execute(
        "HSET", f"{BASE}:session:{SESSION}", *(part for pair in fields.items() for part in pair)
    )


BEFORE: list[AskedBefore | None] = [None]
"""What the gateway remembers of its questions in the test that runs, or None."""


@pytest.fixture(params=["anew", "as before"], autouse=True)
def remembered(request: pytest.FixtureRequest) -> None:
    """Have every answer be the same, whether the gateway reads it anew or knows the words."""
    BEFORE[0] = {} if request.param == "as before" else None


async def ask(store: Store, question: EnterQuestion = QUESTION, classes: Believed | None = None) -> Entered:
    believed = classes if classes is not None else {ACCOUNT: ("ward", HOSPITAL)}
    return await enter(store, question, limits_of, believed, before=BEFORE[0])


async def field(store: Store, key: str, name: str) -> bytes | None:
    found: bytes | None = await store.execute("HGET", f"{BASE}:{key}", name)
    return found


async def test_a_full_session(store: Store) -> None:
    await person(store)
    await session(store)
    assert await ask(store) == Entered(
        standing=Standing.ACTIVE,
        stage=Stage.FULL,
        expired=False,
        known=(True, False),
        account_class="ward",
        establishment="750000001",
        login="dr.martin",
        address="192.0.2.7",
        enrolled=True,
        spend=Spent(),
    )


@pytest.mark.parametrize(
    ("account", "stored", "expired"),
    [
        # Another app's session, one from before a lock or a reset, one that was never made whole.
        ({}, {"app": "agenda"}, False),
        ({}, {"epoch": "2"}, False),
        ({"epoch": "4"}, {}, False),
        ({}, {"created_ms": ""}, False),
        # Lifetimes, each a second past its end.
        ({}, {"seen_s": 1_801, "created_s": 2_000}, True),
        ({}, {"seen_s": 0, "created_s": 43_201}, True),
        ({}, {"seen_s": 0, "created_s": 301, "stage": "pending"}, True),
        ({}, {"seen_s": 0, "created_s": 301, "stage": "code-first"}, True),
        ({}, {"seen_s": 0, "created_s": 301, "stage": "invited-first"}, True),
        # A closed account has no session whatever the store holds.
        ({"state": "locked"}, {}, False),
        ({"state": "retired"}, {}, False),
    ],
)
async def test_no_live_session(
    store: Store, account: dict[str, str], stored: dict[str, str], expired: bool
) -> None:
    await person(store, **account)
    await session(store, **stored)  # type: ignore[arg-type]
    entered = await ask(store)
    assert (entered.stage, entered.expired, entered.known, entered.spend) == (
        None,
        expired,
        (False, False),
        None,
    )
    assert await store.execute("EXISTS", f"{BASE}:counters") == 0


@pytest.mark.parametrize(
    ("stored", "stage"),
    [
        # A second before each lifetime ends.
        ({"seen_s": 1_798, "created_s": 2_000}, Stage.FULL),
        ({"seen_s": 0, "created_s": 43_198}, Stage.FULL),
        ({"seen_s": 0, "created_s": 298, "stage": "pending"}, Stage.PENDING),
        ({"seen_s": 0, "created_s": 298, "stage": "code-first"}, Stage.CODE_FIRST),
        ({"seen_s": 0, "created_s": 298, "stage": "invited-first"}, Stage.INVITED_FIRST),
    ],
)
async def test_a_live_session_spends_only_when_full(
    store: Store, stored: dict[str, str], stage: Stage
) -> None:
    await person(store)
    await session(store, **stored)  # type: ignore[arg-type]
    entered = await ask(store)
    assert (entered.stage, entered.expired) == (stage, False)
    assert entered.spend == (Spent() if stage is Stage.FULL else None)


async def test_nobody_is_absent_and_unknown_sessions_are_none(store: Store) -> None:
    entered = await ask(store)
    assert (entered.standing, entered.stage, entered.enrolled, entered.login) == (
        Standing.ABSENT,
        None,
        False,
        None,
    )
    await person(store)
    entered = await ask(store)
    assert (entered.standing, entered.stage, entered.expired) == (Standing.ACTIVE, None, False)


async def test_an_account_nobody_invited_may_have_a_session(store: Store) -> None:
    await session(store, epoch="0")
    entered = await ask(store)
    assert (entered.standing, entered.stage, entered.enrolled) == (Standing.ABSENT, Stage.FULL, False)


async def test_an_invited_account_is_not_enrolled(store: Store) -> None:
    await person(store, state="invited")
    await store.execute("HDEL", f"{BASE}:account", "secret")
    entered = await ask(store)
    assert (entered.standing, entered.enrolled) == (Standing.INVITED, False)


async def test_requests_are_spent_up_to_the_bound(store: Store) -> None:
    await person(store)
    await session(store)
    spends = [(await ask(store)).spend for _ in range(6)]
    assert [type(spend) for spend in spends] == [Spent] * 5 + [Exhausted]
    assert [spend.near for spend in spends[:5] if isinstance(spend, Spent)].count((Control.REQUESTS,)) == 1
    assert spends[5] == Exhausted(Control.REQUESTS, 2)
    assert (await ask(store, replace(QUESTION, spend_request=False))).spend is None


async def test_the_class_of_the_account_decides_and_is_asked_for_once(store: Store) -> None:
    await person(store, **{"class": "desk"})
    await session(store)
    classes: Believed = {}
    spends = [(await ask(store, classes=classes)).spend for _ in range(3)]
    assert [type(spend) for spend in spends] == [Spent, Spent, Exhausted]
    assert classes == {ACCOUNT: ("desk", HOSPITAL)}
    # A class changed by an operator is noticed at the next request; the wrong guess spent nothing.
    await person(store, **{"class": "ward"})
    entered = await ask(store, classes=classes)
    assert (entered.account_class, classes) == ("ward", {ACCOUNT: ("ward", HOSPITAL)})
    await store.execute("HDEL", f"{BASE}:account", "class")
    assert (await ask(store, classes=classes)).account_class is None
    assert classes == {ACCOUNT: ("", HOSPITAL)}


async def test_seen_is_refreshed_for_the_session_and_the_credentials_shown(store: Store) -> None:
    await person(store)
    await session(store, **{"j:cookie-c": "1"})
    before_ms = await now_ms(store)
    await ask(store)
    for name in ("seen_ms", "j:cookie-a"):
        assert int(await field(store, f"session:{SESSION}", name) or 0) >= before_ms
    assert await field(store, f"session:{SESSION}", "j:cookie-b") is None
    assert await field(store, f"session:{SESSION}", "j:cookie-c") == b"1"
    assert await store.execute("HEXISTS", f"{BASE}:session:{SESSION}", "seen_ms") == 1


async def test_a_session_of_before_there_were_facts_is_known(store: Store) -> None:
    await person(store)
    await session(store)
    assert await field(store, f"session:{SESSION}", "facts") is None
    assert (await ask(store)).stage is Stage.FULL
    assert (await reveal(store, revealing(Charge(opened=patients(1))))).live


async def test_a_service_without_session(store: Store) -> None:
    question = replace(QUESTION, session_id=None, credentials=())
    entered = await ask(store, question, {})
    assert (entered.standing, entered.stage, entered.spend) == (Standing.ABSENT, None, Spent())
    await person(store, state="locked")
    entered = await ask(store, question)
    assert (entered.standing, entered.spend) == (Standing.LOCKED, None)


async def test_hundreds_of_cookies_are_no_error(store: Store) -> None:
    await person(store)
    await session(store)
    entered = await ask(store, replace(QUESTION, credentials=("cookie-a", *(f"c{i}" for i in range(9_000)))))
    assert (len(entered.known), sum(entered.known)) == (9_001, 1)


async def asked_by(store: Store, count: int, question: EnterQuestion = QUESTION) -> bytes:
    """Return what the store says to *count* who ask *question* in one moment."""
    entering, loop = Entering(), asyncio.get_running_loop()
    await enter(store, question, limits_of, {ACCOUNT: ("ward", HOSPITAL)}, entering)
    assert entering.prepared is not None
    told: set[bytes] = set()
    heard = asyncio.Event()
    for _ in range(count):
        store.join(entering.prepared, loop.time(), lambda reply: (told.add(reply), heard.set()))
    await heard.wait()
    assert len(told) == 1
    return bytes(told.pop())


async def test_several_who_ask_at_once_spend_as_many_requests_or_none(store: Store) -> None:
    """Of five requests one is spent by the first, two more at once; then three would meet the bound."""
    await person(store)
    await session(store)
    assert (await asked_by(store, 2)).startswith(b"active\nfull\n")
    [used, *_] = await usage(store, ACCOUNT, WARD)
    assert (used.control, used.used_milli) == (Control.REQUESTS, 3_000)
    assert await asked_by(store, 3) == b"alone"
    [used, *_] = await usage(store, ACCOUNT, WARD)
    assert used.used_milli == 4_000
    assert (await ask(store)).spend == Spent(near=(Control.REQUESTS,))
    assert isinstance((await ask(store)).spend, Exhausted)


async def test_an_account_that_is_not_known_is_counted_where_it_is_forgotten_again(store: Store) -> None:
    machine = replace(QUESTION, session_id=None)
    entered = await ask(store, machine, {})
    assert (entered.standing, entered.spend) == (Standing.ABSENT, Spent())
    assert await store.execute("EXISTS", f"{BASE}:account") == 0
    assert 0 < await store.execute("TTL", f"{BASE}:counters") <= 104_400
    [used, *_] = await usage(store, ACCOUNT, WARD)
    assert used.used_milli == 1_000


@pytest.mark.parametrize("asks", ["enter", "reveal"])
async def test_without_the_marker_a_session_passes_for_a_tenth_of_a_second_and_nobody_else_does(
    store: Store, asks: str
) -> None:
    """A live session is proof that the store was not emptied; that the marker alone is gone is seen soon."""

    async def put(session_id: str | None) -> None:
        if asks == "enter":
            await ask(store, replace(QUESTION, session_id=session_id))
        else:
            await reveal(store, revealing(Charge(opened=patients(1)), session_id=session_id))

    await person(store)
    await session(store)
    await put(SESSION)
    marker = await store.execute("GET", "ecluse:store")
    await store.execute("DEL", "ecluse:store")
    with pytest.raises(StoreEmptied):
        await put("of-nobody")
    with pytest.raises(StoreEmptied):
        await put(None)
    with pytest.raises(StoreEmptied):
        # Since it was looked at for the others, it is known to be gone for this one, too.
        await put(SESSION)
    await store.execute("SET", "ecluse:store", marker)
    await put(SESSION)
    await store.execute("DEL", "ecluse:store")
    await asyncio.sleep(0.15)
    with pytest.raises(StoreEmptied):
        await put(SESSION)


def patients(count: int, first: int = 0) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(8, "big") for number in range(first, first + count))


def revealing(charge: Charge, limits: LimitSet = WARD, **changes: object) -> RevealQuestion:
    return replace(RevealQuestion(ACCOUNT, SESSION, limits, charge), **changes)  # type: ignore[arg-type]


async def test_a_charge_is_spent_once_per_patient(store: Store) -> None:
    await person(store)
    await session(store)
    answers = [
        await reveal(store, revealing(Charge(opened=patients(count), rows=1))) for count in (7, 8, 8, 10)
    ]
    assert answers == [
        Revealed(Standing.ACTIVE, live=True, spend=Spent()),
        Revealed(Standing.ACTIVE, live=True, spend=Spent(near=(Control.PATIENTS_1H,))),
        Revealed(Standing.ACTIVE, live=True, spend=Spent()),
        Revealed(Standing.ACTIVE, live=True, spend=Spent()),
    ]
    refused = await reveal(store, revealing(Charge(opened=patients(1, 50), listed=patients(2), rows=1)))
    assert isinstance(refused.spend, Exhausted)
    assert refused.spend.control is Control.PATIENTS_1H
    assert 3_590 <= refused.spend.retry_after_s <= 3_601
    assert await store.execute("ZCARD", f"{BASE}:patients") == 10


async def test_bounds_are_told_once_and_again_to_a_store_that_has_forgotten_them(store: Store) -> None:
    await person(store)
    await session(store)

    async def functions() -> int:
        told = (await store.execute("INFO", "commandstats")).decode()
        return int(told.partition("cmdstat_fcall:calls=")[2].partition(",")[0])

    charge = revealing(Charge(opened=patients(1), rows=3))
    store.told.clear()
    before, made = await functions(), []
    for forgets in (False, False, True, False):
        if forgets:
            await store.execute("FUNCTION", "FLUSH")
        assert (await reveal(store, charge)).spend == Spent()
        made.append(await functions() - before)
        before += made[-1]
    # Without its functions the store is asked in vain, then by the id, then in full; and charges once.
    assert made == [1, 1, 3, 1]
    told = {one.control: one.used_milli for one in await usage(store, ACCOUNT, WARD)}
    assert (told[Control.PATIENTS_1H], told[Control.ROWS_1H]) == (1_000, 12_000)


async def test_a_page_that_crosses_is_withheld_whole(store: Store) -> None:
    await person(store)
    await session(store)
    refused = await reveal(store, revealing(Charge(listed=patients(51), rows=51, bytes=1_000)))
    assert refused.live
    assert isinstance(refused.spend, Exhausted)
    assert await store.execute("EXISTS", f"{BASE}:patients", f"{BASE}:opened", f"{BASE}:counters") == 0
    passed = await reveal(store, revealing(Charge(listed=patients(50), rows=50)))
    assert passed.spend == Spent(near=(Control.PATIENTS_1H,))


@pytest.mark.parametrize(
    ("account", "stored"),
    [({"state": "locked"}, {}), ({"state": "retired"}, {}), ({"epoch": "4"}, {}), ({}, {"epoch": "2"})],
)
async def test_a_session_closed_meanwhile_spends_nothing(
    store: Store, account: dict[str, str], stored: dict[str, str]
) -> None:
    await person(store, **account)
    await session(store, **stored)  # type: ignore[arg-type]
    answer = await reveal(store, revealing(Charge(opened=patients(1)), add_credentials=("new",)))
    assert (answer.live, answer.spend) == (False, Spent())
    assert await store.execute("EXISTS", f"{BASE}:patients") == 0
    assert await field(store, f"session:{SESSION}", "j:new") is None


async def test_a_session_removed_meanwhile_is_not_made_again(store: Store) -> None:
    await person(store)
    answer = await reveal(store, revealing(Charge(opened=patients(1)), add_credentials=("new",)))
    assert not answer.live
    assert await store.execute("KEYS", f"{BASE}:s*") == []


async def test_the_jar_follows_the_app_s_cookies(store: Store) -> None:
    await person(store)
    await session(store)
    await reveal(store, revealing(Charge(), add_credentials=("new", "newer"), drop_credentials=("cookie-a",)))
    entered = await ask(store, replace(QUESTION, credentials=("cookie-a", "new", "newer")))
    assert entered.known == (False, True, True)
    # A withheld answer's cookies never reach the browser.
    withheld = revealing(Charge(opened=patients(11)), add_credentials=("late",), drop_credentials=("new",))
    assert isinstance((await reveal(store, withheld)).spend, Exhausted)
    entered = await ask(store, replace(QUESTION, credentials=("new", "late")))
    assert entered.known == (True, False)


async def test_the_jar_keeps_the_newest_sixty_four(store: Store) -> None:
    await person(store)
    await session(store, **{f"j:old{number:02}": str(number) for number in range(63)})
    await reveal(store, revealing(Charge(), add_credentials=("new1", "new2")))
    names = await store.execute("HKEYS", f"{BASE}:session:{SESSION}")
    jar = sorted(name for name in names if name.startswith(b"j:"))
    assert len(jar) == 64
    assert {b"j:new1", b"j:new2", b"j:cookie-a", b"j:old02", b"j:old62"} <= set(jar)
    assert b"j:old00" not in jar
    assert b"j:old01" not in jar
    assert await field(store, f"session:{SESSION}", "app") == b"dossier"


async def test_a_service_reveals_without_session(store: Store) -> None:
    answer = await reveal(
        store, revealing(Charge(opened=patients(3)), session_id=None, add_credentials=("x",))
    )
    assert answer == Revealed(Standing.ABSENT, live=True, spend=Spent())
    assert await store.execute("ZCARD", f"{BASE}:opened") == 3
    await person(store, state="locked")
    answer = await reveal(store, revealing(Charge(opened=patients(3)), session_id=None))
    assert (answer.standing, answer.live) == (Standing.LOCKED, False)


async def test_a_patient_named_twice_counts_once(store: Store) -> None:
    await person(store)
    await session(store)
    twice = Charge(opened=patients(5) * 2, listed=patients(5) * 3)
    limits = LimitSet("five", (Limit(Control.PATIENTS_1H, 5),))
    assert isinstance((await reveal(store, revealing(twice, limits))).spend, Spent)


async def test_fifty_at_once_never_pass_the_bound(store: Store) -> None:
    await person(store)
    await session(store)
    answers = await asyncio.gather(
        *(reveal(store, revealing(Charge(opened=patients(1, number)))) for number in range(50))
    )
    assert sum(isinstance(answer.spend, Spent) for answer in answers) == 10
    assert await store.execute("ZCARD", f"{BASE}:opened") == 10


async def test_observed_controls_are_reported(store: Store) -> None:
    await person(store)
    await session(store)
    limits = LimitSet("watched", (Limit(Control.PATIENTS_1H, 1, Mode.OBSERVE),))
    answer = await reveal(store, revealing(Charge(opened=patients(2)), limits))
    assert answer.spend == Spent(near=(Control.PATIENTS_1H,), would=(Control.PATIENTS_1H,))


async def test_an_emptied_store_answers_nothing(store: Store) -> None:
    await person(store)
    await session(store)
    await store.execute("DEL", "ecluse:store")
    with pytest.raises(StoreEmptied):
        await ask(store)
    with pytest.raises(StoreEmptied):
        await reveal(store, revealing(Charge()))


async def test_what_the_account_owes_is_owed_by_each_session_until_it_pays(store: Store) -> None:
    at_ms = await now_ms(store)
    await person(store, owes_since_ms=str(at_ms - 1000), owes_until_ms=str(at_ms + 60_000), owes_why="asked")
    await session(store)
    assert (await ask(store)).owes == "asked"
    await store.execute("HSET", f"{BASE}:session:{SESSION}", "stepped_ms", str(at_ms - 2000))
    assert (await ask(store)).owes == "asked"
    await store.execute("HSET", f"{BASE}:session:{SESSION}", "stepped_ms", str(at_ms - 500))
    assert (await ask(store)).owes is None
    assert (await ask(store)).known == (True, False)


async def test_a_debt_ends_by_itself(store: Store) -> None:
    at_ms = await now_ms(store)
    await person(store, owes_since_ms=str(at_ms - 2000), owes_until_ms=str(at_ms - 1000), owes_why="asked")
    await session(store)
    assert (await ask(store)).owes is None
