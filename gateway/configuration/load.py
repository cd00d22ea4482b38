"""Reading a configuration: every fault at once, or one Policy and one Settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from gateway.configuration import checks, files
from gateway.configuration.alerts import settle_alerts
from gateway.configuration.caps import check_caps_apps
from gateway.configuration.compile import compile_policy
from gateway.configuration.edge import settle_edge
from gateway.configuration.faults import ConfigurationFaults, Fault, Location, Positions, Problem, translate
from gateway.configuration.offsite import settle_offsite
from gateway.configuration.schema import CollectorSpec, MainFile
from gateway.configuration.schema_app import AppSpec
from gateway.configuration.schema_realm import RealmSpec
from gateway.configuration.settings import Collector, Loaded, Settings
from gateway.configuration.signals import compile_signals
from gateway.configuration.store import settle_store
from gateway.configuration.words import collector_url
from gateway.configuration.yaml_tree import read_tree

__all__ = ["ConfigurationFaults", "Fault", "load"]

_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOST_FILES = 200


def load(path: Path) -> Loaded:
    """Read the main file at *path* and every file it includes.

    Raises:
        ConfigurationFaults: with every fault found, each with its file, line and mend.
    """
    return _Reading(Path(path)).run()


@dataclass(frozen=True, slots=True)
class _Source:
    """One app as written: its plain value, and where it stands."""

    value: Any
    positions: Positions


@dataclass(slots=True)
class _Reading:
    """One run of the loader, gathering faults on its way."""

    path: Path
    faults: list[Fault] = field(default_factory=list)

    def run(self) -> Loaded:
        folder = self.path.absolute().parent
        tree = read_tree(self.path)
        self.faults += tree.faults
        if tree.value is None:
            raise ConfigurationFaults(self.faults)
        written: dict[str, Any] = tree.value
        realm_values = written.get("realms") if isinstance(written.get("realms"), dict) else {}
        app_values = written.get("apps") if isinstance(written.get("apps"), dict) else {}
        main = self.validate(MainFile, written, (), tree.positions)
        if main is not None:
            self.note(checks.check_main(main), tree.positions)

        realms: dict[str, RealmSpec] = {}
        for name, value in (realm_values or {}).items():
            # A realm may be a name and nothing more: every key of it has a default.
            realm = self.validate(RealmSpec, {} if value is None else value, ("realms", name), tree.positions)
            if realm is not None:
                realms[name] = realm
                self.note(checks.check_realm(name, realm), tree.positions)

        sources = {name: _Source(value, tree.positions) for name, value in (app_values or {}).items()}
        includes = written.get("include")
        for index, text in enumerate(includes if isinstance(includes, list) else []):
            if isinstance(text, str):
                self.include(text, folder, ("include", index), tree.positions, sources)
        if not sources and not self.faults:
            self.note(
                [
                    Problem(
                        ("apps",), "there is no app", "write one under apps, or name its file under include"
                    )
                ],
                tree.positions,
            )
        apps = self.check_apps(sources, main, realms, frozenset(realm_values or {}))
        realm_of = {name: apps[name].realm if name in apps else None for name in sources}
        for name, realm in realms.items():
            self.note(check_caps_apps(name, realm, realm_of), tree.positions)
        if main is None:
            raise ConfigurationFaults(self.faults)
        settings = self.settle(main, folder, tree.positions)
        if self.faults:
            raise ConfigurationFaults(self.faults)
        folders = {"": folder} | {name: sources[name].positions.file.absolute().parent for name in apps}
        return Loaded(compile_policy(main, realms, apps, folders), settings)

    def note(self, problems: Any, positions: Positions) -> None:
        told = {(fault.file, fault.where) for fault in self.faults if fault.where}
        fresh = [positions.fault(problem) for problem in problems]
        # What could not be read at all needs no second complaint about its shape.
        self.faults += [fault for fault in fresh if (fault.file, fault.where) not in told]

    def validate[Model: BaseModel](
        self, model: type[Model], value: Any, base: Location, positions: Positions
    ) -> Model | None:
        """Return *value* as *model*; None when it is not, with its faults noted."""
        try:
            # Through JSON: strict, and yet words of enumerations and times are read from text.
            return model.model_validate_json(orjson.dumps(value))
        except ValidationError as error:
            self.note([translate(item, model, base) for item in error.errors()], positions)
        except orjson.JSONEncodeError:
            self.note([Problem(base, "a number here is too large", "write a smaller one")], positions)
        return None

    def include(
        self, text: str, folder: Path, at: Location, positions: Positions, sources: dict[str, _Source]
    ) -> None:
        """Add the apps of the files that *text* names to *sources*."""
        found = files.matching(folder, text)
        if not found or len(found) > _MOST_FILES:
            what = "no file fits this name" if not found else "too many files fit this name"
            self.note([Problem(at, what, f"check it: it is looked for from {folder}")], positions)
            return
        for file in found:
            name = file.name.rpartition(".")[0]
            if not _APP_NAME.fullmatch(name):
                what = f"the file name {file.name!r} gives no app name"
                self.note(
                    [Problem(at, what, "name it with small letters, digits and hyphens, such as demo.yaml")],
                    positions,
                )
            elif name in sources:
                what = f"app {name} is written twice, here and in {sources[name].positions.file}"
                self.note([Problem(at, what, "keep one of the two")], positions)
            else:
                app_tree = read_tree(file, ("apps", name))
                self.faults += app_tree.faults
                sources[name] = _Source(app_tree.value, app_tree.positions)

    def check_apps(
        self,
        sources: Mapping[str, _Source],
        main: MainFile | None,
        realms: Mapping[str, RealmSpec],
        realm_names: frozenset[str],
    ) -> dict[str, AppSpec]:
        """Return the apps whose shape holds, with the faults of all noted."""
        apps: dict[str, AppSpec] = {}
        for name, source in sources.items():
            app = None
            if source.value is not None or source.positions.base == ():
                app = self.validate(AppSpec, source.value, ("apps", name), source.positions)
            if app is None:
                continue
            apps[name] = app
            classes = checks.BUILT_IN_CLASSES
            if app.realm in realms:
                classes |= realms[app.realm].classes.keys()
            elif app.realm in realm_names:
                classes |= {service.class_ for service in app.services}
            gateway = main.gateway if main is not None else MainFile(version=1, realms={"any": None}).gateway
            self.note(checks.check_app(name, app, gateway, realm_names, classes), source.positions)
            found: list[Problem] = []
            beside, at = source.positions.file.parent, ("apps", name, "upstream", "ca_file")
            files.authorities(beside, app.upstream.ca_file, at, found)
            self.note(found, source.positions)
        for problem in checks.check_hosts(apps):
            self.faults.append(sources[str(problem.at[1])].positions.fault(problem))
        return apps

    def settle(self, main: MainFile, folder: Path, positions: Positions) -> Settings:
        """Return the settings; the files they name are looked at."""
        gateway = main.gateway
        state_dir = folder / gateway.state_dir
        tls = gateway.listen.tls
        certificate = folder / tls.certificate if tls else None
        key = folder / tls.key if tls else None
        found: list[Problem] = []
        if certificate is not None and key is not None:
            broken = files.check_certificate(certificate, key)
            if broken is not None:
                found.append(Problem(("gateway", "listen", "tls", broken[0]), *broken[1:]))
        if main.body.logo is not None and (sentence := files.check_logo(folder / main.body.logo)):
            found.append(Problem(("body", "logo"), *sentence))
        store_url, replicas = settle_store(main.store, folder, found)
        publish, witnesses = settle_offsite(main.audit.publish, main.audit.witnesses, folder, found)
        collector = None
        if main.audit.collector is not None:
            collector = _collector(main.audit.collector, folder, found)
        engine = main.audit.engine
        if engine != "duckdb":
            at = ("audit", "engine_password_file")
            password = files.secret(folder, main.audit.engine_password_file, at, found)
            engine = files.with_password(engine, password) if password is not None else engine
        alerts = settle_alerts(main.alerts, folder, found)
        edge = settle_edge(gateway.edge, folder, found)
        self.note(found, positions)
        return Settings(
            config_path=self.path.absolute(),
            listen_address=gateway.listen.address,
            listen_port=gateway.listen.port,
            state_dir=state_dir,
            keys_dir=folder / gateway.keys_dir,
            audit_dir=folder / main.audit.dir if main.audit.dir else state_dir / "audit",
            store_url=store_url,
            store_replicas=replicas,
            store_timeout_ms=main.store.timeout_ms,
            segment_bytes=main.audit.segment_bytes,
            audit_node=main.audit.node,
            audit_also=tuple(folder / name for name in main.audit.also),
            audit_engine=engine,
            keeper=main.audit.keeper == "on",
            watcher=main.signals.watcher == "on",
            rules=compile_signals(main.signals),
            alerts=alerts,
            retention_days=main.audit.retention_days,
            retention_reason=main.audit.retention_reason,
            publish=publish,
            publish_every_s=main.audit.publish_every_s,
            witnesses=witnesses,
            enterprise_id=main.audit.enterprise_id,
            collector=collector,
            escrow_recipients=tuple(main.audit.escrow.recipients) if main.audit.escrow else (),
            tls_certificate=certificate,
            tls_key=key,
            edge=edge,
            metrics_address=gateway.metrics.address if gateway.metrics else "127.0.0.1",
            metrics_port=gateway.metrics.port if gateway.metrics else None,
            workers=gateway.workers,
            worker_memory_bytes=gateway.worker_memory_bytes,
        )


def _collector(spec: CollectorSpec, folder: Path, found: list[Problem]) -> Collector:
    at = ("audit", "collector")
    certificate = folder / spec.certificate if spec.certificate else None
    key = folder / spec.key if spec.key else None
    if certificate is not None and key is not None:
        broken = files.check_certificate(certificate, key)
        if broken is not None:
            found.append(Problem((*at, broken[0]), *broken[1:]))
    scheme, host, port = collector_url(spec.url)
    return Collector(
        scheme=scheme,
        host=host,
        port=port,
        form=spec.format,
        ca_file=files.authorities(folder, spec.ca_file, (*at, "ca_file"), found),
        certificate=certificate,
        key=key,
    )
