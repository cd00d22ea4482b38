"""What ``ecluse keys`` does to the second factors of the store: counts those under a key, seals them anew."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import track

from gateway.accounts.sealing import SealBroken, seal, sealed_under, unseal
from gateway.accounts.verification import SEALED_FACTOR
from gateway.assembly.office import Office
from gateway.cli.account_office import run
from gateway.vocabulary.events import AuditEvent

_WORTH_A_BAR = 1_000
"""Fewer factors are sealed within a second."""


def count_under(kid: str, config_path: str) -> int:
    """Return how many second factors are sealed with the key *kid*."""

    async def work(office: Office) -> int:
        return sum(sealed_under(value) == kid for value in (await office.accounts.sealed()).values())

    return run(config_path, work)


def seal_anew(config_path: str, event_of: Callable[[str, str], AuditEvent]) -> tuple[int, list[str]]:
    """Seal every second factor with the current key; return how many were, and whose could not be opened.

    What *event_of* makes of the policy's id and the key's is recorded first, when there is anything to seal.
    """

    async def work(office: Office) -> tuple[int, list[str]]:
        return await _seal_anew(office, event_of)

    return run(config_path, work)


async def _seal_anew(office: Office, event_of: Callable[[str, str], AuditEvent]) -> tuple[int, list[str]]:
    ring = office.keys.sealing
    old = {
        account_id: value
        for account_id, value in (await office.accounts.sealed()).items()
        if sealed_under(value) != ring.current
    }
    if old:
        office.record(event_of(office.policy.policy_id, ring.current))
    done, broken = 0, []
    console = Console(stderr=True)
    for account_id, value in track(
        old.items(), "Sealing anew", disable=len(old) < _WORTH_A_BAR, console=console
    ):
        try:
            secret = unseal(ring, value, purpose=SEALED_FACTOR, account_id=account_id)
        except SealBroken:
            found = await office.accounts.get(account_id)
            broken.append(found.login if found is not None else account_id)
            continue
        fresh = seal(ring, secret, purpose=SEALED_FACTOR, account_id=account_id)
        # An account that was reset or enrolled meanwhile is left as it now is.
        done += await office.accounts.reseal(account_id, value, fresh)
    return done, broken
