"""The life of an account, as one table. The store's functions are compared with it in tests/stores."""

import pytest

from gateway.accounts.account import Account, Act, after
from gateway.vocabulary.identity import Standing

LIFE = {
    Act.INVITE: {
        Standing.ABSENT: Standing.INVITED,
        Standing.INVITED: Standing.INVITED,
        Standing.ACTIVE: None,
        Standing.LOCKED: None,
        Standing.RETIRED: Standing.INVITED,
    },
    Act.ENROL: {
        Standing.ABSENT: None,
        Standing.INVITED: Standing.ACTIVE,
        Standing.ACTIVE: None,
        Standing.LOCKED: None,
        Standing.RETIRED: None,
    },
    Act.LOCK: {
        Standing.ABSENT: Standing.LOCKED,
        Standing.INVITED: Standing.LOCKED,
        Standing.ACTIVE: Standing.LOCKED,
        Standing.LOCKED: Standing.LOCKED,
        Standing.RETIRED: None,
    },
    Act.UNLOCK: {
        Standing.ABSENT: None,
        Standing.INVITED: None,
        Standing.ACTIVE: None,
        Standing.LOCKED: Standing.INVITED,
        Standing.RETIRED: None,
    },
    Act.RESET: {
        Standing.ABSENT: None,
        Standing.INVITED: Standing.INVITED,
        Standing.ACTIVE: Standing.INVITED,
        Standing.LOCKED: Standing.LOCKED,
        Standing.RETIRED: None,
    },
    Act.RETIRE: {
        Standing.ABSENT: None,
        Standing.INVITED: Standing.RETIRED,
        Standing.ACTIVE: Standing.RETIRED,
        Standing.LOCKED: Standing.RETIRED,
        Standing.RETIRED: None,
    },
}


@pytest.mark.parametrize(
    ("act", "standing", "then"),
    [(act, standing, then) for act, row in LIFE.items() for standing, then in row.items()],
)
def test_every_step(act: Act, standing: Standing, then: Standing | None) -> None:
    assert after(standing, act) is then


def test_what_a_factor_and_dormancy_change() -> None:
    assert after(Standing.LOCKED, Act.UNLOCK, has_secret=True) is Standing.ACTIVE
    assert after(Standing.ACTIVE, Act.INVITE, dormant=True) is Standing.INVITED


@pytest.mark.parametrize(
    ("last_login_ms", "enrolled_ms", "now_ms", "dormant"),
    [
        (None, None, 10**9, False),
        (1_000, None, 91_000, False),
        (1_000, None, 91_001, True),
        (None, 1_000, 91_001, True),
        (80_000, 1_000, 91_001, False),
    ],
)
def test_dormancy(last_login_ms: int | None, enrolled_ms: int | None, now_ms: int, *, dormant: bool) -> None:
    account = Account(
        "a" * 32,
        "dr.martin",
        "r",
        Standing.ACTIVE,
        has_secret=True,
        last_login_ms=last_login_ms,
        enrolled_ms=enrolled_ms,
    )
    assert account.is_dormant(now_ms, 90) is dormant
    assert account.is_enrolled(now_ms, 90) is not dormant
