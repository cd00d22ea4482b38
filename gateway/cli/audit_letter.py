"""The answer to a patient who asks who saw the record (GDPR art. 15), in words: French first, then English."""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.audit.disclosures import Disclosure, Manner
from gateway.audit.encoding import visible
from gateway.cli.audit_letter_words import CATEGORIES, MONTHS, WORDS

_WIDTH: Final = 100


def letter(
    told: Sequence[Disclosure],
    *,
    since: datetime | None,
    until: datetime,
    zone: str,
    titles: Mapping[str, str],
    with_names: bool = False,
) -> str:
    """Return the statement about *told* in French, then in English.

    *since* (None: from the oldest event kept) and *until* bound it, both in the zone called *zone*. *titles* names
    the apps for people. Professionals bear numbers, and their logins too *with_names*.
    """
    people = _numbered(told)
    both = [_statement(told, people, language, since, until, zone, titles, with_names) for language in WORDS]
    return f"\n\n{'-' * 72}\n\n".join(both) + "\n"


def _statement(
    told: Sequence[Disclosure],
    people: Mapping[tuple[str, str], int],
    language: str,
    since: datetime | None,
    until: datetime,
    zone: str,
    titles: Mapping[str, str],
    with_names: bool,
) -> str:
    words = WORDS[language]
    begin = words["from"].format(moment=_day(since, language)) if since else words["first_kept"]
    parts = [
        words["title"],
        words["period"].format(
            since=begin, until=f"{_day(until, language)}, {_clock(until, language)}", zone=zone
        ),
        _wrapped(words["scope"]),
    ]
    if not told:
        parts.append(words["none"])
    kept = {how: [one for one in told if one.manner is how] for how in Manner}
    parts += [_section(how, each, people, language, titles, with_names) for how, each in kept.items() if each]
    if any(one.account for one in told) and not with_names:
        parts.append(_wrapped(words["numbers"]))
    return "\n\n".join([*parts, _wrapped(words["rights"])])


def _section(
    how: Manner,
    told: Sequence[Disclosure],
    people: Mapping[tuple[str, str], int],
    language: str,
    titles: Mapping[str, str],
    with_names: bool,
) -> str:
    words = WORDS[language]
    times = _counted(words["times"], sum(one.times for one in told))
    persons = _counted(words["people"], len({_person(one) for one in told}))
    out = [f"{words[how]} : {words['totals'].format(times=times, people=persons)}."]
    if language == "en":
        out = [out[0].replace(" :", ":", 1)]
    for one in told:
        clock = _clock(one.first, language)
        if one.last != one.first and _clock(one.last, language) != clock:
            clock += f" – {_clock(one.last, language)}"
        count = f", {_counted(words['times'], one.times)}" if one.times > 1 else ""
        out.append(f"  {_day(one.first, language)}, {clock}{count}")
        out.append(f"    {words['who']}{_who(one, people, words, with_names)}")
        if one.app:
            out.append(f"    {words['app'].format(name=visible(titles.get(one.app, one.app)))}")
        if one.categories:
            names = ", ".join(CATEGORIES[language].get(name, visible(name)) for name in one.categories)
            medical = f" ({words['medical']})" if one.is_medical else ""
            out.append(f"    {words['data'].format(names=names)}{medical}")
    return "\n".join(out)


def _who(
    one: Disclosure, people: Mapping[tuple[str, str], int], words: Mapping[str, Any], with_names: bool
) -> str:
    kind, name = _person(one)
    told = [words[kind].format(n=people[kind, name])]
    if with_names and name:
        told.append(visible(name))
    if one.account_class:
        told.append(words["class"].format(name=visible(one.account_class)))
    if one.establishment:
        told.append(words["establishment"].format(name=visible(one.establishment)))
    return ", ".join(told)


def _person(one: Disclosure) -> tuple[str, str]:
    return (
        ("operator", one.operator)
        if one.operator and not one.account
        else ("professional", one.account or "")
    )


def _numbered(told: Sequence[Disclosure]) -> dict[tuple[str, str], int]:
    numbers: dict[tuple[str, str], int] = {}
    for one in told:
        person = _person(one)
        if person not in numbers:
            numbers[person] = 1 + sum(kind == person[0] for kind, _ in numbers)
    return numbers


def _counted(forms: tuple[str, str], count: int) -> str:
    return forms[0] if count == 1 else forms[1].format(n=count)


def _day(moment: datetime, language: str) -> str:
    month = MONTHS[language][moment.month - 1]
    day = "1er" if language == "fr" and moment.day == 1 else str(moment.day)
    return f"{day} {month} {moment.year}"


def _clock(moment: datetime, language: str) -> str:
    return f"{moment:%H h %M}" if language == "fr" else f"{moment:%H:%M}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH)
