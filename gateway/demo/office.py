"""Who is asking: the demo app's memory of browser sessions, and the ways it lets people in."""

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Flask, Response, g, jsonify, redirect, request

from gateway.demo.patients import Patient
from gateway.demo.people import Professional, by_login

SESSION_COOKIE = "parcours_session"
REMEMBER_COOKIE = "parcours_souvenir"

View = Callable[..., Any]


@dataclass(slots=True)
class Visit:
    """One browser session of the app: a form token, and who logged in, if anybody did."""

    token: str
    person: Professional | None = None


class Parcours:
    """The app's memory: patients, browser sessions, remember-me cookies and bearer tokens."""

    def __init__(self, patients: tuple[Patient, ...]) -> None:
        self.patients = patients
        self.by_id = {patient.id: patient for patient in patients}
        self.visits: dict[str, Visit] = {}
        self.remembered: dict[str, Professional] = {}
        self.bearers: dict[str, Professional] = {}

    def person_of(self, login: str, password: str) -> Professional | None:
        """Return whose *login* and *password* these are."""
        person = by_login(login)
        if person is not None and secrets.compare_digest(person.password.encode(), password.encode()):
            return person
        return None

    def patient_of(self, typed: str) -> Patient | None:
        """Return the patient of an id as people type it: padded, spaced or underscored."""
        digits = typed.strip().replace(" ", "").replace("_", "").lstrip("0")
        return self.by_id.get(int(digits)) if digits.isdecimal() else None

    def search(self, words: str) -> list[Patient]:
        """Return whose name starts with *words*."""
        wanted = words.strip().casefold()
        if not wanted:
            return []
        return [
            patient
            for patient in self.patients
            if patient.surname.casefold().startswith(wanted)
            or patient.first_name.casefold().startswith(wanted)
        ]


def recognise_visitors(app: Flask, state: Parcours) -> None:
    """Make *app* know who asks: Basic, then a bearer token, then the session, then the remember-me cookie."""

    @app.before_request
    def recognise() -> None:
        visit = state.visits.get(request.cookies.get(SESSION_COOKIE, ""))
        g.fresh_cookie = None
        if visit is None:
            # Like many frameworks, the app gives everybody a session, before anybody has logged in.
            g.fresh_cookie, visit = secrets.token_urlsafe(24), Visit(secrets.token_urlsafe(16))
            if request.endpoint != "static":
                state.visits[g.fresh_cookie] = visit
        g.visit = visit
        g.person = (
            _basic_person(state)
            or _bearer_person(state)
            or visit.person
            or state.remembered.get(request.cookies.get(REMEMBER_COOKIE, ""))
        )

    @app.after_request
    def hand_out_cookie(response: Response) -> Response:
        if g.get("fresh_cookie") and request.endpoint != "static" and not is_interface():
            response.set_cookie(SESSION_COOKIE, g.fresh_cookie, httponly=True, samesite="Lax", path="/")
        return response

    @app.context_processor
    def for_templates() -> dict[str, Any]:
        return {"person": g.get("person"), "token": g.visit.token if g.get("visit") else ""}


def _basic_person(state: Parcours) -> Professional | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return state.person_of(login, password)


def _bearer_person(state: Parcours) -> Professional | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return state.bearers.get(value) if scheme.lower() == "bearer" else None


def is_interface() -> bool:
    """Tell whether a program asks, not a browser."""
    return request.path.startswith("/api/")


def gated(view: View) -> View:
    """Let only people in who have logged in: others get the login page, programs a 401."""

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if g.person is not None:
            return view(*args, **kwargs)
        if is_interface():
            answer = jsonify(erreur="authentification requise")
            answer.status_code = 401
            answer.headers["WWW-Authenticate"] = 'Basic realm="Parcours"'
            return answer
        return redirect("/connexion", 302)

    return checked
