"""The life of an account, as one table. The store's functions are compared with it in tests/stores."""

import pytest

from gateway.accounts.account import Account, Act, after
from gateway.vocabulary.identity import Standing as S

LIFE = {
    Act.INVITE: {
        S.ABSENT: S.INVITED,
        S.INVITED: S.INVITED,
        S.ACTIVE: None,
        S.LOCKED: None,
        S.RETIRED: S.INVITED,
    },
    Act.ENROL: {S.ABSENT: None, S.INVITED: S.ACTIVE, S.ACTIVE: None, S.LOCKED: None, S.RETIRED: None},
    Act.LOCK: {
        S.ABSENT: S.LOCKED,
        S.INVITED: S.LOCKED,
        S.ACTIVE: S.LOCKED,
        S.LOCKED: S.LOCKED,
        S.RETIRED: None,
    },
    Act.UNLOCK: {S.ABSENT: None, S.INVITED: None, S.ACTIVE: None, S.LOCKED: S.INVITED, S.RETIRED: None},
    Act.RESET: {
        S.ABSENT: None,
        S.INVITED: S.INVITED,
        S.ACTIVE: S.INVITED,
        S.LOCKED: S.LOCKED,
        S.RETIRED: None,
    },
    Act.RETIRE: {
        S.ABSENT: None,
        S.INVITED: S.RETIRED,
        S.ACTIVE: S.RETIRED,
        S.LOCKED: S.RETIRED,
        S.RETIRED: None,
    },
}


@pytest.mark.parametrize(
    ("act", "standing", "then"),
    [(act, standing, then) for act, row in LIFE.items() for standing, then in row.items()],
)
def test_every_step(act: Act, standing: S, then: S | None) -> None:
    assert after(standing, act) is then


def test_what_a_factor_and_dormancy_change() -> None:
    assert after(S.LOCKED, Act.UNLOCK, has_secret=True) is S.ACTIVE
    assert after(S.ACTIVE, Act.INVITE, dormant=True) is S.INVITED


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
        S.ACTIVE,
        has_secret=True,
        last_login_ms=last_login_ms,
        enrolled_ms=enrolled_ms,
    )
    assert account.is_dormant(now_ms, 90) is dormant
    assert account.is_enrolled(now_ms, 90) is not dormant
