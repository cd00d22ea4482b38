"""``ecluse audit load``: the archive into ClickHouse, where audit.engine names one."""

import click
import msgspec

from gateway.audit.cluster import ClusterUnavailable, connect
from gateway.audit.manifest import ManifestDamaged, read_manifest
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail, json_option
from gateway.cli.audit_consult import patiently
from gateway.cli.loading import load_or_exit


@click.command(epilog="Example:  ecluse audit load --source https://s3.region.example/ecluse/archive")
@click.option(
    "--source",
    required=True,
    help="Where ClickHouse itself finds the folder `archive`: a path of its own, or an https:// or s3:// prefix.",
)
@config_option
@json_option
def load(source: str, config_path: str, as_json: bool) -> int:
    """Load what this node has archived since the last load into the ClickHouse of audit.engine.

    What an interrupted load left is dropped first; what was purged here is dropped there.
    """
    settings = load_or_exit(config_path).settings
    if settings.audit_engine == "duckdb":
        fail(
            "audit.engine is duckdb, which reads the archive where it stands: there is nothing to load",
            EXIT_FAULT,
        )
    try:
        manifest = read_manifest(settings.audit_dir)
        count = patiently(lambda: connect(settings.audit_engine).load(settings.audit_dir, manifest, source))
    except (ClusterUnavailable, ManifestDamaged, OSError) as error:
        fail(str(error), EXIT_FAULT)
    click.echo(msgspec.json.encode({"loaded": count}).decode() if as_json else f"{count} events loaded")
    return EXIT_DONE
