"""The response decision, row by row."""

import pytest
from msgspec.structs import replace

from gateway.policy.request import StoreState
from gateway.policy.response import Outcome, decide_response
from gateway.vocabulary.decision import Reason, Release, Withhold
from gateway.vocabulary.identity import Standing
from gateway.vocabulary.limits import Asked, Control, Exhausted, Spent

CHARGED = Outcome("dossier", reveals=2, store=StoreState.UP, spend=Spent())


@pytest.mark.parametrize(
    ("outcome", "kind", "reason", "status"),
    [
        (Outcome("page"), Release, Reason.REVEALS_NOBODY, None),
        (CHARGED, Release, Reason.WITHIN_CAPS, None),
        (replace(CHARGED, readable=False), Withhold, Reason.UNINSPECTABLE, 502),
        (replace(CHARGED, store=StoreState.DOWN, spend=None), Withhold, Reason.STORE_DOWN, 503),
        (replace(CHARGED, store=StoreState.EMPTIED, spend=None), Withhold, Reason.STORE_EMPTIED, 503),
        (replace(CHARGED, live=False, standing=Standing.LOCKED), Withhold, Reason.ACCOUNT_LOCKED, 403),
        (replace(CHARGED, live=False), Withhold, Reason.SESSION_EXPIRED, 401),
        (replace(CHARGED, spend=Exhausted(Control.PATIENTS_1H, 90)), Withhold, Reason.CAP, 429),
        (replace(CHARGED, spend=Asked(Control.PATIENTS_1H)), Withhold, Reason.STEP_UP_OWED, 401),
    ],
)
def test_row(outcome: Outcome, kind: type, reason: Reason, status: int | None) -> None:
    decision = decide_response(outcome)
    assert isinstance(decision, kind)
    assert decision.reason is reason
    assert getattr(decision, "status", None) == status


def test_controls_travel_with_the_decision() -> None:
    spent = Spent((Control.PATIENTS_1H,), (Control.ROWS_1H,))
    released = decide_response(replace(CHARGED, spend=spent))
    assert (released.near, released.would) == (spent.near, spent.would)  # type: ignore[union-attr]
    withheld = decide_response(
        replace(CHARGED, spend=Exhausted(Control.PATIENTS_24H, 60, (Control.ROWS_1H,)))
    )
    assert isinstance(withheld, Withhold)
    assert (withheld.control, withheld.retry_after_s) == (Control.PATIENTS_24H, 60)
    assert withheld.would == (Control.ROWS_1H,)
