"""The findings of a dossier in French: who, when, what, through which door, and what is not known. Pure."""

from collections.abc import Iterable
from itertools import islice
from zoneinfo import ZoneInfo

from gateway.audit.breach.charts import across, upright
from gateway.audit.breach.document import Block, Chart, Heading, Items, Part, Table, Text
from gateway.audit.breach.dossier import Dossier
from gateway.audit.breach.words import Times, categories, category, counted, door_kind, number, size
from gateway.audit.scope import HOUR_MS, Asked, Exposure, Figures

MOST_HOURS = 240
"""Longer than ten days, the chart counts by day."""

_MOST_ACCOUNTS = 40
_MOST_CLIENTS = 40
_FEW_EVIDENCE = 3
_FIGURE_HEADS = (
    "Première fois",
    "Dernière fois",
    "Personnes",
    "dont ouvertes",
    "Réponses",
    "Lignes",
    "Volume",
)
_FIGURES_AT = frozenset({2, 3, 4, 5, 6})


def times_of(dossier: Dossier) -> Times:
    """Return the clock of the dossier's readers."""
    return Times(ZoneInfo(dossier.facts.zone))


def on_devices(asked: Asked) -> str:
    """Return which devices a question is held to; nothing when it is about all of them."""
    if not asked.devices:
        return ""
    some = counted(len(asked.devices), "seul appareil", "seuls appareils")
    return f", sur {some} ({', '.join(asked.devices)})"


def summary(dossier: Dossier) -> Part:
    """Return what a person in a hurry reads."""
    scope, times = dossier.scope, times_of(dossier)
    asked, total = scope.asked, scope.total
    silent = sorted(set(asked.accounts) - set(scope.kinds))
    blocks: list[Block] = [
        Text(
            f"{counted(total.patients, 'personne a été montrée', 'personnes ont été montrées')}, dont "
            f"{number(total.patients_opened)} par l’ouverture de leur dossier, à "
            f"{counted(len(asked.accounts), 'compte', 'comptes')}, du {times.moment(asked.from_ms)} "
            f"au {times.moment(asked.to_ms)}{on_devices(asked)}.",
            "strong",
        ),
        Items(
            (
                (
                    f"Première réponse qui montre une personne\u00a0: {times.moment(total.first_ms)}\u00a0; "
                    f"dernière\u00a0: {times.moment(total.last_ms)}."
                ),
                (
                    f"{counted(total.answers, 'réponse', 'réponses')}, {counted(total.rows, 'ligne', 'lignes')}, "
                    f"{size(total.bytes)}."
                ),
                f"Données\u00a0: {categories(scope.categories)}.",
                medical_sentence(dossier),
            )
        ),
    ]
    if silent:
        blocks.append(
            Text(
                f"Aucun événement dans la période pour\u00a0: {', '.join(silent)}. Vérifiez l’orthographe.",
                "careful",
            )
        )
    return Part("synthese", "Synthèse", tuple(blocks))


def medical_sentence(dossier: Dossier) -> str:
    """Return in one sentence whether anything medical was shown."""
    medical = dossier.scope.medical
    if medical.answers:
        return (
            f"Des pages déclarées médicales ont été servies\u00a0: "
            f"{counted(medical.answers, 'réponse', 'réponses')}, "
            f"{counted(medical.patients, 'personne', 'personnes')}."
        )
    return "Aucune réponse d’une page déclarée médicale n’a été servie à ces comptes dans la période."


def when_and_who(dossier: Dossier) -> Part:
    """Return the two charts, and the tables by account, app, establishment, kind of data and address."""
    scope = dossier.scope
    blocks: list[Block] = []
    if scope.hours:
        blocks += [Heading("Chronologie"), _timeline(dossier)]
    blocks.append(Heading("Comptes"))
    if scope.accounts:
        blocks.append(_accounts_chart(dossier))
    blocks.append(
        _table(
            dossier,
            "Par compte",
            "Compte",
            (
                (f"{account} ({realm})" if realm else account, f)
                for (realm, account), f in scope.accounts.items()
            ),
        )
    )
    blocks += [
        Heading("Applications, établissements, données"),
        _table(dossier, "Par application", "Application", scope.apps.items()),
        _table(
            dossier,
            "Par établissement du compte",
            "Établissement",
            ((name or "non renseigné", figures) for name, figures in scope.establishments.items()),
        ),
        Table(
            "Personnes par catégorie de données",
            ("Catégorie", "Personnes"),
            [(category(name), number(count)) for name, count in scope.categories.items()],
            frozenset({1}),
        ),
        Heading("Adresses d’où venaient les requêtes"),
        Table(
            "Réponses par adresse"
            + (f", les {_MOST_CLIENTS} premières" if len(scope.clients) > _MOST_CLIENTS else ""),
            ("Adresse", "Réponses"),
            [(name, number(count)) for name, count in islice(scope.clients.items(), _MOST_CLIENTS)],
            frozenset({1}),
        ),
    ]
    if dossier.leads is not None:
        blocks += [
            Heading("Piste, non constat : autres comptes vus depuis ces adresses"),
            Text(
                "Un hôpital entier peut se présenter sous une seule adresse : un compte de cette liste n’est pas "
                "pour autant compromis. À examiner un par un.",
                "careful",
            ),
            Table(
                "Autres comptes vus depuis les mêmes adresses dans la période",
                ("Compte", "Adresse", "Événements"),
                [(account, client, number(count)) for account, client, count in dossier.leads],
                frozenset({2}),
            ),
        ]
    return Part("constats", "Quand, qui, par quels comptes", tuple(blocks))


def _timeline(dossier: Dossier) -> Chart:
    hours, times = dossier.scope.hours, times_of(dossier)
    first, last = min(hours), max(hours)
    by_day = (last - first) // HOUR_MS + 1 > MOST_HOURS
    named: dict[str, tuple[int, int]] = {}
    for start_ms in range(first, last + 1, HOUR_MS):
        hour = hours.get(start_ms)
        name = times.day(start_ms) if by_day else times.hour(start_ms)
        answers, patients = named.get(name, (0, 0))
        named[name] = (answers + (hour.answers if hour else 0), patients + (hour.patients if hour else 0))
    unit = "jour" if by_day else "heure"
    title = f"Personnes montrées pour la première fois, par {unit}"
    most = max(named, key=lambda name: named[name][1])
    picture = upright(
        "chronologie",
        title,
        f"Du {times.moment(first)} au {times.moment(last + HOUR_MS)}, le plus haut à {most} avec "
        f"{counted(named[most][1], 'personne', 'personnes')}. Le tableau qui suit donne chaque {unit}.",
        [(name, patients) for name, (_, patients) in named.items()],
    )
    rows = [
        (name, number(patients), number(answers)) for name, (answers, patients) in named.items() if answers
    ]
    heads = (unit.capitalize(), "Personnes pour la première fois", "Réponses")
    return Chart(picture, Table(f"{title}, et réponses", heads, rows, frozenset({1, 2})))


def _accounts_chart(dossier: Dossier) -> Chart:
    ordered = sorted(dossier.scope.accounts.items(), key=lambda item: (-item[1].patients, item[0]))
    points = [(account, figures.patients) for (_, account), figures in ordered[:_MOST_ACCOUNTS]]
    title = "Personnes montrées, par compte"
    picture = across(
        "comptes",
        title,
        f"{counted(len(points), 'compte', 'comptes')}, de {points[0][0]} ({number(points[0][1])}) à "
        f"{points[-1][0]} ({number(points[-1][1])}). Le tableau qui suit donne les nombres.",
        points,
    )
    rows = [(account, number(patients)) for account, patients in points]
    return Chart(picture, Table(title, ("Compte", "Personnes"), rows, frozenset({1})))


def doors(dossier: Dossier) -> Part:
    """Return which doors showed patients, and whether a medical one did."""
    scope, facts, medical = dossier.scope, dossier.facts, dossier.scope.medical
    blocks: list[Block] = [Text(medical_sentence(dossier), "careful" if medical.answers else "strong")]
    if facts.medical is not None:
        served = {
            (door.app, door.route): door.figures for door in scope.doors if door.sensitivity == "medical"
        }
        blocks.append(
            Table(
                "Pages déclarées médicales dans la configuration en vigueur",
                ("Application", "Page", "Réponses servies", "Personnes"),
                [
                    (app, route, number(figures.answers), number(figures.patients))
                    for app, route in facts.medical
                    for figures in [served.get((app, route), Figures())]
                ],
                frozenset({2, 3}),
            )
        )
        if not facts.medical:
            blocks.append(Text("La configuration ne déclare aucune page médicale.", "careful"))
    blocks += [
        Text(
            "Fondement : chaque réponse d’une page déclarée dossier, liste ou export est inscrite au journal avant de "
            "partir, avec la sensibilité que la configuration lui donne ; le journal signé a été relu en entier. "
            f"Configuration des événements : {', '.join(scope.policies) or '–'}"
            + (f" ; configuration lue pour ce rapport : {facts.policy_id}." if facts.policy_id else ".")
        ),
        Table(
            "Pages qui ont montré des personnes",
            ("Application", "Page", "Genre", "Sensibilité", "Données", "Réponses", "Personnes"),
            [
                (
                    door.app,
                    door.route,
                    door_kind(door.kind),
                    "médicale" if door.sensitivity == "medical" else "administrative",
                    categories(door.categories),
                    number(door.figures.answers),
                    number(door.figures.patients),
                )
                for door in scope.doors
            ],
            frozenset({5, 6}),
        ),
    ]
    return Part("pages", "Pages servies, et preuve pour les pages médicales", tuple(blocks))


def limits(dossier: Dossier) -> Part:
    """Return what this report does not know."""
    scope, times = dossier.scope, times_of(dossier)
    found = [
        (
            "Les personnes sont comptées par pseudonyme. Une personne inscrite sous plusieurs numérotations, ou vue "
            "sous deux clés de pseudonymes, compte pour plusieurs : le nombre est un maximum."
        ),
        "Ce qui a contourné la passerelle ne figure pas dans son journal.",
        "Les données montrées sont celles que la configuration déclare pour chaque page, non celles de chaque dossier.",
    ]
    undeclared = [f"{door.app}/{door.route}" for door in scope.doors if not door.categories]
    if undeclared:
        found.append(f"Pages sans catégories de données déclarées : {', '.join(undeclared)}.")
    if scope.sighted:
        pieces = ", ".join(
            f"{number(count)} {name}" for name, count in scope.sighted.items() if name != "answers"
        )
        found.append(
            f"{counted(scope.sighted['answers'], 'réponse', 'réponses')} de pages non déclarées "
            f"montraient des données personnelles ({pieces}) qu’on ne peut rattacher à des personnes : à examiner."
        )
    if scope.unsafe:
        found.append(
            f"{counted(scope.unsafe, 'requête', 'requêtes')} pouvant modifier des données "
            "ont été transmises à l’application : l’intégrité est à vérifier dans l’application."
        )
    for footing in dossier.footings:
        late = footing.kept_from_ms is None or footing.kept_from_ms > scope.asked.from_ms
        if footing.kept_from and late:
            found.append(
                f"Journal {footing.origin} : le texte des {number(footing.kept_from)} premières entrées a été effacé "
                f"(durée de conservation) ; il commence le {times.moment(footing.kept_from_ms)}."
            )
    return Part("limites", "Ce que ce rapport ne dit pas", (Items(tuple(found)),))


def people(dossier: Dossier, most: int) -> Part:
    """Return the list of patients, the first *most* of them."""
    times, total = times_of(dossier), dossier.scope.total.patients
    rows = [_person(one, dossier, times) for one in islice(dossier.exposures(), most)]
    blocks: list[Block] = [
        Text(
            "Les personnes figurent sous leur pseudonyme. Pour leur écrire, un agent habilité rétablit les identités "
            "à partir de la liste CSV, avec « ecluse audit identify » ; cette opération est elle-même journalisée."
        ),
        Text(f"Empreinte SHA-256 de la liste CSV complète : {dossier.list_sha256}"),
    ]
    if total > most:
        blocks.append(
            Text(
                f"Les {number(most)} premières sur {number(total)} : la liste complète est dans la version CSV "
                "et dans la version JSON.",
                "careful",
            )
        )
    heads = (
        "Pseudonyme",
        "Lettre",
        "Ouverte",
        "Listée",
        "Exportée",
        "Première fois",
        "Dernière fois",
        "Preuves",
    )
    table = Table("Personnes montrées", heads, rows, frozenset({2, 3, 4}), frozenset({0, 7}))
    return Part("personnes", "Personnes concernées", (*blocks, table), apart=True)


def _person(one: Exposure, dossier: Dossier, times: Times) -> tuple[str, ...]:
    evidence = " ".join(f"{writer}:{seq}" for writer, seq in one.evidence[:_FEW_EVIDENCE])
    more = len(one.evidence) - _FEW_EVIDENCE
    return (
        one.patient,
        dossier.letters[one.shown],
        number(one.opened),
        number(one.listed),
        number(one.exported),
        times.moment(one.first_ms),
        times.moment(one.last_ms),
        evidence + (f" (+{more})" if more > 0 else ""),
    )


def evidence(dossier: Dossier, command: str) -> Part:
    """Return what the report stands on, and how to check and make it again."""
    scope = dossier.scope
    rows = []
    for footing in dossier.footings:
        count, _, last = scope.evidence.get(footing.writer, (0, 0, 0))
        origin, entries, root = footing.line().split(" ")
        rows.append(
            (origin, number(int(entries)), root, number(count), f"{footing.writer}:{last}" if count else "–")
        )
    blocks: tuple[Block, ...] = (
        Text(
            "Chaque entrée des journaux ci-dessous a été relue, son empreinte recalculée : l’état nommé est le début "
            "du journal que couvre le point de contrôle signé, et les entrées comptées ici sont signées."
        ),
        Table(
            "États des journaux sur lesquels repose le rapport (RFC 6962)",
            ("Journal", "Entrées", "Racine (base64)", "Preuves", "Dernière preuve"),
            rows,
            frozenset({1, 3}),
            frozenset({2}),
        ),
        Items(
            (
                "Signature : dans le fichier du même nom terminé par .sig (note signée C2SP, Ed25519).",
                "Vérifier : ecluse breach verify FICHIER",
                f"Refaire, octet pour octet : {command}",
            )
        ),
    )
    return Part("preuves", "Preuves et signature", blocks)


def _table(dossier: Dossier, caption: str, head: str, rows: Iterable[tuple[str, Figures]]) -> Table:
    times = times_of(dossier)
    told = [(name, *_figures(figures, times)) for name, figures in rows]
    return Table(caption, (head, *_FIGURE_HEADS), told, frozenset(at + 1 for at in _FIGURES_AT))


def _figures(figures: Figures, times: Times) -> tuple[str, ...]:
    return (
        times.moment(figures.first_ms),
        times.moment(figures.last_ms),
        number(figures.patients),
        number(figures.patients_opened),
        number(figures.answers),
        number(figures.rows),
        size(figures.bytes),
    )
