"""The shape of what is said about places away from the machine: targets of checkpoints, and witnesses."""

from typing import Annotated

from pydantic import Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import FilePath, HttpUrl, Text, VerifierKeyText


class PublishSpec(Spec):
    """One place where checkpoints are kept: exactly one of `directory`, `url` and `bucket`."""

    directory: FilePath | None = None
    """Directory of another machine, mounted here; it is never made, so that a missing mount is noticed."""
    url: HttpUrl | None = None
    """Server that takes PUT under this address."""
    ca_file: FilePath | None = None
    """PEM file of the authorities of `url`'s certificate; the system's when left out."""
    token_file: FilePath | None = None
    """File of mode 0600 that holds the bearer token for `url` and nothing else."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    """S3 bucket; needs the extra `ecluse[s3]`. Its object lock is what nobody can undo."""
    prefix: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9._/-]*$")] = ""
    """Prefix of the names in `bucket`."""
    endpoint: HttpUrl | None = None
    """Address of the S3 server when it is not Amazon's."""
    region: Text = "us-east-1"
    """Region of `bucket`."""
    access_key_id: Text | None = None
    """Key id for `bucket`; with `secret_file`. The environment's `AWS_` names when left out."""
    secret_file: FilePath | None = None
    """File of mode 0600 that holds the secret of `access_key_id` and nothing else."""


class WitnessSpec(Spec):
    """A neighbour that cosigns the checkpoints: `ecluse witness serve`, or any C2SP tlog-witness."""

    url: HttpUrl
    """Its submission prefix: `/add-checkpoint` is put after it."""
    key: VerifierKeyText
    """Its verifier key, as `ecluse witness init` printed it."""
    ca_file: FilePath | None = None
    """PEM file of the authorities of its certificate; the system's when left out."""
