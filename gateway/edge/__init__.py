"""The second door: a check that nginx, Traefik, Caddy, Envoy or HAProxy ask about a request before they send it on.

``claims`` reads what the front proxy says, ``check`` decides with the engine, ``service`` answers over ASGI,
``server`` listens, ``doors`` says which requests may come here at all, and ``front`` writes that into the
proxies' configurations.
"""
