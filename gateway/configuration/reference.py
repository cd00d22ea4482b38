"""The reference of the configuration, written from the schema itself, so that no key goes untold."""

import json
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.configuration.schema import MainFile
from gateway.configuration.schema_app import AppSpec
from gateway.configuration.schema_realm import RealmSpec

_ROOTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("", MainFile),
    ("realms.NAME", RealmSpec),
    ("apps.NAME", AppSpec),
)


def reference() -> str:
    """Return Markdown: a heading for each kind of mapping, its places, and a row for each of its keys."""
    places: dict[type[BaseModel], list[str]] = {}
    for place, model in mappings():
        places.setdefault(model, []).append(place)
    lines: list[str] = []
    for model, (first, *others) in places.items():
        also = f" Also at {', '.join(f'`{place}`' for place in others)}." if others else ""
        lines += [
            f"### `{first}`" if first else "### The top of the main file",
            "",
            _sentence(model.__doc__) + also,
            "",
        ]
        lines += ["| key | what | default |", "| --- | --- | --- |"]
        lines += [f"| `{key}` | {_row(field)} | {_default(field)} |" for key, field in keys(model)]
        lines.append("")
    return "\n".join(lines)


def mappings() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every mapping of the language with its place, ``apps.NAME.routes[].patients``."""
    for place, model in _ROOTS:
        yield from _under(place, model)


def keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the keys of *model* as they are written, with their fields."""
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _under(place: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield place, model
    for key, field in keys(model):
        steps, inner = _inner(field.annotation)
        if inner is not None:
            yield from _under(f"{place}.{key}{steps}" if place else f"{key}{steps}", inner)


def _inner(annotation: Any) -> tuple[str, type[BaseModel] | None]:
    """Return what lies inside *annotation*, and the steps to it: ``[]`` for lists, ``.NAME`` for mappings."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _inner(inside[0])
    if origin in {typing.Union, types.UnionType}:
        return _inner(next(item for item in inside if item is not type(None)))
    if origin is list:
        steps, inner = _inner(inside[0])
        return f"[]{steps}", inner
    if origin is dict:
        steps, inner = _inner(inside[1])
        return f".NAME{steps}", inner
    return (
        ("", annotation) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ("", None)
    )


def _row(field: FieldInfo) -> str:
    return _sentence(field.description).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ([], {}, ""):
        return "–"
    if isinstance(value, StrEnum):
        return f"`{value.value}`"
    return f"`{json.dumps(value, default=str, ensure_ascii=False).strip(chr(34))}`"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
