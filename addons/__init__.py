"""The mitmproxy door: the only code that imports mitmproxy.

``mitmdump -s addons/__init__.py`` runs the same guard as a plugin, for a trial: see addons.plugin. Production
runs ``ecluse serve``.
"""


def __getattr__(name: str) -> object:
    # mitmproxy looks for ``addons`` in a script; everybody else is spared the plugin's imports.
    if name == "addons":
        from addons.plugin import addons  # noqa: PLC0415 - only a script's loader comes here

        return addons
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
