"""The letter to the persons (GDPR art. 34(2)), in clear and plain French: one for each set of data shown. Pure."""

from gateway.audit.breach.document import Block, Heading, Items, Part, Text
from gateway.audit.breach.dossier import Dossier
from gateway.audit.breach.findings import times_of
from gateway.audit.breach.words import TO_FILL, category, counted, listed
from gateway.audit.scope import Shown

NEVER_ASKED = (
    "Un professionnel ou un établissement de santé ou médico-social ne vous demandera jamais, par courriel, téléphone "
    "ou SMS, vos coordonnées bancaires, votre numéro de sécurité sociale, un code ou un mot de passe."
)
"""What professionals never ask for: the same words on every letter."""

_ADVICE = (
    "N’ouvrez ni lien ni pièce jointe d’un message inattendu, même s’il cite votre nom ou votre établissement.",
    "En cas de doute, appelez l’établissement au numéro que vous connaissez, non à celui du message.",
    "Un SMS suspect se transfère au 33700 ; un courriel suspect se signale sur signal-spam.fr.",
    (
        "Si vous avez communiqué des données bancaires, prévenez votre banque sans attendre ; si vous avez "
        "communiqué un mot de passe, changez-le partout où il sert."
    ),
    "Une aide gratuite est donnée sur cybermalveillance.gouv.fr (17Cyber).",
)
_NIR_ADVICE = (
    "Surveillez vos remboursements sur votre compte ameli ; signalez à votre caisse ce qui vous est inconnu."
)


def letters(dossier: Dossier) -> Part:
    """Return every letter, with how many persons get it; the CSV list names each person's letter."""
    blocks: list[Block] = [
        Text(
            "À envoyer quand la violation est susceptible d’engendrer un risque élevé. Une lettre par ensemble de "
            "données ; la colonne « letter » de la liste CSV dit laquelle chaque personne reçoit."
        )
    ]
    for shown, count in dossier.scope.letters.items():
        blocks += _letter(dossier, shown, count)
    return Part(
        "courriers", "Courriers aux personnes (RGPD, article 34, paragraphe 2)", tuple(blocks), apart=True
    )


def _letter(dossier: Dossier, shown: Shown, count: int) -> list[Block]:
    times, facts, (categories, medical) = times_of(dossier), dossier.facts, shown
    name = dossier.letters[shown]
    data = listed(f"votre {category(one)}" for one in categories) or TO_FILL
    advice = (NEVER_ASKED, *_ADVICE, *((_NIR_ADVICE,) if "nir" in categories else ()))
    return [
        Heading(f"Lettre {name} ({counted(count, 'personne', 'personnes')})"),
        Text("Objet : des informations vous concernant ont été consultées sans droit"),
        Text("Madame, Monsieur,"),
        Text(
            f"Entre le {times.day(_first(dossier))} et le {times.day(_last(dossier))}, des inconnus ont utilisé sans "
            "droit des comptes de professionnels et ont consulté des informations vous concernant dans "
            f"{_apps(dossier)}."
        ),
        Text(f"Informations concernées : {data}."),
        Text(_medical(dossier, medical=medical)),
        Text(f"Ce qui peut arriver : {_risk(categories)}"),
        Text(
            "Ce que nous avons fait : "
            + ("les comptes ont été verrouillés et leurs sessions fermées ; " if _locked(dossier) else "")
            + f"{TO_FILL}. La CNIL a été informée le {TO_FILL}."
        ),
        Text("Ce que nous vous conseillons :"),
        Items(advice),
        Text(
            "Pour toute question, notre délégué à la protection des données vous répond : "
            f"{facts.contact or TO_FILL}. Vous pouvez aussi adresser une réclamation à la CNIL (www.cnil.fr)."
        ),
        Text("Nous vous prions d’accepter nos excuses."),
        Text(facts.body_name or TO_FILL),
    ]


def _first(dossier: Dossier) -> int:
    first_ms = dossier.scope.total.first_ms
    return first_ms if first_ms is not None else dossier.scope.asked.from_ms


def _last(dossier: Dossier) -> int:
    last_ms = dossier.scope.total.last_ms
    return last_ms if last_ms is not None else dossier.scope.asked.to_ms


def _apps(dossier: Dossier) -> str:
    names = list(dossier.scope.apps)
    return ("l’application " if len(names) == 1 else "les applications ") + listed(names)


def _locked(dossier: Dossier) -> bool:
    return any(act.kind == "account-locked" for act in dossier.scope.acts)


def _medical(dossier: Dossier, *, medical: bool) -> str:
    if medical:
        return f"Des informations de santé ont pu être consultées : {TO_FILL}."
    if dossier.scope.sighted:
        return f"Informations de santé : {TO_FILL} (des pages non déclarées ont été vues, voir les limites)."
    return "D’après nos journaux, aucune page médicale vous concernant n’a été consultée."


def _risk(categories: tuple[str, ...]) -> str:
    risks = ["ces informations peuvent être revendues ou recoupées avec d’autres"]
    if any(name.startswith("contact.") for name in categories):
        risks.append("servir à des messages ou appels trompeurs qui vous sont adressés (hameçonnage)")
    if "nir" in categories:
        risks.append("servir à usurper votre identité")
    return listed(risks) + "."
