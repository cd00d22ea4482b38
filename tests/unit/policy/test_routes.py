"""Which door a request stands at, where several conditions share one path."""

import pytest
from msgspec.structs import replace

from gateway.configuration import load
from gateway.policy import routes
from gateway.policy.policy import App
from gateway.vocabulary.messages import RequestFacts
from gateway.vocabulary.records import RouteKind
from tests.stand import write_config

FACTS = RequestFacts(
    request_id="0" * 32,
    received_ms=0,
    scheme="https",
    method="GET",
    host="parcours.example",
    port=443,
    path="/",
    query="",
    headers=(),
    client_address="192.0.2.1",
    client_port=1,
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    def doors(config: dict[str, object]) -> None:
        patients = {"path": "id", "system": "x"}
        config["apps"]["parcours"]["otherwise"] = "page"  # type: ignore[index]
        config["apps"]["parcours"]["routes"] = [  # type: ignore[index]
            {"name": "files", "kind": "public", "path": "/files/*", "methods": ["GET"]},
            {"name": "do", "kind": "blocked", "path": "/*", "when": {"query": {"do": {"present": True}}}},
            {"name": "home", "kind": "listing", "path": "/", "methods": ["GET"], "patients": {"html": "a"}},
            {"name": "login", "kind": "login", "path": "/login"},
            {
                "name": "record",
                "kind": "record",
                "path": "/items/{id}",
                "when": {"query": {"view": "item"}},
                "patients": patients,
            },
        ]

    folder = tmp_path_factory.mktemp("routes")
    return load(write_config(folder, 1, doors)).policy.apps["parcours"]


@pytest.mark.parametrize(
    ("method", "path", "query", "kind", "alias"),
    [
        # The same path with a final slash is that path, also where its method or condition was not met.
        ("POST", "/", "", RouteKind.PAGE, False),
        ("GET", "/", "", RouteKind.LISTING, False),
        ("GET", "/items/5", "view=other", RouteKind.PAGE, False),
        ("GET", "/items/5/", "view=other", RouteKind.PAGE, False),
        ("GET", "/items/5/", "view=item", RouteKind.RECORD, False),
        # A suffix that some servers drop is another spelling, but only of what the same parameters would open.
        ("GET", "/items/5/x.", "view=item", RouteKind.PAGE, False),
        ("GET", "/files/style.css", "", RouteKind.PUBLIC, False),
        ("GET", "/other/style.css", "", RouteKind.PAGE, False),
        ("GET", "/other/style.css", "do=1", RouteKind.BLOCKED, False),
    ],
)
def test_door(app: App, method: str, path: str, query: str, kind: RouteKind, alias: bool) -> None:
    found = routes.match(app, replace(FACTS, method=method, path=path, query=query))
    assert (found.kind, found.alias) == (kind, alias)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> App:
    def doors(config: dict[str, object]) -> None:
        config["apps"]["parcours"]["otherwise"] = "page"  # type: ignore[index]
        config["apps"]["parcours"]["methods"] = ["GET", "POST"]  # type: ignore[index]
        config["apps"]["parcours"]["routes"] = [  # type: ignore[index]
            {"name": "login", "kind": "login", "path": "/login"},
            {
                "name": "record",
                "kind": "record",
                "path": "/items/{id:int}",
                "methods": ["GET"],
                "when": {"query": {"view": "item"}},
                "patients": {"path": "id", "system": "x"},
            },
        ]

    folder = tmp_path_factory.mktemp("plain")
    return load(write_config(folder, 1, doors)).policy.apps["parcours"]


@pytest.mark.parametrize(
    ("method", "path", "query", "alias"),
    [
        ("GET", "/items/5.json", "view=item", True),
        ("GET", "/items/5;x", "view=item", True),
        ("GET", "/items/5.json/", "view=item", True),
        # What the plain path would not open either is no way around it.
        ("GET", "/items/5.json", "view=other", False),
        # Whatever its method: an app may take one for another.
        ("POST", "/items/5.json", "view=item", True),
        ("GET", "/items/5x", "view=item", False),
    ],
)
def test_alias(plain: App, method: str, path: str, query: str, alias: bool) -> None:
    found = routes.match(plain, replace(FACTS, method=method, path=path, query=query))
    assert found.alias is alias
