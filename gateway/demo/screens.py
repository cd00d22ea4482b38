"""The demo app's screens, its CSV export and its JSON interface."""

import csv
import io
from typing import Any

from flask import Flask, Response, abort, g, jsonify, render_template, request

from gateway.demo.office import Parcours, gated, is_interface
from gateway.demo.patients import TEST_NIR_OID, Patient
from gateway.demo.people import PROFESSIONALS

_PAGE_ROWS = 20
_LONG_ROWS = 50
_MOST_ROWS = 200
_EXPORT_ROWS = 100


def add_screens(app: Flask, state: Parcours) -> None:
    """Give *app* every address but the login's."""
    _add_listings(app, state)
    _add_record(app, state)
    _add_export(app, state)
    _add_errors(app)
    _add_interface(app, state)


def _add_listings(app: Flask, state: Parcours) -> None:
    def listing(title: str, patients: list[Patient], rows: int) -> str:
        page = max(1, request.args.get("page", 1, type=int))
        shown = patients[(page - 1) * rows : page * rows]
        pages = max(1, -(-len(patients) // rows))
        return render_template(
            "listing.html", title=title, patients=shown, page=page, pages=pages, rows=rows,
            total=len(patients), words=request.args.get("q", ""),
        )  # fmt: skip

    @app.get("/")
    @gated
    def home() -> Any:
        return render_template("home.html", total=len(state.patients))

    @app.get("/dossiers")
    @gated
    def files() -> Any:
        return listing("Dossiers d’orientation", list(state.patients), _PAGE_ROWS)

    @app.get("/usagers")
    @gated
    def persons() -> Any:
        rows = min(_MOST_ROWS, max(1, request.args.get("taille", _LONG_ROWS, type=int)))
        return listing("Usagers", sorted(state.patients, key=lambda one: (one.surname, one.first_name)), rows)

    @app.get("/recherche")
    @gated
    def search() -> Any:
        return listing("Recherche", state.search(request.args.get("q", "")), _PAGE_ROWS)


def _add_record(app: Flask, state: Parcours) -> None:
    @app.get("/dossiers/<number>")
    @app.get("/dossiers/<number>/imprimer")
    @gated
    def record(number: str) -> Any:
        patient = state.patient_of(request.args.get("dossier", number))
        if patient is None:
            abort(404)
        return render_template("record.html", patient=patient)

    @app.get("/administration")
    @gated
    def administration() -> Any:
        if not g.person.administrator:
            abort(403)
        return render_template("administration.html", people=PROFESSIONALS)


def _add_export(app: Flask, state: Parcours) -> None:
    @app.get("/export.csv")
    @gated
    def export() -> Any:
        place = request.args.get("lot", 1, type=int)
        out = io.StringIO()
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(("dossier", "nom", "prenom", "age", "telephone", "courriel"))
        for one in state.patients[(place - 1) * _EXPORT_ROWS : place * _EXPORT_ROWS]:
            writer.writerow((one.id, one.surname, one.first_name, one.age, one.phone, one.email or ""))
        disposition = f'attachment; filename="dossiers-{place}.csv"'
        return Response(out.getvalue(), mimetype="text/csv", headers={"Content-Disposition": disposition})


def _add_errors(app: Flask) -> None:
    @app.errorhandler(403)
    @app.errorhandler(404)
    def not_here(error: Any) -> Any:
        if is_interface():
            return jsonify(erreur="introuvable"), error.code
        return render_template("error.html", code=error.code), error.code


def _add_interface(app: Flask, state: Parcours) -> None:
    @app.get("/api/dossiers")
    @gated
    def api_files() -> Any:
        rows = min(_MOST_ROWS, max(1, request.args.get("taille", _PAGE_ROWS, type=int)))
        page = max(1, request.args.get("page", 1, type=int))
        shown = state.patients[(page - 1) * rows : page * rows]
        return jsonify(page=page, total=len(state.patients), dossiers=[_as_json(one) for one in shown])

    @app.get("/api/dossiers/<number>")
    @gated
    def api_record(number: str) -> Any:
        patient = state.patient_of(request.args.get("id", number))
        if patient is None:
            abort(404)
        return jsonify(_as_json(patient, whole=True))


def _as_json(patient: Patient, *, whole: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": patient.id,
        "nom": patient.surname,
        "prenom": patient.first_name,
        "age": patient.age,
        "etat": patient.state,
    }
    if whole:
        told |= {"telephone": patient.phone, "courriel": patient.email, "demande": patient.need}
        if patient.nir is not None:
            told["ins"] = {"oid": TEST_NIR_OID, "matricule": patient.nir}
    return told
