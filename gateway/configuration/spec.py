"""What every mapping of the configuration is made of."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Spec(BaseModel):
    """A mapping of the configuration: unknown keys are faults, values keep their YAML type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def whole_as(key: str) -> BeforeValidator:
    """Return the sugar that reads a bare value as ``{key: value}``."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


ONE_OR_MORE = BeforeValidator(_as_list)
"""The sugar that reads a bare value as a list of one."""
