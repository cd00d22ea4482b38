"""Answers of an app that name 1, 20, 50 or 200 patients, in JSON and in HTML, as the demo's app words them. Pure."""

from dataclasses import dataclass

import orjson

from gateway.vocabulary.messages import ResponseFacts

PATIENTS = (1, 20, 50, 200)
_NAMES = ("Morel", "Barbe", "Delattre", "Lefebvre", "Vandamme", "Dubois", "Carpentier", "Leroy")
_FIRST = ("Antoinette", "Lucien", "Marguerite", "René", "Paulette", "Fernand", "Yvonne", "Gaston")


@dataclass(frozen=True, slots=True)
class Case:
    """One answer. *target* is what was asked for."""

    name: str
    target: str
    response: ResponseFacts


def cases() -> tuple[Case, ...]:
    """Return the lists of every length, in both forms."""
    return tuple(made(form, patients) for form in ("json", "html") for patients in PATIENTS)


def made(form: str, patients: int) -> Case:
    """Return the answer with so many *patients* in *form*, ``json`` or ``html``."""
    rows = [
        {
            "id": 1001 + number,
            "nom": _NAMES[number % 8],
            "prenom": _FIRST[number // 8 % 8],
            "age": 60 + number % 40,
            "etat": "en attente",
            "besoin": "soins de suite",
        }
        for number in range(patients)
    ]
    if form == "json":
        body, kind, path = (
            orjson.dumps({"dossiers": rows, "page": 1, "total": patients}),
            "application/json",
            "/api/dossiers",
        )
    else:
        lines = "".join(
            f'<tr data-dossier="{row["id"]}"><td><a href="/dossiers/{row["id"]}">{row["id"]}</a></td>'
            f"<td>{row['nom']}</td><td>{row['prenom']}</td><td>{row['age']} ans</td><td>{row['besoin']}</td>"
            f'<td><span class="state">{row["etat"]}</span></td></tr>\n'
            for row in rows
        )
        page = f"<!doctype html><html lang=fr><title>Dossiers</title><main><table>\n{lines}</table></main></html>"
        body, kind, path = page.encode(), "text/html; charset=utf-8", "/dossiers"
    headers = (("content-type", kind), ("content-length", str(len(body))))
    return Case(f"{form}_{patients}", f"{path}?taille={patients}", ResponseFacts(200, headers, body))
