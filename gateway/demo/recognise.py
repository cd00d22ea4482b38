"""Which patients an answer shows, found by what it says about them and not by what an address promised."""

import html
import re

from gateway.demo.patients import Patient

_TAG = re.compile(r"<[^<>]*>")
_WORD = re.compile(r"[^\W\d_]+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_PHONE = re.compile(r"(?<!\d)0\d(?:[ .]?\d\d){4}(?!\d)")
_EMAIL = re.compile(r"[\w.+-]+@[\w.-]+\w")
_NIR = re.compile(r"(?<!\d)[12]\d{4}(?:\d\d|2[AB])\d{8}(?!\d)")
_MARK = re.compile(r'data-dossier="(\d+)"|"id":\s*(\d+)')
_CSV = re.compile(r"(?im)^content-type:\s*text/csv")
_APART = (1, 2)
"""A first name stands beside a surname, or one word away: ``"nom":"X","prenom":"Y"``."""


class Recogniser:
    """Knows every patient of the demo by name, telephone, e-mail address, national number and id."""

    def __init__(self, patients: tuple[Patient, ...]) -> None:
        self._ids = {one.id for one in patients}
        self._names: dict[frozenset[str], set[int]] = {}
        for one in patients:
            self._names.setdefault(frozenset((one.surname.lower(), one.first_name.lower())), set()).add(
                one.id
            )
        self._phones = {one.phone.replace(" ", ""): one.id for one in patients}
        self._emails = {one.email: one.id for one in patients if one.email}
        self._nirs = {one.nir: one.id for one in patients if one.nir}

    def ids_in(self, content: bytes) -> frozenset[int]:
        """Return the ids of everybody whom *content* (headers and decoded body) shows in any way."""
        text = html.unescape(_ESCAPED.sub(lambda m: chr(int(m[1], 16)), content.decode("utf-8", "replace")))
        found = {int(one or other) for one, other in _MARK.findall(text)} & self._ids
        found |= {
            self._phones[digits]
            for phone in _PHONE.findall(text)
            if (digits := phone.replace(" ", "").replace(".", "")) in self._phones
        }
        found |= {self._emails[one] for one in _EMAIL.findall(text) if one in self._emails}
        found |= {self._nirs[one] for one in _NIR.findall(text) if one in self._nirs}
        # In a table of lines, the first name of one and the surname of the next are nobody.
        whole = text.splitlines() if _CSV.search(text) else [text, _TAG.sub(" ", text)]
        for told in whole:
            for homonyms in self._named_in([word.lower() for word in _WORD.findall(told)]):
                # Several people of one name: whoever else was shown by another trace is meant.
                found |= homonyms if found.isdisjoint(homonyms) else set()
        return frozenset(found)

    def _named_in(self, words: list[str]) -> list[set[int]]:
        # Either name may come first, and Thomas Martin is not Martin Thomas: they count as homonyms.
        pairs = (frozenset(pair) for apart in _APART for pair in zip(words, words[apart:], strict=False))
        # A person named twice the same is known by other traces: such a word stands beside itself in any row.
        return [self._names[pair] for pair in pairs if len(pair) > 1 and pair in self._names]
