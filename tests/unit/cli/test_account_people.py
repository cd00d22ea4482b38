"""people.csv: every fault at once, with its line."""

from pathlib import Path

import pytest

from gateway.accounts.store import Labels
from gateway.cli.account_people import PeopleRefused, person, read_people
from gateway.policy.policy import FailureBudget, Realm, SessionRules
from gateway.vocabulary.identity import NameMapping
from gateway.vocabulary.keys import KeyRing
from gateway.vocabulary.limits import LimitSet

RING = KeyRing("names", "n1", {"n1": b"N" * 32})
REALM = Realm(
    "chu",
    NameMapping(),
    {"ward": LimitSet("ward", ()), "coordination": LimitSet("coordination", ())},
    "ward",
    SessionRules(),
    FailureBudget(),
)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "login,class,establishment,display\ndr.martin,ward,590000001,Dr Léa Martin\nben,,,\n",
        # As French spreadsheets save it: byte order mark, semicolons, CRLF, other order, an empty line.
        "\ufeffdisplay;Login;class;establishment\r\nDr Léa Martin;DR.Martin;ward;590000001\r\n;;;\r\n;ben;;\r\n",
        'login,display,class,establishment\n"dr.martin","Dr Léa Martin",ward,590000001\n ben ,,,',
    ],
)
def test_the_same_people(tmp_path: Path, text: str) -> None:
    martin, ben = read_people(written(tmp_path, text), REALM, RING)
    assert (martin.ref.name, ben.ref.name) == ("dr.martin", "ben")
    assert martin.labels == Labels("ward", "590000001", "Dr Léa Martin")
    assert ben.labels == Labels()


def test_login_alone_will_do(tmp_path: Path) -> None:
    assert len(read_people(written(tmp_path, "login\na\nb\n"), REALM, RING)) == 2


def test_every_fault_at_once(tmp_path: Path) -> None:
    text = (
        "login,class,display\n"
        "dr.martin,ward,\n"
        "dr.m\u0430rtin,ward,\n"
        "ben,surgeon,\n"
        "lea\n"
        "DR.MARTIN,ward,\n"
        ",ward,x\n"
        "zoe,ward,=1+1\n"
    )
    path = written(tmp_path, text)
    with pytest.raises(PeopleRefused) as refused:
        read_people(path, REALM, RING)
    assert [fault.removeprefix(f"{path}:")[:30] for fault in refused.value.faults] == [
        "3: login 'dr.mаrtin' cannot be",
        "4: class 'surgeon' is not one ",
        "5: 1 columns where the heading",
        "6: the same account as line 2:",
        "7: login '' cannot be an accou",
        "8: display must be at most 128",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "nobody in it"),
        ("login\n", "nobody in it"),
        ("name,class\nx,y\n", ":1: the heading must name login"),
        ("login,login\nx,y\n", ":1: the heading must name login"),
        (b"login\nx\n\xe9\n", ":3: not UTF-8"),
        ('login\n"x\n', "unexpected end of data"),
    ],
)
def test_files_that_are_no_list(tmp_path: Path, text: str | bytes, fault: str) -> None:
    with pytest.raises(PeopleRefused, match=fault):
        read_people(written(tmp_path, text), REALM, RING)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeopleRefused, match=r"nowhere\.csv: No such file"):
        read_people(tmp_path / "nowhere.csv", REALM, RING)


def test_one_person() -> None:
    with pytest.raises(PeopleRefused) as refused:
        person("", Labels("surgeon", "x\n", "@x"), REALM, RING)
    assert len(refused.value.faults) == 4
    assert person("A", Labels("ward"), REALM, RING).ref.name == "a"
