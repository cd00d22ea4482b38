"""The fields of a notification to the CNIL (GDPR art. 33(3)) and the register entry (art. 33(5)). Pure, in French.

The articles ask for nature, categories and approximate numbers, contact, consequences and measures; the other
fields are those of the CNIL's form, which may change: what the log cannot know is left to be filled in.
"""

from gateway.audit.breach.document import Block, Items, Part, Table, Text
from gateway.audit.breach.dossier import Dossier
from gateway.audit.breach.findings import times_of
from gateway.audit.breach.words import TO_FILL, categories, counted, families, listed, number

_HOURS_72_MS = 72 * 3_600_000
_YES, _NO = "oui", "non"
_SHAPES = {"initiale": "initiale", "complementaire": "complémentaire", "complete": "complète"}
_ACTS = {
    "account-locked": "compte verrouillé",
    "account-unlocked": "compte déverrouillé",
    "factor-reset": "second facteur effacé",
    "session-closed": "session fermée",
    "invited": "nouvelle invitation",
}


def notification(dossier: Dossier) -> Part:
    """Return the fields of the authority's form, filled in as far as the log knows."""
    return Part(
        "notification",
        "Notification à la CNIL (RGPD, article 33, paragraphe 3)",
        (
            Text(
                "Champs à reporter dans le téléservice de la CNIL. La notification se fait dans les 72 heures après la "
                "prise de connaissance ; elle peut être échelonnée (article 33, paragraphe 4). Un sous-traitant "
                "informe chaque responsable de traitement dans les meilleurs délais (article 33, paragraphe 2)."
            ),
            _table("L’organisme et la notification", _who(dossier)),
            _table("La violation (a)", _what(dossier)),
            _table("Les données et les personnes (a)", _whom(dossier)),
            _table("Conséquences probables (c)", _consequences(dossier)),
            *_measures(dossier),
            _table(
                "Information des personnes et autres notifications",
                [
                    (
                        "Information des personnes (article 34)",
                        f"voir les courriers ; date et nombre : {TO_FILL}",
                    ),
                    ("CERT Santé (CSP, article L. 1111-8-2)", TO_FILL),
                    ("ARS, ANSSI ou CSIRT régional", TO_FILL),
                    ("Dépôt de plainte", TO_FILL),
                    ("Autorités d’autres États membres", TO_FILL),
                ],
            ),
        ),
        apart=True,
    )


def _table(caption: str, fields: list[tuple[str, str]]) -> Table:
    return Table(caption, ("Champ", "Réponse"), fields)


def _who(dossier: Dossier) -> list[tuple[str, str]]:
    facts, times = dossier.facts, times_of(dossier)
    aware = times.moment(facts.aware_ms) if facts.aware_ms is not None else TO_FILL
    until = times.moment(facts.aware_ms + _HOURS_72_MS) if facts.aware_ms is not None else TO_FILL
    return [
        ("Type de notification", _SHAPES[facts.notification]),
        ("Référence d’une notification antérieure", facts.previous or "–"),
        ("Organisme", facts.body_name or TO_FILL),
        ("SIRET, secteur, adresse", TO_FILL),
        ("Responsable(s) de traitement, sous-traitants", TO_FILL),
        ("Délégué à la protection des données ou point de contact (b)", facts.contact or TO_FILL),
        ("Prise de connaissance", aware),
        ("Notification au plus tard", until),
        ("Motif d’un retard au-delà de 72 heures", TO_FILL),
    ]


def _what(dossier: Dossier) -> list[tuple[str, str]]:
    scope, times = dossier.scope, times_of(dossier)
    return [
        ("Début", times.moment(scope.total.first_ms)),
        ("Fin", f"{times.moment(scope.total.last_ms)} (dernière réponse constatée dans la période)"),
        ("Période examinée", f"{times.moment(scope.asked.from_ms)} – {times.moment(scope.asked.to_ms)}"),
        ("Circonstances de la découverte", TO_FILL),
        ("Perte de confidentialité", _YES if scope.total.patients else _NO),
        (
            "Perte d’intégrité",
            f"à vérifier : {counted(scope.unsafe, 'requête', 'requêtes')} pouvant modifier des données"
            if scope.unsafe
            else "aucune requête pouvant modifier des données sur les pages de patients",
        ),
        ("Perte de disponibilité", "aucune constatée par la passerelle"),
        ("Nature", "accès non autorisé par usurpation de comptes de professionnels"),
        ("Origine et cause", f"externe, identifiants volés : à confirmer {TO_FILL}"),
        ("Comptes", f"{number(len(scope.asked.accounts))} : {', '.join(scope.asked.accounts)}"),
        ("Applications", listed(scope.apps) or "–"),
        ("Établissements des comptes", listed(name for name in scope.establishments if name) or TO_FILL),
    ]


def _whom(dossier: Dossier) -> list[tuple[str, str]]:
    scope = dossier.scope
    shown = scope.total.opened + scope.total.listed + scope.total.exported
    told = [(family, _YES if held else _NO) for family, held in families(scope.categories)]
    medical = scope.medical
    return [
        *told,
        (
            "Pages déclarées médicales servies",
            f"{number(medical.answers)} ({counted(medical.patients, 'personne', 'personnes')})",
        ),
        ("Détail des données", categories(scope.categories)),
        ("Catégories de personnes", "patients et usagers (personnes vulnérables)"),
        ("Nombre approximatif de personnes", f"{number(scope.total.patients)} (maximum : voir les limites)"),
        (
            "Nombre approximatif d’enregistrements",
            (
                f"{counted(scope.total.rows, 'ligne ou dossier', 'lignes ou dossiers')} en "
                f"{counted(shown, 'réponse', 'réponses')}"
            ),
        ),
        ("Mineurs parmi les personnes", TO_FILL),
    ]


def _consequences(dossier: Dossier) -> list[tuple[str, str]]:
    return [
        (
            "Pour les personnes",
            " ".join(consequences(dossier.scope.categories, dossier.scope.medical.answers)),
        ),
        ("Gravité (négligeable, limitée, importante, maximale)", TO_FILL),
        ("Risque élevé pour les droits et libertés (article 34)", TO_FILL),
    ]


def consequences(names: dict[str, int] | tuple[str, ...], medical: int) -> list[str]:
    """Return the likely consequences of what was shown, a sentence each."""
    told = ["Perte de confidentialité."]
    if any(name.startswith("contact.") for name in names):
        told.append("Hameçonnage ciblé par courriel, SMS, téléphone ou courrier.")
    if "nir" in names:
        told.append("Usurpation d’identité et fraude aux droits sociaux.")
    if any(name.startswith("identite.") for name in names):
        told.append("Recoupement avec d’autres fuites de données.")
    if medical:
        told.append("Atteinte à la vie privée par la révélation de données de santé.")
    return told


def _measures(dossier: Dossier) -> tuple[Block, ...]:
    return (
        _table(
            "Mesures (d)",
            [
                (
                    "Avant la violation",
                    (
                        "double authentification, plafonds de patients par compte, journal inviolable et pseudonymisé "
                        f"(passerelle Écluse) ; à compléter {TO_FILL}"
                    ),
                ),
                ("Après : confinement", containment(dossier) or TO_FILL),
                ("Après : mots de passe changés dans l’application", TO_FILL),
                ("Après : pour limiter les conséquences", TO_FILL),
            ],
        ),
    )


def containment(dossier: Dossier) -> str:
    """Return what operators did to the accounts in the period, in one line."""
    times = times_of(dossier)
    return " ; ".join(
        f"{_ACTS.get(act.kind, act.kind)} {act.account} le {times.moment(act.at_ms)}"
        + (f" par {act.operator}" if act.operator else "")
        + (f" ({act.reason})" if act.reason else "")
        for act in dossier.scope.acts
    )


def register(dossier: Dossier) -> Part:
    """Return the entry of the register of breaches: the facts, their effects, the remedy (art. 33(5))."""
    scope, times, total = dossier.scope, times_of(dossier), dossier.scope.total
    return Part(
        "registre",
        "Registre des violations (RGPD, article 33, paragraphe 5)",
        (
            _table(
                "Inscription au registre",
                [
                    ("Numéro d’ordre", TO_FILL),
                    ("Prise de connaissance", _who(dossier)[6][1]),
                    (
                        "Faits",
                        (
                            f"accès non autorisé par {counted(len(scope.asked.accounts), 'compte', 'comptes')} "
                            f"({', '.join(scope.asked.accounts)}), du {times.moment(total.first_ms)} au "
                            f"{times.moment(total.last_ms)}, à {listed(scope.apps) or '–'}"
                        ),
                    ),
                    ("Personnes", f"{number(total.patients)}, dont {number(total.patients_opened)} ouvertes"),
                    ("Données", categories(scope.categories)),
                    ("Effets", " ".join(consequences(scope.categories, scope.medical.answers))),
                    ("Mesures prises", containment(dossier) or TO_FILL),
                    ("Notification à la CNIL (date, numéro, ou motif d’absence)", TO_FILL),
                    ("Information des personnes (date, moyen, ou motif d’absence)", TO_FILL),
                    ("Preuves", f"liste CSV, SHA-256 {dossier.list_sha256}"),
                ],
            ),
            Items(("L’inscription se fait même quand la violation n’est pas notifiée.",)),
        ),
        apart=True,
    )
