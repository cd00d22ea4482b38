"""Two more kinds of unmodified app, a few lines each: HTTP Basic on every page, and one page over JSON."""

import secrets
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request

from gateway.demo.patients import make_patients
from gateway.demo.people import Professional, by_login

_FEW = 200


def make_basic_app() -> Flask:
    """Return an old agenda that knows HTTP Basic only: no form, no cookie, ``GET /fiche/ID`` in HTML."""
    app = Flask("parcours-agenda")
    patients = {one.id: one for one in make_patients(_FEW)}

    @app.get("/")
    @app.get("/fiche/<int:number>")
    def sheet(number: int | None = None) -> Any:
        typed = request.authorization
        person = by_login(typed.username or "") if typed and typed.type == "basic" else None
        if person is None or typed is None or typed.password != person.password:
            return Response("Authentification requise", 401, {"WWW-Authenticate": 'Basic realm="Agenda"'})
        if number is None:
            return f"<!doctype html><title>Agenda</title><h1>Agenda de {person.name}</h1>"
        one = patients.get(number)
        if one is None:
            return "<!doctype html><title>Agenda</title><h1>Fiche introuvable</h1>", 404
        name = f"{one.surname} {one.first_name}"
        return f'<!doctype html><title>Fiche</title><h1 data-dossier="{one.id}">{name}</h1><p>{one.phone}</p>'

    return app


def make_json_app() -> Flask:
    """Return a single-page app's server: ``POST /api/session`` answers a bearer token, then JSON only."""
    app = Flask("parcours-mobile")
    patients = {one.id: one for one in make_patients(_FEW)}
    bearers: dict[str, Professional] = {}

    @app.get("/")
    def shell() -> str:
        return "<!doctype html><title>Mobile</title><div id=app></div>"

    @app.post("/api/session")
    def session() -> Any:
        typed = request.get_json(silent=True) or {}
        person = by_login(str(typed.get("login", "")))
        if person is None or typed.get("password") != person.password:
            return jsonify(ok=False)
        token = secrets.token_urlsafe(24)
        bearers[token] = person
        return jsonify(ok=True, token=token)

    @app.get("/api/patients/<int:number>")
    def record(number: int) -> Any:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in bearers:
            return jsonify(ok=False), 401
        one = patients.get(number)
        if one is None:
            return jsonify(ok=False), 404
        return jsonify(id=one.id, nom=one.surname, prenom=one.first_name, telephone=one.phone)

    return app


VARIANTS: dict[str, Callable[[], Flask]] = {"basic": make_basic_app, "json": make_json_app}
