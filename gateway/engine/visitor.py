"""Whoever stands at one of our own pages: the exchange, the form, and the proof that the form is ours."""

from dataclasses import dataclass

from gateway.engine.exchange import Exchange
from gateway.engine.replies import own_origin
from gateway.engine.services import Services
from gateway.pages import views
from gateway.policy.policy import Basic
from gateway.sessions import forms
from gateway.vocabulary.identity import AccountRef, Stage

_FORMS_OF = {"logout": ("logout", "code", "recovery", "invitation", "enrol", "step-up")}
"""Pages whose form leads to another page: each shows one token, also beside its button to sign out."""


@dataclass(slots=True)
class Visitor:
    """*form* holds the posted fields, None when the body was no form of ours."""

    exchange: Exchange
    services: Services
    page: str
    form: dict[str, str] | None
    needs_token: bool
    look: views.Look
    enrolled: bool = False
    """Whether a code may be asked: a dormant account's factor no longer counts."""

    @property
    def stage(self) -> Stage | None:
        """Return the stage of the live session."""
        return self.exchange.stage

    @property
    def account(self) -> AccountRef | None:
        """Return whose session it is."""
        return self.exchange.account

    @property
    def bound(self) -> bool:
        """Tell whether a full session is shown with both its halves: our cookie alone opens no page either.

        Apps that recognise people by Basic or by a bearer token show nothing of it when a page is asked for.
        """
        app, entered = self.exchange.app, self.exchange.entered
        if self.stage is not Stage.FULL or entered is None:
            return False
        by_cookie = app.basic is not Basic.LOGIN and not any(rule.bearer for rule in app.logins)
        return any(entered.known) or not by_cookie

    def token(self) -> str:
        """Return the token for a form of this page."""
        session = self.exchange.session_id or "nobody"
        return forms.form_token(self.services.keys.session, session, self.page)

    def form_is_ours(self) -> bool:
        """Tell whether a post was made by this person from our page (token, Origin, Sec-Fetch-Site)."""
        if self.form is None:
            return False
        facts = self.exchange.facts
        origin = facts.header("origin")
        if origin is not None and origin != own_origin(self.exchange):
            return False
        if facts.header("sec-fetch-site") not in {None, "same-origin", "none"}:
            return False
        if not self.needs_token:
            return True
        session = self.exchange.session_id
        if session is None:
            return False
        given = self.form.get("token", "")
        ring = self.services.keys.session
        shown_on = _FORMS_OF.get(self.page, (self.page,))
        return any(forms.is_form_token(ring, session, page, given) for page in shown_on)
