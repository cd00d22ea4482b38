"""Faults: what is wrong, where it stands, and how to mend it; as many at once as can be found."""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong. *line* and *column* count from 1; *where* is ``apps.demo.routes[3].path``."""

    file: Path
    line: int
    column: int | None
    where: str
    what: str
    mend: str

    def __str__(self) -> str:
        """Return the fault as editors and people read it."""
        stop = "" if self.mend.endswith("?") else "."
        place = f"{self.file}:{self.line}" + (f":{self.column}" if self.column is not None else "")
        where = f"{self.where}: " if self.where else ""
        return f"{place}: {where}{self.what}. {self.mend[:1].upper()}{self.mend[1:]}{stop}"


class ConfigurationFaults(Exception):
    """The configuration cannot be used. *faults* holds every one that was found, by file and line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(
            sorted(set(faults), key=lambda f: (str(f.file), f.line, f.column or 0, f.where, f.what))
        )
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault before its line is known; *at* is a place in the configuration."""

    at: Location
    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class Positions:
    """Where each value of one file stands: (line, column) by place; *base* is where the file's top is."""

    file: Path
    base: Location
    marks: Mapping[Location, tuple[int, int]]

    def fault(self, found: Problem) -> Fault:
        """Return *found* with its file and line: of the value itself, or of the nearest one around it."""
        known: Location = ()
        for step in found.at[len(self.base) :]:
            # A step that is not written down comes from a shorthand: what it stands for may be below.
            if (*known, step) in self.marks:
                known = (*known, step)
        line, column = self.marks.get(known, (1, 1))
        return Fault(self.file, line, column, spell((*self.base, *known)), found.what, found.mend)


def spell(place: Location) -> str:
    """Return *place* as people write it: ``apps.demo.routes[3].path``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


_PLAIN: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("'{key}' is missing", "write it"),
    "string_type": (
        "this is no text",
        "write a text; quote it with '…' when it looks like a number or a yes",
    ),
    "int_type": ("this is no whole number", "write digits without quotes, in the unit the key names"),
    "float_type": ("this is no number", "write a number such as 0.2"),
    "bool_type": ("this is neither true nor false", "write true or false"),
    "list_type": ("this is no list", "write a list: one item a line after '- ', or [a, b]"),
    "dict_type": ("this is no mapping", "write 'key: value' lines below it"),
    "model_type": ("this is no mapping", "write 'key: value' lines below it"),
    "model_attributes_type": ("this is no mapping", "write 'key: value' lines below it"),
    "string_pattern_mismatch": ("this is not written as it must be", "it has to fit {pattern}"),
    "string_too_short": ("this is empty", "write something, or leave the key out"),
    "string_too_long": ("this is too long", "at most {max_length} characters"),
    "too_short": ("this is empty", "write at least {min_length}"),
    "greater_than": ("this number is too small", "it must be more than {gt}"),
    "greater_than_equal": ("this number is too small", "it must be at least {ge}"),
    "less_than": ("this number is too large", "it must be less than {lt}"),
    "less_than_equal": ("this number is too large", "it must be at most {le}"),
    "enum": ("this is none of the words that may stand here", "write {expected}"),
    "literal_error": ("this is none of the words that may stand here", "write {expected}"),
    "timezone_aware": ("this time has no zone", "add one, such as 2027-01-31T00:00:00+01:00"),
}


def translate(error: ErrorDetails, model: type[BaseModel], base: Location) -> Problem:
    """Return pydantic's *error* against *model* in words, without the value: it may be secret."""
    place = tuple(step for step in error["loc"] if step != "[key]")
    context: Mapping[str, Any] = error.get("ctx") or {}
    key = str(place[-1]) if place else ""
    if error["type"] == "extra_forbidden":
        return _unknown_key(key, place, model, base)
    if error["type"] == "ecluse":
        return Problem((*base, *place), context["what"], context["mend"])
    if error["type"] == "missing":
        return Problem((*base, *place[:-1]), f"'{key}' is missing", f"write {key} here")
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1:] == ("[key]",):
        return Problem((*base, *place), f"'{key}' is no name", "write small letters, digits and hyphens")
    what, mend = _PLAIN.get(error["type"], (error["msg"], "see docs/configuration.md"))
    return Problem((*base, *place), what, mend.format_map(context))


def _unknown_key(key: str, place: Location, model: type[BaseModel], base: Location) -> Problem:
    keys = keys_at(model, place[:-1])
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    mend = f"did you mean '{close[0]}'?" if close else "take it out"
    if not close and keys:
        mend = f"take it out, or write one of {', '.join(keys)}"
    return Problem((*base, *place), f"unknown key '{key}'", mend)


def keys_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that may stand at *place* of *model*, none when that cannot be told."""
    here: Any = model
    for step in place:
        inner = _model_in(here)
        if inner is not None:
            fields = {field.alias or name: field for name, field in inner.model_fields.items()}
            if step in fields:
                here = fields[str(step)].annotation
                continue
        elif typing.get_origin(_bare(here)) in {list, dict}:
            here = typing.get_args(_bare(here))[-1]
            continue
        return []
    found = _model_in(here)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _bare(annotation: Any) -> Any:
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {typing.Union, types.UnionType}:
            annotation = next(item for item in typing.get_args(annotation) if item is not type(None))
        else:
            return annotation


def _model_in(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None
