"""Each finding as one sentence that explains itself, French first. It names nobody."""

from gateway.vocabulary.signals import Finding, Signal

_FRENCH = {
    Signal.ENUMERATION: "{patients} dossiers nouveaux pour ce compte ont été ouverts en suivant leurs numéros.",
    Signal.SEARCHES: "{searches} recherches en une heure n’ont affiché qu’un seul patient, ou aucun.",
    Signal.BREADTH: "{patients} patients vus aujourd’hui, alors qu’une journée de cette catégorie en compte {usual}.",
    Signal.NEW_NETWORK: "Accès depuis un réseau nouveau pour ce compte ({networks} connus en {days} jours d’activité).",
    Signal.NEW_DEVICE: (
        "Connexion avec un appareil nouveau pour ce compte, "
        "qui en utilisait un connu pour {known} de ses {logins} dernières connexions."
    ),
    Signal.UNUSUAL_HOURS: "Accès vers {hour} h, quand ni ce compte (en {days} jours) ni sa catégorie ne travaillent.",
}
_ENGLISH = {
    Signal.ENUMERATION: "{patients} records that this account had never opened were opened along their numbers.",
    Signal.SEARCHES: "{searches} searches within an hour showed one patient or none.",
    Signal.BREADTH: "{patients} patients seen today, where a day of this class has {usual}.",
    Signal.NEW_NETWORK: "Access from a network new to this account, which used {networks} in {days} days of work.",
    Signal.NEW_DEVICE: (
        "Login with a device new to this account, which used a known one for {known} of its last {logins} logins."
    ),
    Signal.UNUSUAL_HOURS: "Access at about {hour}:00, when neither this account in {days} days nor its class works.",
}


def sentence(finding: Finding, language: str) -> str:
    """Return *finding* in one sentence; *language* is ``fr`` or ``en``."""
    figures = dict(finding.figures)
    french = language == "fr"
    match finding.signal:
        case Signal.CANARY:
            if figures["exported"]:
                return "Un dossier leurre a été exporté." if french else "A decoy was exported."
            return "Un dossier leurre a été ouvert." if french else "A decoy was opened."
        case Signal.PACE:
            return _paced(figures, french=french)
        case Signal.POOLED:
            return _pooled(figures, french=french)
    return (_FRENCH if french else _ENGLISH)[finding.signal].format(**figures)


def _pooled(figures: dict[str, int], *, french: bool) -> str:
    minutes = figures["minutes"]
    if french:
        who = (
            "liés à celui-ci par leurs appareils"
            if figures["cluster"]
            else "qui partagent l’appareil de celui-ci"
        )
        return (
            f"Les comptes {who} ont vu ensemble tous les patients qu’ils peuvent voir en {minutes} minutes."
        )
    who = "tied to this one by their devices" if figures["cluster"] else "that share the device of this one"
    return f"The accounts {who} have together seen all the patients that they may see in {minutes} minutes."


def _paced(figures: dict[str, int], *, french: bool) -> str:
    patients, seconds = figures["patients"], f"{figures['mean_ms'] / 1_000:.1f}"
    if figures["regular"]:
        if french:
            return (
                f"{patients} dossiers ouverts à intervalles trop réguliers pour une personne : "
                f"toutes les {seconds.replace('.', ',')} s, à {figures['spread']} % près."
            )
        return (
            f"{patients} records opened more regularly than a person does: every {seconds} s, "
            f"give or take {figures['spread']} %."
        )
    if french:
        return (
            f"{patients} dossiers ouverts plus vite qu’on ne peut les lire : "
            f"un toutes les {seconds.replace('.', ',')} s."
        )
    return f"{patients} records opened faster than they can be read: one every {seconds} s."
