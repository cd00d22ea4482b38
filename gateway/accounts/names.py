"""The one canonical form of an account name. Pure."""

import hashlib
import hmac
import unicodedata
from enum import StrEnum
from functools import lru_cache

from gateway.vocabulary.identity import AccountRef, NameMapping
from gateway.vocabulary.keys import KeyRing

_MAX_TYPED = 1_024
_ROUNDS = 16
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Marks and fillers that show nothing (Unicode, Default_Ignorable_Code_Point) and are not format characters.
_INVISIBLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)


class NameFault(StrEnum):
    """Why a typed login names nobody."""

    EMPTY = "empty"
    TOO_LONG = "too-long"
    BAD_CHARACTER = "bad-character"
    """A control, format, bidirectional, invisible or unassigned character."""
    FOREIGN_SCRIPT = "foreign-script"
    MIXED_SCRIPTS = "mixed-scripts"
    SEVERAL_AT = "several-at"
    UNSETTLED = "unsettled"
    """The realm's mapping never comes to rest on this name: one of its replacements feeds itself."""


class NameRefused(ValueError):
    """The typed login has no canonical form. The message never holds the login; *fault* says why."""

    def __init__(self, fault: NameFault) -> None:
        super().__init__(f"account name refused: {fault.value}")
        self.fault = fault


def canonical(typed: str, mapping: NameMapping) -> str:
    """Return the one form of *typed*: NFKC, case folded, trimmed, inner blanks collapsed, then *mapping*.

    Applying it to its own result changes nothing. Two spellings that an application may take for one
    person give one name; a spelling that could look like somebody else's is refused (UTS 39, 5.1: one
    script, of those the realm allows, beside characters common to all).

    Raises:
        NameRefused: with the fault.
    """
    if len(typed) > _MAX_TYPED:
        raise NameRefused(NameFault.TOO_LONG)
    _check_characters(typed)
    name = typed
    for _ in range(_ROUNDS):
        before = name
        name = _map(_fold(name), mapping)
        if len(name) > _MAX_TYPED:
            raise NameRefused(NameFault.TOO_LONG)
        if name == before:
            break
    else:
        raise NameRefused(NameFault.UNSETTLED)
    if not name:
        raise NameRefused(NameFault.EMPTY)
    if len(name) > mapping.max_length:
        raise NameRefused(NameFault.TOO_LONG)
    if name.count("@") > 1:
        raise NameRefused(NameFault.SEVERAL_AT)
    if not name.isascii() or "LATIN" not in mapping.scripts:
        _check_characters(name)
        _check_scripts(name, mapping.scripts)
    return name


def account_ref(typed: str, realm: str, mapping: NameMapping, ring: KeyRing) -> AccountRef:
    """Return whom *typed* names in *realm*; the id is the first 16 bytes of a keyed hash, 32 hex digits.

    Raises:
        NameRefused: when *typed* has no canonical form.
    """
    name = canonical(typed, mapping)
    message = f"{realm}\x1f{name}".encode()
    return AccountRef(realm, name, hmac.digest(ring.key(), message, hashlib.sha256)[:16].hex())


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # Case folding leaves the dotless i alone, though its capital is that of i: applications that compare
    # capitals take the two for one.
    return " ".join(folded.replace("\u0131", "i").split())


def _map(name: str, mapping: NameMapping) -> str:
    strip_domains, email_domains, strip_prefixes, drop, replace = _prepared(mapping)
    domain, backslash, rest = name.partition("\\")
    if backslash and domain in strip_domains:
        name = rest
    local, at, domain = name.rpartition("@")
    if at and domain.rstrip(".") in email_domains:
        name = local
    for prefix in strip_prefixes:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    if drop:
        name = name.translate(drop)
    for old, new in replace:
        name = name.replace(old, new)
    return " ".join(name.split())


@lru_cache(maxsize=64)
def _prepared(
    mapping: NameMapping,
) -> tuple[frozenset[str], frozenset[str], tuple[str, ...], dict[int, None], tuple[tuple[str, str], ...]]:
    return (
        frozenset(_fold(domain) for domain in mapping.strip_domains),
        frozenset(_fold(domain) for domain in mapping.email_domains),
        tuple(prefix.casefold() for prefix in mapping.strip_prefixes if prefix),
        {ord(character): None for character in mapping.drop.casefold()},
        tuple((old.casefold(), new.casefold()) for old, new in mapping.replace if old),
    )


def _check_characters(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if character.isascii() and character.isprintable():
            continue
        code = ord(character)
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise NameRefused(NameFault.BAD_CHARACTER)
        if any(first <= code <= last for first, last in _INVISIBLE):
            raise NameRefused(NameFault.BAD_CHARACTER)


def _check_scripts(name: str, allowed: tuple[str, ...]) -> None:
    found = {script for character in name if (script := _script(character)) is not None}
    if not found.issubset({script.upper() for script in allowed}):
        raise NameRefused(NameFault.FOREIGN_SCRIPT)
    if len(found) > 1:
        raise NameRefused(NameFault.MIXED_SCRIPTS)


def _script(character: str) -> str | None:
    # The first word of a letter's Unicode name is its script; marks that combine with any script,
    # ASCII digits and punctuation have none. Symbols and foreign digits count as scripts of their own.
    category = unicodedata.category(character)
    if category[0] in "PZ" or (character.isascii() and category[0] != "L"):
        return None
    word = unicodedata.name(character, "NAMELESS").partition(" ")[0]
    return None if category == "Mn" and word == "COMBINING" else word
