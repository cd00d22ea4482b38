"""Parcours: a small orientation-to-care-home app, as unaware of the gateway as any app in production.

It has the habits and the second doors that such apps have (behaviour, part 11): HTTP Basic beside cookies, a
token address for a mobile app, login by GET and by JSON, a remember-me cookie, a record chosen by a parameter
that beats the path, ids written in several ways, print views and exports. It is what is to be protected, not
an example to follow.
"""

import asyncio
import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from flask import Flask, g, jsonify, redirect, render_template, request
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.wsgi import WSGIContainer
from werkzeug.wrappers import Response

from gateway.demo.office import REMEMBER_COOKIE, SESSION_COOKIE, Parcours, Visit, recognise_visitors
from gateway.demo.patients import Patient, make_patients
from gateway.demo.people import Professional
from gateway.demo.screens import add_screens

_REMEMBER_S = 90 * 86_400
_THREADS = 4


def make_app(patients: tuple[Patient, ...] | None = None) -> Flask:
    """Return the app over *patients* (the demo's own 4 000 when None)."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    state = Parcours(patients or make_patients())
    recognise_visitors(app, state)
    _add_login(app, state)
    add_screens(app, state)
    return app


def _add_login(app: Flask, state: Parcours) -> None:
    def let_in(person: Professional, answer: Response, *, remember: bool = False) -> Response:
        state.visits.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        g.fresh_cookie = secrets.token_urlsafe(24)
        state.visits[g.fresh_cookie] = Visit(secrets.token_urlsafe(16), person)
        if remember:
            lasting = secrets.token_urlsafe(24)
            state.remembered[lasting] = person
            answer.set_cookie(REMEMBER_COOKIE, lasting, max_age=_REMEMBER_S, httponly=True, path="/")
        return answer

    @app.route("/connexion", methods=["GET", "POST"])
    def login() -> Any:
        typed: Any = (request.get_json(silent=True) or {}) if request.is_json else request.values
        if not isinstance(typed, dict) or "mot_de_passe" not in typed:
            return render_template("login.html", fault=None)
        person = state.person_of(str(typed.get("identifiant", "")), str(typed["mot_de_passe"]))
        by_form = request.method == "POST" and not request.is_json
        if by_form and not secrets.compare_digest(str(typed.get("jeton", "")), g.visit.token):
            return render_template("login.html", fault="La page a expiré, veuillez recommencer.")
        if person is None:
            return render_template("login.html", fault="Identifiant ou mot de passe incorrect.")
        return let_in(person, redirect("/", 302), remember="souvenir" in typed)

    @app.post("/api/jeton")
    def bearer() -> Any:
        typed = request.get_json(silent=True) or {}
        person = state.person_of(str(typed.get("identifiant", "")), str(typed.get("mot_de_passe", "")))
        if person is None:
            return jsonify(erreur="identifiant ou mot de passe incorrect"), 401
        token = secrets.token_urlsafe(24)
        state.bearers[token] = person
        return jsonify(jeton=token, type="Bearer")

    @app.route("/deconnexion", methods=["GET", "POST"])
    def logout() -> Any:
        state.visits.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        state.remembered.pop(request.cookies.get(REMEMBER_COOKIE, ""), None)
        answer = redirect("/connexion", 302)
        answer.delete_cookie(SESSION_COOKIE, path="/")
        answer.delete_cookie(REMEMBER_COOKIE, path="/")
        return answer


def serve(app: Flask, address: str, port: int) -> None:
    """Serve *app* over HTTP/1.1 with kept connections, a few requests at a time, until the process ends.

    Tornado comes with mitmproxy; werkzeug's own server closes every connection. Prints the port it got.
    """

    async def run() -> None:
        with ThreadPoolExecutor(_THREADS) as threads:
            server = HTTPServer(WSGIContainer(app, threads))
            sockets = bind_sockets(port, address)
            server.add_sockets(sockets)
            print(f"listening on {sockets[0].getsockname()[1]}", flush=True)
            await asyncio.Event().wait()

    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    with suppress(KeyboardInterrupt):
        asyncio.run(run())
