"""The fast thief once in real time, through the real proxy and the demo app, beside the same thief in virtual time."""

import asyncio
from dataclasses import dataclass

from gateway.configuration.load import load
from gateway.demo.children import free_port
from gateway.demo.configuration import REALM
from gateway.demo.people import PROFESSIONALS, Professional
from gateway.demo.playing import play
from gateway.demo.stage import Stage, raise_stage
from gateway.policy.policy import Realm
from gateway.vocabulary.limits import Control

_THIEF = next(person for person in PROFESSIONALS if person.stolen and person.account_class == "standard")


@dataclass(frozen=True, slots=True)
class RealTime:
    """What the fast thief met at the real door: *patients* until stopped for good, *seconds* until the first stop."""

    patients: int
    requests: int
    refused: int
    seconds: float
    soft: int | None
    cap: int


def rob_for_real() -> RealTime:
    """Raise the demo behind the gateway, and let one thief with password and code take all they can at full speed.

    Raises:
        ChildError: a process did not start or ended early.
    """
    stage = raise_stage(free_port())
    try:
        realm: Realm = load(stage.config).policy.realms[REALM]
        limits = realm.classes[_THIEF.account_class].limits
        bound = next(one for one in limits if one.control is Control.PATIENTS_10MIN)
        told = asyncio.run(play("scrape", _job(stage, _THIEF)))
    finally:
        stage.strike()
    patients = {one for shown in told["exchanges"] for one in shown}
    return RealTime(len(patients), told["requests"], told["refused"], told["seconds"], bound.soft, bound.hard)


def _job(stage: Stage, person: Professional) -> dict[str, object]:
    return {
        "gate": stage.port,
        "login": person.login,
        "password": person.password,
        "name": person.name,
        "secret": stage.secrets[person.login],
    }
