"""A dossier as one JSON object, written a patient at a time."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.audit.breach.document import Document, plain
from gateway.audit.breach.dossier import Dossier, rfc3339
from gateway.audit.scope import Exposure, Figures, Scope

FORM = "ecluse/breach-scope/1"
"""The version of the form: it stands in ``form``."""


def json_pieces(dossier: Dossier, documents: dict[str, Document]) -> Iterator[bytes]:
    """Yield the pieces of the object: figures first, *documents* by name as text, the patients last."""
    scope = dossier.scope
    head = {
        "form": FORM,
        "asked": _moments(dataclasses.asdict(scope.asked)),
        "stands_on": [
            {
                "origin": footing.origin,
                "size": footing.size,
                "root": footing.root.hex(),
                "kept_from": footing.kept_from,
                "last_evidence": scope.evidence.get(footing.writer, (0, 0, None))[2],
            }
            for footing in dossier.footings
        ],
        "list_sha256": dossier.list_sha256,
        **_figures(scope),
        "letters": [
            {
                "letter": dossier.letters[shown],
                "categories": list(shown[0]),
                "medical": shown[1],
                "patients": count,
            }
            for shown, count in scope.letters.items()
        ],
        "declared_medical": None
        if dossier.facts.medical is None
        else [{"app": app, "route": route} for app, route in dossier.facts.medical],
        "leads": None
        if dossier.leads is None
        else [
            {"account": account, "client": client, "events": count}
            for account, client, count in dossier.leads
        ],
        "texts": {name: plain(document) for name, document in documents.items()},
    }
    yield msgspec.json.format(msgspec.json.encode(head), indent=1).removesuffix(b"\n}") + b',\n "patients": ['
    before = b"\n  "
    for exposure in dossier.exposures():
        yield before + msgspec.json.encode(_patient(exposure, dossier))
        before = b",\n  "
    yield b"\n ]\n}\n"


def _figures(scope: Scope) -> dict[str, Any]:
    return {
        "total": _counted(scope.total),
        "accounts": [
            {"realm": realm, "account": account, **_counted(figures)}
            for (realm, account), figures in scope.accounts.items()
        ],
        "apps": {name: _counted(figures) for name, figures in scope.apps.items()},
        "establishments": {name: _counted(figures) for name, figures in scope.establishments.items()},
        "routes": [
            {
                "app": door.app,
                "route": door.route,
                "kind": door.kind,
                "sensitivity": door.sensitivity,
                "categories": list(door.categories),
                **_counted(door.figures),
            }
            for door in scope.doors
        ],
        "medical": _counted(scope.medical),
        "categories": scope.categories,
        "hours": [
            {"from": rfc3339(start_ms), "answers": hour.answers, "new_patients": hour.patients}
            for start_ms, hour in scope.hours.items()
        ],
        "clients": scope.clients,
        "events": scope.kinds,
        "acts": [_moments(dataclasses.asdict(act)) for act in scope.acts],
        "naming_nobody": scope.nobody,
        "sighted": scope.sighted,
        "unsafe_methods": scope.unsafe,
        "policies": list(scope.policies),
        "evidence": {
            writer: {"entries": count, "first": first, "last": last}
            for writer, (count, first, last) in scope.evidence.items()
        },
    }


def _counted(figures: Figures) -> dict[str, Any]:
    return _moments(dataclasses.asdict(figures))


def _patient(one: Exposure, dossier: Dossier) -> dict[str, Any]:
    told = _moments(dataclasses.asdict(one))
    told["answers_bytes"] = told.pop("bytes")
    told["evidence"] = [f"{writer}:{seq}" for writer, seq in one.evidence]
    return {"pseudonym": told.pop("patient"), "letter": dossier.letters[one.shown], **told}


def _moments(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_ms"): rfc3339(value) if name.endswith("_ms") and value is not None else value
        for name, value in values.items()
    }
