"""One entry of the log, as signals see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import POOL_CONTROLS, Control, Pool
from gateway.vocabulary.records import RouteKind

_MEMBER_DIGITS = 8
_POOLED = {control.value: control for pool in (Pool.DEVICE, Pool.CLUSTER) for control in POOL_CONTROLS[pool]}


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry about an account. *patients* are pseudonyms, *members* 32 bits of each, as baselines keep them.

    *opened*: records were opened, not listed. *walked* is how many numbers the entry says were walked through.
    *pool*: the bound of a device or a cluster because of which an answer was withheld. *device*: its label, if told.
    """

    kind: str
    at_ms: int
    realm: str
    account: str
    event: str
    account_class: str
    establishment: str | None
    client: str | None
    route_kind: str | None
    opened: bool
    patients: tuple[str, ...]
    members: tuple[int, ...]
    walked: int
    pool: Control | None = None
    app: str = ""
    device: str | None = None

    @property
    def is_search(self) -> bool:
        """Tell whether it is a list that shows one patient or none."""
        return (
            self.kind == EventKind.ACCESS and self.route_kind == RouteKind.LISTING and len(self.patients) <= 1
        )

    @property
    def takes_out(self) -> bool:
        """Tell whether patients were opened or exported, and not only listed."""
        return self.kind == EventKind.ACCESS and (self.opened or self.route_kind == RouteKind.EXPORT)


def read(event: Mapping[str, Any]) -> Seen | None:
    """Return *event*, a decoded entry with its writer; None when it is about no account."""
    at_ms, realm, account = event.get("at_ms"), event.get("realm"), event.get("account")
    if not isinstance(account, str) or not isinstance(realm, str) or type(at_ms) is not int:
        return None
    patients = tuple(event.get("patients") or ())
    detail = event.get("detail") or {}
    if not isinstance(detail, Mapping):
        detail = {}
    walked, device = str(detail.get("walked", "")), detail.get("device")
    return Seen(
        kind=str(event.get("kind")),
        at_ms=at_ms,
        realm=realm,
        account=account,
        event=f"{event.get('writer', '')}:{event.get('seq', '')}",
        account_class=event.get("account_class") or "",
        establishment=event.get("establishment"),
        client=event.get("client"),
        route_kind=event.get("route_kind"),
        opened=event.get("opened") is True,
        patients=patients,
        members=tuple(int(pseudonym[-_MEMBER_DIGITS:], 16) for pseudonym in patients),
        walked=int(walked) if walked.isdigit() else 0,
        pool=_POOLED.get(event.get("control") or "") if event.get("kind") == EventKind.WITHHELD else None,
        app=event.get("app") or "",
        device=device if isinstance(device, str) else None,
    )
