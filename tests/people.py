"""The people of the tests. All invented."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a login and a password of the application."""

    login: str
    password: str


DR_MARTIN = Person("dr.martin", "Orchidee-Bleue-41")
NURSE_BEN = Person("ben.infirmier", "Canal-du-Nord-7")
CLERK_LEA = Person("lea.admission", "Peniche-Verte-88")
INTRUDER = Person("intrus", "motdepasse-vole")
