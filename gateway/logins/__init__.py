"""Recognising that the unmodified application has let someone in. Pure: facts in, values out."""

from gateway.logins.basic import BasicMalformed, user
from gateway.logins.form import NameFault, account_name, attempt, disguised, needs_body
from gateway.logins.signs import Outcome, bearer, outcome

__all__ = [
    "BasicMalformed",
    "NameFault",
    "Outcome",
    "account_name",
    "attempt",
    "bearer",
    "disguised",
    "needs_body",
    "outcome",
    "user",
]
