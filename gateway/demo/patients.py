"""Several thousand invented patients, the same ones at every start."""

from dataclasses import dataclass
from datetime import date

from faker import Faker
from faker.providers.person.fr_FR import Provider as FrenchNames

FIRST_ID = 1_001
COUNT = 4_000
TEST_NIR_OID = "1.2.250.1.213.1.4.10"
"""The French numbering of *test* national identifiers: none of these numbers is anybody's."""

TODAY = date(2026, 1, 1)
"""The day ages are told for, so that every start shows the same pages."""

_FICTION_RANGES = ("01 99 00", "02 61 91", "03 53 01", "04 65 71", "05 36 49", "06 39 98")
"""Number ranges that the French regulator (ARCEP) keeps for works of fiction."""

_NEEDS = (
    "EHPAD, hébergement permanent",
    "EHPAD, hébergement temporaire",
    "Soins médicaux et de réadaptation",
    "Hospitalisation à domicile",
    "Soins infirmiers à domicile",
    "Résidence autonomie",
)
_WITH_EMAIL, _WITH_NIR = 0.6, 0.3
_STATES = ("à compléter", "envoyé", "en attente de réponse", "accepté", "admis")
_TOWNS = (
    "Arras",
    "Béthune",
    "Calais",
    "Douai",
    "Lens",
    "Lille",
    "Maubeuge",
    "Roubaix",
    "Saint-Omer",
    "Valenciennes",
)


@dataclass(frozen=True, slots=True)
class Patient:
    """One orientation file: who somebody is and what is asked for them. *nir* is a test number or None."""

    id: int
    surname: str
    first_name: str
    sex: str
    born: date
    phone: str
    email: str | None
    nir: str | None
    town: str
    need: str
    state: str

    @property
    def age(self) -> int:
        """Return the age in whole years."""
        before_birthday = (TODAY.month, TODAY.day) < (self.born.month, self.born.day)
        return TODAY.year - self.born.year - before_birthday


def nir_key(thirteen: str) -> str:
    """Return the key of a national number's *thirteen* first characters (INSEE: 2A is 19, 2B is 18)."""
    digits = thirteen.replace("2A", "19", 1).replace("2B", "18", 1)
    return f"{97 - int(digits) % 97:02d}"


def make_patients(count: int = COUNT, seed: int = 2025_09) -> tuple[Patient, ...]:
    """Return *count* patients with ids from 1001 upwards. The same *seed* makes the same people.

    No two have the same name, telephone or e-mail address: any of them in an answer tells whom it showed.
    """
    faker = Faker("fr_FR")
    faker.seed_instance(seed)
    chance = faker.random
    surnames = _single_words(FrenchNames.last_names)
    women, men = _single_words(FrenchNames.first_names_female), _single_words(FrenchNames.first_names_male)
    taken: set[tuple[str, str]] = set()
    numbers = chance.sample(range(len(_FICTION_RANGES) * 10_000), count)
    patients = []
    for place in range(count):
        sex = chance.choice("FM")
        name = ("", "")
        while not name[0] or name in taken:
            name = (chance.choice(surnames), chance.choice(women if sex == "F" else men))
        taken.add(name)
        born = date(chance.randint(1926, 1964), chance.randint(1, 12), chance.randint(1, 28))
        prefix, rest = divmod(numbers[place], 10_000)
        patients.append(
            Patient(
                id=FIRST_ID + place,
                surname=name[0],
                first_name=name[1],
                sex=sex,
                born=born,
                phone=f"{_FICTION_RANGES[prefix]} {rest // 100:02d} {rest % 100:02d}",
                email=_email(name, FIRST_ID + place) if chance.random() < _WITH_EMAIL else None,
                nir=_nir(faker, sex, born, place) if chance.random() < _WITH_NIR else None,
                town=chance.choice(_TOWNS),
                need=chance.choice(_NEEDS),
                state=chance.choice(_STATES),
            )
        )
    return tuple(patients)


def _single_words(names: object) -> tuple[str, ...]:
    # Faker's pools are tuples or weighted dictionaries according to the release; both iterate over names.
    return tuple(sorted({name for name in names if name.isalpha()}))  # type: ignore[attr-defined]


def _email(name: tuple[str, str], number: int) -> str:
    plain = str.maketrans("àâäçéèêëîïôöùûüÿ", "aaaceeeeiioouuuy")
    return f"{name[1].lower().translate(plain)}.{name[0].lower().translate(plain)}.{number}@exemple.example"


def _nir(faker: Faker, sex: str, born: date, place: int) -> str:
    chance = faker.random
    department = chance.choice(("59", "62", "02", "60", "80", "75", "2A", "2B", "99"))
    first = (
        f"{1 if sex == 'M' else 2}{born:%y%m}{department}{chance.randint(1, 989):03d}{place % 999 + 1:03d}"
    )
    return first + nir_key(first)
