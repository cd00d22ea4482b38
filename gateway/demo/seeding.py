"""Accounts for the demo's people, put in place as if each had enrolled by hand."""

import secrets
from pathlib import Path

from gateway.accounts.invitation import new_invitation
from gateway.accounts.names import account_ref
from gateway.accounts.sealing import seal
from gateway.accounts.store import AccountStore, Changed, Labels
from gateway.accounts.totp import new_secret
from gateway.accounts.verification import SEALED_FACTOR
from gateway.assembly.office import open_for_operator
from gateway.clock import SystemClock
from gateway.demo.children import ChildError
from gateway.demo.configuration import REALM
from gateway.demo.people import Enrolment, Professional
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.keys import Keys

_STEP_S = 30
_INVITATION_BYTES = 10
_SECRET_BYTES = 20
_INVITATION_MS = 7 * 86_400_000


async def enrol_people(
    config: Path, people: tuple[Professional, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Give *people* their accounts; return otpauth secrets and invitation codes by login.

    An operator can only invite: the secrets are put in place here as if each person had enrolled, half a
    minute ago, so that the present code is still good.
    """
    made: dict[str, str] = {}
    invited: dict[str, str] = {}
    async with open_for_operator(config) as office:
        mapping = office.policy.realms[REALM].mapping
        for person in people:
            if person.enrolment is Enrolment.NONE:
                continue
            secret, code = await _admit(office.accounts, office.keys, mapping, person)
            if person.enrolment is Enrolment.DONE:
                made[person.login] = secret
            else:
                invited[person.login] = code
    return made, invited


async def _admit(
    accounts: AccountStore, keys: Keys, mapping: NameMapping, person: Professional
) -> tuple[str, str]:
    now_ms = SystemClock().now_ms()
    ref = account_ref(person.login, REALM, mapping, keys.names)
    await accounts.reset(ref.id)
    invitation = new_invitation(keys.names, ref.id, secrets.token_bytes(_INVITATION_BYTES))
    labels = Labels(person.account_class, "FINESS 590000000", person.name)
    invited = await accounts.invite(ref, invitation.hash, now_ms + _INVITATION_MS, labels)
    if not isinstance(invited, Changed):
        raise ChildError(f"the demo could not invite {person.login}: the account is {invited.standing}")
    secret = new_secret(secrets.token_bytes(_SECRET_BYTES))
    if person.enrolment is Enrolment.DONE:
        sealed = seal(keys.sealing, secret.encode("ascii"), purpose=SEALED_FACTOR, account_id=ref.id)
        step = now_ms // 1000 // _STEP_S - 2
        if not await accounts.enrol(ref.id, "demo", invitation.id, sealed, step, ()):
            raise ChildError(f"the demo could not enrol {person.login}")
    return secret, invitation.code
