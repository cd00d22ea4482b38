"""Configuration: YAML files in, one Policy and one Settings out, or every fault at once."""

from gateway.configuration.keys import (
    KeysRefused,
    fingerprint,
    init_keys,
    load_keys,
    public_key,
    rotate_key,
)
from gateway.configuration.load import ConfigurationFaults, Fault, load
from gateway.configuration.settings import Collector, EdgeSettings, FrontSettings, Loaded, Settings

__all__ = [
    "Collector",
    "ConfigurationFaults",
    "EdgeSettings",
    "Fault",
    "FrontSettings",
    "KeysRefused",
    "Loaded",
    "Settings",
    "fingerprint",
    "init_keys",
    "load",
    "load_keys",
    "public_key",
    "rotate_key",
]
