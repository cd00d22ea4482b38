"""A dossier put together: as a page, on paper, as JSON or as the list of patients alone."""

import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from gateway.audit.breach.as_json import json_pieces
from gateway.audit.breach.document import Document, Part
from gateway.audit.breach.dossier import Dossier
from gateway.audit.breach.findings import (
    doors,
    evidence,
    limits,
    on_devices,
    people,
    summary,
    times_of,
    when_and_who,
)
from gateway.audit.breach.html import html_pieces
from gateway.audit.breach.letters import letters
from gateway.audit.breach.notification import notification, register
from gateway.audit.breach.pdf import write_pdf


class Form(StrEnum):
    """What a dossier is written as."""

    JSON = "json"
    HTML = "html"
    PDF = "pdf"
    CSV = "csv"


_MOST_PEOPLE = {Form.HTML: 5_000, Form.PDF: 2_000}
_TITLE = "Étendue d’une violation de données"


def write_report(dossier: Dossier, form: Form, path: Path, command: str) -> None:
    """Write *dossier* as *form* to *path*. *command* makes it again.

    Raises:
        PdfMissing: PDF was asked for, and its library is not installed.
        OSError: the disk refused.
    """
    if form is Form.PDF:
        write_pdf(document(dossier, command, _MOST_PEOPLE[form]), path)
        return
    if form is Form.CSV:
        shutil.copyfile(dossier.csv_path, path)
        return
    with path.open("wb") as file:
        file.writelines(_pieces(dossier, form, command))


def document(dossier: Dossier, command: str, most_people: int) -> Document:
    """Return the whole report, with at most *most_people* patients in its list."""
    times, asked = times_of(dossier), dossier.scope.asked
    return Document(
        _TITLE,
        f"{dossier.facts.body_name or 'Passerelle Écluse'} – du {times.moment(asked.from_ms)} au "
        f"{times.moment(asked.to_ms)} – comptes : {', '.join(asked.accounts)}{on_devices(asked)}",
        (
            summary(dossier),
            when_and_who(dossier),
            doors(dossier),
            limits(dossier),
            evidence(dossier, command),
            notification(dossier),
            letters(dossier),
            register(dossier),
            people(dossier, most_people),
        ),
    )


def _pieces(dossier: Dossier, form: Form, command: str) -> Iterator[bytes]:
    if form is Form.HTML:
        return html_pieces(document(dossier, command, _MOST_PEOPLE[form]))
    alone = {
        "notification": notification(dossier),
        "letters": letters(dossier),
        "register": register(dossier),
        "limits": limits(dossier),
    }
    return json_pieces(dossier, {name: _alone(part) for name, part in alone.items()})


def _alone(part: Part) -> Document:
    return Document(_TITLE, "", (part,))
