"""The professionals of the demo. All invented, and so are their passwords."""

from dataclasses import dataclass
from enum import StrEnum


class Enrolment(StrEnum):
    """How far somebody has come with the second factor when the demo opens."""

    DONE = "done"
    INVITED = "invited"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Professional:
    """Somebody with a login of the demo app.

    *account_class* names a class of limits of the demo's realm. *stolen*: the password is among the
    ten that the attackers of the demo hold.
    """

    login: str
    password: str
    name: str
    post: str
    account_class: str
    stolen: bool
    enrolment: Enrolment = Enrolment.DONE
    administrator: bool = False


PROFESSIONALS = (
    Professional("c.lemaire", "Glycine-Bateau-12", "Claire Lemaire", "infirmière de liaison", "heavy", True),
    Professional("y.benali", "Marée.Basse.2025", "Yanis Benali", "assistant social", "standard", True),
    Professional("s.wozniak", "tulipe&Grenier8", "Sophie Wozniak", "cadre de santé", "standard", True),
    Professional("p.delcourt", "Beffroi_1908", "Pierre Delcourt", "médecin gériatre", "standard", True),
    Professional("m.nguyen", "Soleil-d-hiver-77", "Mai Nguyen", "bureau des admissions", "heavy", True),
    Professional("a.haddad", "Péniche verte 31", "Amel Haddad", "coordination d'appui", "heavy", True),
    Professional("l.vasseur", "Cerfvolant!2024", "Luc Vasseur", "médecin de ville", "standard", True),
    Professional("j.dumont", "Houblon/Malt-5", "Jeanne Dumont", "directrice d'EHPAD", "standard", True),
    Professional(
        "n.caron", "Carillon-Douai-59", "Nadia Caron", "aide-soignante", "standard", True, Enrolment.INVITED
    ),
    Professional(
        "t.leroy", "azerty-Opale-62", "Thomas Leroy", "remplaçant", "standard", True, Enrolment.NONE
    ),
    Professional("e.marchand", "Dentelle=Calais4", "Elsa Marchand", "infirmière", "standard", False),
    Professional(
        "d.rousseau", "Canal+du+Nord+9", "Denis Rousseau", "référent métier", "standard", False,
        administrator=True,
    ),
)  # fmt: skip
"""Ten whose password was stolen (eight enrolled, one invited, one nobody invited), and two more."""

STOLEN = tuple(person for person in PROFESSIONALS if person.stolen)
ENROLLED = tuple(person for person in PROFESSIONALS if person.enrolment is Enrolment.DONE)


def by_login(login: str) -> Professional | None:
    """Return who has *login*, as the demo app compares it: trimmed and without regard to case."""
    wanted = login.strip().casefold()
    for person in PROFESSIONALS:
        if person.login == wanted:
            return person
    return None
