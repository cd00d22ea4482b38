"""The checked schema in, one Policy out. Pure: no file is touched."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath

from gateway.configuration.caps import compile_caps
from gateway.configuration.classes import compile_classes
from gateway.configuration.compile_app import compile_app
from gateway.configuration.measures import compile_measures
from gateway.configuration.pools import compile_pools
from gateway.configuration.schema import MainFile
from gateway.configuration.schema_app import AppSpec
from gateway.configuration.schema_realm import RealmSpec
from gateway.configuration.words import network
from gateway.policy.plain import identify
from gateway.policy.policy import Body, FailureBudget, Policy, Realm, SessionRules
from gateway.vocabulary.identity import NameMapping


def compile_policy(
    main: MainFile,
    realms: Mapping[str, RealmSpec],
    apps: Mapping[str, AppSpec],
    folders: Mapping[str, PurePath],
) -> Policy:
    """Return the policy of a configuration that has passed every check.

    *folders* gives, by app name, the absolute folder of the file the app was written in, and under
    ``""`` that of the main file: relative file names resolve against them.
    """
    compiled = {name: compile_app(name, spec, folders[name]) for name, spec in apps.items()}
    policy = Policy(
        policy_id="",
        apps=compiled,
        by_host={host: app for app in compiled.values() for host in app.hosts},
        realms={name: _realm(name, spec) for name, spec in realms.items()},
        trusted_proxies=tuple(network(text) for text in main.gateway.trusted_proxies),
        prefix=main.gateway.prefix,
        issuer=main.gateway.issuer,
        body=Body(
            main.body.name, main.body.contact, str(folders[""] / main.body.logo) if main.body.logo else None
        ),
        max_request_bytes=main.gateway.max_request_bytes,
        max_header_bytes=main.gateway.max_header_bytes,
        max_url_bytes=main.gateway.max_url_bytes,
        store_timeout_ms=main.store.timeout_ms,
        drain_s=main.gateway.drain_s,
        measures=compile_measures(main.posture, main.plan_blanc),
        pools=compile_pools(main.pools),
    )
    return replace(policy, policy_id=identify(policy))


def _realm(name: str, spec: RealmSpec) -> Realm:
    names = spec.names
    return Realm(
        name=name,
        mapping=NameMapping(
            strip_domains=tuple(names.strip_domains),
            email_domains=tuple(names.email_domains),
            strip_prefixes=tuple(names.strip_prefixes),
            drop=names.drop,
            replace=tuple(names.replace.items()),
            scripts=tuple(names.scripts),
            max_length=names.max_length,
        ),
        classes=compile_classes(spec.classes),
        default_class=spec.default_class,
        sessions=SessionRules(**spec.sessions.model_dump()),
        budget=FailureBudget(**spec.failures.model_dump()),
        invitation_s=spec.invitation_s,
        dormant_s=spec.dormant_s,
        grace_until_ms=round(spec.grace.until.timestamp() * 1_000) if spec.grace else None,
        grace_class=spec.grace.class_ if spec.grace else None,
        quarantine_s=spec.quarantine_s,
        caps=compile_caps(spec.caps),
        timezone=spec.timezone,
    )
