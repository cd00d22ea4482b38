"""The request decision, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.policy.policy import Flow, Strangers
from gateway.policy.request import BasicState, Situation, StoreState, decide_request
from gateway.vocabulary.decision import Challenge, Forward, Prompt, Reason, Refuse
from gateway.vocabulary.identity import Stage, Standing
from gateway.vocabulary.limits import Control, Exhausted, Spent
from gateway.vocabulary.records import RouteKind

RECORD = Situation(
    rule="dossier", kind=RouteKind.RECORD, flow=Flow.AFTER_LOGIN, strangers=Strangers.REDIRECT, method="GET"
)
DR_MARTIN = replace(
    RECORD,
    store=StoreState.UP,
    claimed=True,
    standing=Standing.ACTIVE,
    stage=Stage.FULL,
    enrolled=True,
    credentials=1,
    known=1,
    spend=Spent(),
)
BEFORE = replace(RECORD, flow=Flow.BEFORE_LOGIN, store=StoreState.UP, claimed=True, standing=Standing.ACTIVE)
LIMITED = Exhausted(Control.REQUESTS, 3)
BUSY = Spent(asks=(Control.REQUESTS,))


@pytest.mark.parametrize(
    ("situation", "kind", "reason"),
    [
        # Doors that need nobody.
        (replace(RECORD, kind=RouteKind.PUBLIC), Forward, Reason.PUBLIC),
        (replace(RECORD, kind=RouteKind.BLOCKED), Refuse, Reason.ROUTE_BLOCKED),
        (replace(RECORD, unknown_method=True), Refuse, Reason.UNKNOWN_METHOD),
        (replace(DR_MARTIN, alias=True), Refuse, Reason.ALIAS_OF_PROTECTED),
        (replace(DR_MARTIN, kind=RouteKind.BLOCKED), Refuse, Reason.ROUTE_BLOCKED),
        # Strangers.
        (RECORD, Challenge, Reason.NO_SESSION),
        (replace(RECORD, door=True, kind=RouteKind.LOGIN), Forward, Reason.STRANGER_AT_LOGIN),
        (replace(RECORD, door=True, attempt=True), Forward, Reason.STRANGER_AT_LOGIN),
        (replace(RECORD, door=True, attempt=True, kind=RouteKind.BLOCKED), Forward, Reason.STRANGER_AT_LOGIN),
        (replace(RECORD, strangers=Strangers.SHOW), Forward, Reason.STRANGER_SHOWN),
        (replace(RECORD, strangers=Strangers.SHOW, method="POST"), Challenge, Reason.NO_SESSION),
        (replace(RECORD, credentials=3), Challenge, Reason.NO_SESSION),
        # The app's password was right, the code is owed.
        (replace(DR_MARTIN, stage=Stage.PENDING), Challenge, Reason.CODE_OWED),
        (replace(DR_MARTIN, stage=Stage.PENDING, enrolled=False), Challenge, Reason.ENROLMENT_OWED),
        (replace(DR_MARTIN, stage=None), Challenge, Reason.SESSION_EXPIRED),
        # The full session, and either half of it.
        (DR_MARTIN, Forward, Reason.SESSION_FULL),
        (replace(DR_MARTIN, known=0), Challenge, Reason.BINDING_BROKEN),
        (replace(DR_MARTIN, known=0, credentials=0), Challenge, Reason.BINDING_BROKEN),
        (replace(DR_MARTIN, known=1, credentials=5), Forward, Reason.SESSION_FULL),
        (replace(DR_MARTIN, spend=LIMITED), Refuse, Reason.LIMIT),
        (replace(DR_MARTIN, standing=Standing.LOCKED), Refuse, Reason.ACCOUNT_LOCKED),
        (replace(DR_MARTIN, standing=Standing.LOCKED, stage=None), Refuse, Reason.ACCOUNT_LOCKED),
        (replace(DR_MARTIN, standing=Standing.RETIRED), Refuse, Reason.ACCOUNT_RETIRED),
        (replace(DR_MARTIN, standing=Standing.INVITED), Challenge, Reason.NO_SESSION),
        # A fresh code is owed: by the account where patients are named, or at a door that always wants one.
        (replace(DR_MARTIN, owes=True), Challenge, Reason.STEP_UP_OWED),
        (replace(DR_MARTIN, owes=True, fresh=True), Challenge, Reason.STEP_UP_OWED),
        (replace(DR_MARTIN, owes=True, kind=RouteKind.PAGE), Forward, Reason.SESSION_FULL),
        (replace(DR_MARTIN, owes=True, door=True), Forward, Reason.SESSION_FULL),
        (replace(DR_MARTIN, owes=True, enrolled=False), Refuse, Reason.STEP_UP_OWED),
        (replace(DR_MARTIN, owes=True, known=0), Challenge, Reason.BINDING_BROKEN),
        (replace(DR_MARTIN, spend=BUSY), Challenge, Reason.STEP_UP_OWED),
        (replace(DR_MARTIN, spend=BUSY, kind=RouteKind.PAGE), Forward, Reason.SESSION_FULL),
        (replace(DR_MARTIN, step_up=True, kind=RouteKind.PAGE), Challenge, Reason.STEP_UP_OWED),
        (replace(DR_MARTIN, step_up=True, kind=RouteKind.PAGE, fresh=True), Forward, Reason.SESSION_FULL),
        (
            replace(RECORD, basic=BasicState.SERVICE, store=StoreState.UP, step_up=True),
            Refuse,
            Reason.STEP_UP_OWED,
        ),
        # HTTP Basic.
        (replace(DR_MARTIN, basic=BasicState.REFUSED), Refuse, Reason.BASIC_REFUSED),
        (replace(RECORD, basic=BasicState.UNCLAIMED, flow=Flow.BEFORE_LOGIN), Challenge, Reason.NO_SESSION),
        (replace(DR_MARTIN, basic=BasicState.DISAGREES), Refuse, Reason.NAMES_DISAGREE),
        (replace(DR_MARTIN, basic=BasicState.AGREES, known=0, credentials=0), Forward, Reason.SESSION_FULL),
        (replace(RECORD, basic=BasicState.SERVICE, store=StoreState.UP), Forward, Reason.SERVICE_ACCOUNT),
        (
            replace(RECORD, basic=BasicState.SERVICE, store=StoreState.UP, standing=Standing.LOCKED),
            Refuse,
            Reason.ACCOUNT_LOCKED,
        ),
        (
            replace(RECORD, basic=BasicState.SERVICE, store=StoreState.UP, spend=LIMITED),
            Refuse,
            Reason.LIMIT,
        ),
        (replace(RECORD, basic=BasicState.SERVICE_ELSEWHERE), Refuse, Reason.NETWORK_REFUSED),
        # The code first, then the app's password.
        (replace(BEFORE, stage=None), Challenge, Reason.NO_SESSION),
        (replace(BEFORE, stage=None, door=True), Challenge, Reason.NO_SESSION),
        (replace(BEFORE, stage=Stage.CODE_FIRST), Challenge, Reason.LOGIN_OWED),
        (replace(BEFORE, stage=Stage.CODE_FIRST, kind=RouteKind.PAGE), Forward, Reason.STRANGER_SHOWN),
        (replace(BEFORE, stage=Stage.CODE_FIRST, door=True), Forward, Reason.STRANGER_AT_LOGIN),
        (
            replace(BEFORE, stage=Stage.CODE_FIRST, door=True, attempt=True, name_agrees=False),
            Refuse,
            Reason.NAMES_DISAGREE,
        ),
        (replace(BEFORE, stage=Stage.INVITED_FIRST), Challenge, Reason.LOGIN_OWED),
        (replace(BEFORE, stage=Stage.PENDING), Challenge, Reason.ENROLMENT_OWED),
        (
            replace(DR_MARTIN, flow=Flow.BEFORE_LOGIN, attempt=True, door=True, name_agrees=False),
            Refuse,
            Reason.NAMES_DISAGREE,
        ),
        # The store does not answer, or is not ours.
        (replace(DR_MARTIN, store=StoreState.DOWN), Refuse, Reason.STORE_DOWN),
        (replace(DR_MARTIN, store=StoreState.EMPTIED), Refuse, Reason.STORE_EMPTIED),
        (
            replace(RECORD, kind=RouteKind.PUBLIC, store=StoreState.DOWN),
            Forward,
            Reason.PUBLIC,
        ),
    ],
)
def test_row(situation: Situation, kind: type, reason: Reason) -> None:
    decision = decide_request(situation)
    assert isinstance(decision, kind)
    assert decision.reason is reason
    assert decision.rule == "dossier"


def test_prompts_lead_where_something_is_owed() -> None:
    def prompt(situation: Situation) -> Prompt:
        decision = decide_request(situation)
        assert isinstance(decision, Challenge)
        return decision.prompt

    assert prompt(RECORD) is Prompt.LOGIN
    assert prompt(replace(DR_MARTIN, stage=Stage.PENDING)) is Prompt.CODE
    assert prompt(replace(DR_MARTIN, stage=Stage.PENDING, enrolled=False)) is Prompt.INVITATION
    assert prompt(replace(BEFORE, stage=None)) is Prompt.START


def test_a_limit_names_its_control_and_the_wait() -> None:
    decision = decide_request(replace(DR_MARTIN, spend=LIMITED))
    assert isinstance(decision, Refuse)
    assert (decision.status, decision.control, decision.retry_after_s) == (429, Control.REQUESTS, 3)


situations = st.builds(
    Situation,
    rule=st.just("any"),
    kind=st.sampled_from([kind for kind in RouteKind if kind is not RouteKind.PUBLIC]),
    flow=st.sampled_from(Flow),
    strangers=st.sampled_from(Strangers),
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
    door=st.booleans(),
    attempt=st.just(value=False),
    alias=st.booleans(),
    unknown_method=st.booleans(),
    basic=st.sampled_from([state for state in BasicState if state is not BasicState.SERVICE]),
    store=st.sampled_from(StoreState),
    claimed=st.booleans(),
    standing=st.sampled_from(Standing),
    stage=st.sampled_from([None, *Stage]),
    enrolled=st.booleans(),
    grace=st.just(value=False),
    name_agrees=st.sampled_from([None, True, False]),
    credentials=st.integers(0, 3),
    known=st.integers(0, 3),
    needs_credential=st.booleans(),
    spend=st.sampled_from([None, Spent(), LIMITED]),
)


@given(situations)
def test_only_a_full_session_of_an_active_account_brings_its_credentials(situation: Situation) -> None:
    decision = decide_request(situation)
    if isinstance(decision, Forward) and decision.reason is Reason.SESSION_FULL:
        assert situation.stage is Stage.FULL
        assert situation.standing is Standing.ACTIVE
        assert not isinstance(situation.spend, Exhausted)
        assert situation.store not in {StoreState.DOWN, StoreState.EMPTIED}


@given(situations)
def test_nobody_is_forwarded_while_the_store_is_not_to_be_trusted(situation: Situation) -> None:
    for state in (StoreState.DOWN, StoreState.EMPTIED):
        assert not isinstance(decide_request(replace(situation, store=state)), Forward)
