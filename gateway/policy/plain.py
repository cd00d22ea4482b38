"""A policy as plain values, and back: what identifies it, and what another process can read without the files."""

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from gateway.policy.paths import PathTemplate, compile_template
from gateway.policy.policy import Network, Policy

_ID_DIGITS = 16


class NotPlain(ValueError):
    """These values are no policy of this version. The message names the first place."""


def identify(policy: Policy) -> str:
    """Return the first 16 hex digits of the SHA-256 of everything in *policy* but its own id."""
    return digest(replace(policy, policy_id=""))


def digest(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of everything in *value*."""
    canonical = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ID_DIGITS]


def plain(value: object) -> Any:
    """Return *value* in what JSON knows: sets are sorted, enumerations are their values, templates their text."""
    if isinstance(value, PathTemplate):
        return value.text
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def restore(kind: Any, value: object, where: str = "") -> Any:
    """Return the *kind* (a dataclass, or the type of a field) that ``plain`` made *value* of.

    Raises:
        NotPlain: it was not made of one.
    """
    try:
        return _restored(kind, value, where)
    except NotPlain:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotPlain(f"{where or 'the top'}: {error}") from error


def _restored(kind: Any, value: Any, where: str) -> Any:
    if kind is Network:
        return ip_network(value)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (known,) = (one for one in arguments if one is not types.NoneType)
        return None if value is None else restore(known, value, where)
    if origin is dict:
        of, to = arguments
        return {restore(of, key, where): restore(to, item, f"{where}.{key}") for key, item in value.items()}
    if origin is frozenset:
        return frozenset(restore(arguments[0], item, where) for item in value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(restore(arguments[0], item, f"{where}[{at}]") for at, item in enumerate(value))
        return tuple(restore(one, item, where) for one, item in zip(arguments, value, strict=True))
    if kind is PathTemplate:
        return compile_template(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if is_dataclass(kind):
        return _built(kind, value, where)
    if kind is Any or type(value) is not kind:
        raise NotPlain(f"{where}: not {kind}")
    return value


def _built(kind: Any, value: Mapping[str, object], where: str) -> Any:
    hints = types_of(kind)
    if set(value) != set(hints):
        odd = sorted(set(value) ^ set(hints))
        raise NotPlain(f"{where or 'the top'}: {', '.join(odd)}")
    return kind(**{name: restore(hints[name], item, f"{where}.{name}") for name, item in value.items()})


@lru_cache(maxsize=64)
def types_of(kind: type) -> dict[str, Any]:
    """Return the type of each field of the dataclass *kind*."""
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}
