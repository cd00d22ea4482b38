"""What the app shows, as functions: app and load know every byte of every answer, and for whom it was made.

Each answer names who asked and the number of the request, each patient has a name of their own: an answer that is
another person's, another record's or another request's, or a part of one, is seen.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

SYSTEM = "parcours"
FIRST_ID = 1_001
COUNT = 6_000
RESERVED = range(FIRST_ID + COUNT, FIRST_ID + COUNT + 500)
"""Patients who stand in no list: only requests that are given up ask for them."""
MOST_ROWS = 50
EXPORT_ROWS = 100
BLOCK_BYTES = 65_536
WRONG = "Identifiant ou mot de passe incorrect."
_LEAD_BYTES = 16

LOGIN_PAGE = (
    '<!doctype html><title>Parcours</title><form method="post" action="/connexion"><input name="identifiant">'
    '<input name="mot_de_passe" type="password"></form>'
)
ABSENT = "<!doctype html><title>Parcours</title><h1>Introuvable</h1>"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, and the number that the request bore."""

    login: str
    number: str

    @property
    def words(self) -> str:
        """Return both in words."""
        return f"vu par {self.login}, demande {self.number}"


def surname(patient: int) -> str:
    """Return the name that one patient alone has."""
    return f"NOM{patient}X"


def exists(patient: int) -> bool:
    """Tell whether there is such a patient."""
    return FIRST_ID <= patient < RESERVED.stop


def page_of(page: int, rows: int) -> list[int]:
    """Return whom *page* of a list shows, *rows* at a time."""
    first = FIRST_ID + (page - 1) * rows
    return list(range(first, min(first + rows, FIRST_ID + COUNT)))


def found_by(words: str) -> list[int]:
    """Return whom a search for the end of a number finds, none for anything else."""
    if not words.isdigit():
        return []
    return [patient for patient in range(FIRST_ID, FIRST_ID + COUNT) if str(patient).endswith(words)][
        :MOST_ROWS
    ]


def home(asked: Asked) -> str:
    """Return the page after the login."""
    return f"<!doctype html><title>Parcours</title><h1>Bonjour</h1><p>{asked.words}</p>"


def wrong_password() -> str:
    """Return the login page as it is shown after a wrong password."""
    return LOGIN_PAGE + f"<p>{WRONG}</p>"


def record_html(asked: Asked, patient: int) -> str:
    """Return one patient's page."""
    return (
        f'<!doctype html><title>Dossier</title><main data-dossier="{patient}"><h1>{surname(patient)}</h1>'
        f"<p>{patient % 40 + 60} ans</p><p>{asked.words}</p></main>"
    )


def record_json(asked: Asked, patient: int) -> str:
    """Return one patient's record."""
    told = {"id": patient, "nom": surname(patient), "age": patient % 40 + 60, "trace": asked.words}
    return json.dumps(told, ensure_ascii=False)


def list_html(asked: Asked, patients: list[int]) -> str:
    """Return a list as a page."""
    rows = "".join(f'<tr data-dossier="{one}"><td>{surname(one)}</td></tr>' for one in patients)
    return f"<!doctype html><title>Liste</title><p>{asked.words}</p><table>{rows}</table>"


def list_json(asked: Asked, patients: list[int]) -> str:
    """Return a list for programs."""
    shown = [{"id": one, "nom": surname(one), "age": one % 40 + 60} for one in patients]
    return json.dumps({"trace": asked.words, "dossiers": shown}, ensure_ascii=False)


def export_csv(asked: Asked, patients: list[int]) -> str:
    """Return an export."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(("dossier", "nom", "trace"))
    writer.writerows((one, surname(one), asked.words) for one in patients)
    return out.getvalue()


def blocks(seed: str, size: int) -> Iterator[bytes]:
    """Return *size* bytes that belong to *seed* alone, no block of which is like another."""
    base = hashlib.shake_128(seed.encode()).digest(BLOCK_BYTES - _LEAD_BYTES)
    for start in range(0, size, BLOCK_BYTES):
        yield (start.to_bytes(_LEAD_BYTES) + base)[: size - start]


def receipt(asked: Asked, size: int, digest: str) -> str:
    """Return what the app says of an upload."""
    return json.dumps({"trace": asked.words, "octets": size, "sha256": digest})
