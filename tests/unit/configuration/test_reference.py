"""The page tells every key, as the schema has it."""

from pathlib import Path

from gateway.configuration.classes import BUILT_IN
from gateway.configuration.reference import keys, mappings, reference

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf-8")


def test_page_ends_with_the_reference_as_the_schema_has_it() -> None:
    assert PAGE.endswith(reference()), "run: ecluse config reference, and put it under 'Every key'"


def test_every_key_of_every_mapping_has_its_row_under_its_heading() -> None:
    sections = PAGE.split("\n### ")[1:]
    for place, model in mappings():
        (section,) = [
            part for part in sections if (f"`{place}`" in part.split("\n| key ")[0]) or _top(part, place)
        ]
        for key, field in keys(model):
            assert f"\n| `{key}` | " in section, f"{place}.{key}"
            assert field.description, f"{place}.{key} says nothing about itself"


def _top(part: str, place: str) -> bool:
    return not place and part.startswith("The top of the main file")


def test_page_tells_the_numbers_of_the_built_in_classes() -> None:
    for control in BUILT_IN["standard"]:
        name = control.value.replace("-", "_")
        bounds = [BUILT_IN[each][control] for each in ("standard", "heavy", "grace")]
        cells = [str(hard) if soft == hard else f"{soft} / {hard}" for soft, hard in bounds]
        assert f"| `{name}` | {' | '.join(cells)} |" in PAGE


def test_schema_is_known_whole() -> None:
    places = {place for place, _ in mappings()}
    assert {
        "",
        "gateway.listen.tls",
        "realms.NAME.classes.NAME.patients_24h",
        "apps.NAME.login[].success[].not",
        "apps.NAME.routes[].patients.from[]",
        "apps.NAME.routes[].when.query.NAME",
        "apps.NAME.services[]",
    } <= places
