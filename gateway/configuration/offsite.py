"""From the words about places away from the machine to settings; the files they name are looked at."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gateway.configuration import files
from gateway.configuration.faults import Location, Problem
from gateway.configuration.schema_offsite import PublishSpec, WitnessSpec
from gateway.configuration.settings import PublishSettings, WitnessSettings
from gateway.configuration.words import is_here

_PLACES = ("directory", "url", "bucket")
_BELONGS = {
    "ca_file": "url",
    "token_file": "url",
    "prefix": "bucket",
    "endpoint": "bucket",
    "region": "bucket",
    "access_key_id": "bucket",
    "secret_file": "bucket",
}


def check_offsite(publish: Sequence[PublishSpec], witnesses: Sequence[WitnessSpec]) -> Iterator[Problem]:
    """Yield the faults of what is said about places away from the machine. Pure."""
    for index, spec in enumerate(publish):
        at: Location = ("audit", "publish", index)
        places = [name for name in _PLACES if getattr(spec, name) is not None]
        if len(places) != 1:
            found = f"{' and '.join(places)} in one entry" if places else "no place is named"
            yield Problem(at, found, f"write exactly one of {', '.join(_PLACES)}")
            continue
        for name in sorted(spec.model_fields_set & _BELONGS.keys()):
            if _BELONGS[name] != places[0]:
                yield Problem((*at, name), f"{name} says nothing about a {places[0]}", "take it out")
        if spec.token_file is not None and spec.url is not None and not _is_safe(spec.url):
            yield Problem((*at, "url"), "the token would travel in clear", "write https://")
        if (spec.access_key_id is None) != (spec.secret_file is None):
            yield Problem(at, "access_key_id and secret_file belong together", "write both, or neither")
    keys = [witness.key for witness in witnesses]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield Problem(("audit", "witnesses", index, "key"), "this witness is named twice", "take one out")


def settle_offsite(
    publish: Sequence[PublishSpec], witnesses: Sequence[WitnessSpec], folder: Path, found: list[Problem]
) -> tuple[tuple[PublishSettings, ...], tuple[WitnessSettings, ...]]:
    """Return the settings of *publish* and *witnesses*; paths are from *folder*, faults of files go to *found*."""
    places, neighbours = [], []
    for index, spec in enumerate(publish):
        at: Location = ("audit", "publish", index)
        places.append(
            PublishSettings(
                directory=folder / spec.directory if spec.directory is not None else None,
                url=spec.url,
                ca_file=files.authorities(folder, spec.ca_file, (*at, "ca_file"), found),
                token=files.secret(folder, spec.token_file, (*at, "token_file"), found),
                bucket=spec.bucket,
                prefix=spec.prefix,
                endpoint=spec.endpoint,
                region=spec.region,
                access_key_id=spec.access_key_id,
                secret=files.secret(folder, spec.secret_file, (*at, "secret_file"), found),
            )
        )
    for index, witness in enumerate(witnesses):
        ca_file = files.authorities(folder, witness.ca_file, ("audit", "witnesses", index, "ca_file"), found)
        neighbours.append(WitnessSettings(witness.url, witness.key, ca_file))
    return tuple(places), tuple(neighbours)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or is_here(parts.hostname or "")
