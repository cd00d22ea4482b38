"""The words of the answer to a patient (gateway.cli.audit_letter), French first."""

from typing import Any, Final

from gateway.audit.disclosures import Manner

MONTHS: Final = {
    "fr": (
        *("janvier", "février", "mars", "avril", "mai", "juin"),
        *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
CATEGORIES: Final = {
    "fr": {
        "identite.nom": "nom",
        "identite.prenom": "prénom",
        "identite.age": "âge",
        "identite.ddn": "date de naissance",
        "identite.sexe": "sexe",
        "contact.tel": "téléphone",
        "contact.email": "adresse électronique",
        "contact.adresse": "adresse postale",
        "nir": "numéro de sécurité sociale",
        "ins": "identité nationale de santé",
    },
    "en": {
        "identite.nom": "surname",
        "identite.prenom": "first name",
        "identite.age": "age",
        "identite.ddn": "date of birth",
        "identite.sexe": "sex",
        "contact.tel": "telephone",
        "contact.email": "e-mail address",
        "contact.adresse": "postal address",
        "nir": "social security number",
        "ins": "national health identity",
    },
}
WORDS: Final[dict[str, dict[str, Any]]] = {
    "fr": {
        "title": (
            "RÉPONSE À UNE DEMANDE D'ACCÈS (article 15 du RGPD)\nQui a consulté vos données, quand et comment"
        ),
        "period": "Période examinée : {since} au {until} (heure de {zone}).",
        "first_kept": "du plus ancien événement conservé",
        "from": "du {moment}",
        "scope": (
            "Ce relevé vient du journal de la passerelle par laquelle passent les applications "
            "nommées ci-dessous. Vous y êtes désigné par un pseudonyme : ni votre nom ni votre "
            "numéro n'y figurent. Les accès faits sans passer par cette passerelle n'y sont pas."
        ),
        "none": "Aucun événement vous concernant n'est enregistré pour cette période.",
        Manner.OPENED: "Votre dossier a été ouvert",
        Manner.LISTED: "Vous figuriez dans une liste affichée",
        Manner.CHANGED: "Une modification a été envoyée à l'application",
        Manner.REJECTED: "Votre dossier a été demandé, l'application n'a rien montré",
        Manner.KEPT_BACK: ("Votre dossier a été demandé, la passerelle a refusé : rien n'a été transmis"),
        Manner.CONSULTED: "Ce journal a été consulté à votre sujet",
        "totals": "{times}, par {people}",
        "people": ("1 personne", "{n} personnes"),
        "times": ("1 fois", "{n} fois"),
        "who": "Qui : ",
        "professional": "professionnel n° {n}",
        "operator": "personne chargée de l'exploitation n° {n}",
        "class": "catégorie {name}",
        "establishment": "établissement {name}",
        "app": "Par l'application : {name}",
        "data": "Données : {names}",
        "medical": "dont données médicales",
        "numbers": (
            "Chaque personne porte le même numéro dans tout ce relevé. Les noms des professionnels"
            " ne sont pas donnés : le droit d'accès porte sur les dates et les finalités des "
            "consultations, et sur l'identité de qui a consulté seulement si elle est "
            "indispensable à l'exercice de vos droits (CJUE, 22 juin 2023, C-579/21)."
        ),
        "rights": (
            "Vous pouvez demander la rectification de vos données ou adresser une réclamation à la"
            " CNIL (www.cnil.fr). Nous ne vous demanderons jamais par courriel, téléphone ou SMS "
            "un mot de passe, un code ou des coordonnées bancaires."
        ),
    },
    "en": {
        "title": ("ANSWER TO A REQUEST FOR ACCESS (GDPR article 15)\nWho consulted your data, when and how"),
        "period": "Period examined: {since} to {until} ({zone} time).",
        "first_kept": "from the oldest event that is kept",
        "from": "from {moment}",
        "scope": (
            "This statement comes from the log of the gateway that the applications named below "
            "stand behind. You appear in it under a pseudonym: neither your name nor your number "
            "stands there. What was accessed without passing through this gateway is not in it."
        ),
        "none": "No event about you is recorded for this period.",
        Manner.OPENED: "Your record was opened",
        Manner.LISTED: "You stood in a list that was shown",
        Manner.CHANGED: "A change was sent to the application",
        Manner.REJECTED: "Your record was asked for, the application showed nothing",
        Manner.KEPT_BACK: "Your record was asked for, the gateway refused: nothing was sent",
        Manner.CONSULTED: "This log was consulted about you",
        "totals": "{times}, by {people}",
        "people": ("1 person", "{n} persons"),
        "times": ("once", "{n} times"),
        "who": "Who: ",
        "professional": "professional no. {n}",
        "operator": "operator no. {n}",
        "class": "category {name}",
        "establishment": "establishment {name}",
        "app": "Through the application: {name}",
        "data": "Data: {names}",
        "medical": "medical data among them",
        "numbers": (
            "Each person bears the same number throughout. Names of professionals are not given: "
            "the right of access covers dates and purposes of consultations, and the identity of "
            "who consulted only where it is essential for exercising your rights (CJEU, 22 June "
            "2023, C-579/21)."
        ),
        "rights": (
            "You may ask for your data to be corrected, or complain to the CNIL (www.cnil.fr). We "
            "shall never ask you by e-mail, telephone or text message for a password, a code or "
            "bank details."
        ),
    },
}
