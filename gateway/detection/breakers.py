"""The circuit breakers of an establishment and of the site: near a bound, or over it, somebody is told at once."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import POOL_CONTROLS, WINDOW_S, Control, Pool

_BREAKERS: Final = {
    control.value: (pool, control)
    for pool in (Pool.ESTABLISHMENT, Pool.SITE)
    for control in POOL_CONTROLS[pool]
}
_KINDS: Final = frozenset({EventKind.NEAR_LIMIT, EventKind.WOULD, EventKind.WITHHELD})


def judge(event: Mapping[str, Any], *, now_ms: int, act_within_s: int) -> Alert | None:
    """Return what is to be told of *event*, a decoded entry; None when it tells of no breaker, or of long ago.

    It is about everybody, so it names no account.
    """
    kind, at_ms = event.get("kind"), event.get("at_ms")
    found = _BREAKERS.get(event.get("control") or "") if kind in _KINDS else None
    if found is None or type(at_ms) is not int or now_ms - at_ms > act_within_s * 1_000:
        return None
    pool, control = found
    near = kind == EventKind.NEAR_LIMIT
    label = event.get("establishment") or "?"
    return Alert(
        rule=f"{control.value}-near" if near else control.value,
        done="",
        realm=str(event.get("realm") or ""),
        account="",
        at_ms=now_ms,
        french=_french(pool, control, label, near=near, withheld=kind == EventKind.WITHHELD),
        english=_english(pool, control, label, near=near, withheld=kind == EventKind.WITHHELD),
        establishment=label if pool is Pool.ESTABLISHMENT else "",
    )


def _french(pool: Pool, control: Control, label: str, *, near: bool, withheld: bool) -> str:
    who = f"L’établissement {label}" if pool is Pool.ESTABLISHMENT else "L’ensemble du site"
    how = "approche du" if near else "a dépassé le"
    more = " Les réponses sont retenues." if withheld else ""
    return f"{who} {how} nombre de patients que tous ses comptes voient en {_span(control)}.{more}"


def _english(pool: Pool, control: Control, label: str, *, near: bool, withheld: bool) -> str:
    who = f"Establishment {label}" if pool is Pool.ESTABLISHMENT else "The whole site"
    how = "comes near" if near else "is over"
    more = " Answers are withheld." if withheld else ""
    return f"{who} {how} the number of patients that all its accounts see in {_span(control)}.{more}"


def _span(control: Control) -> str:
    minutes = WINDOW_S[control] // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h"
