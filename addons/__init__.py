"""The mitmproxy door: the only code that imports mitmproxy.

``mitmdump -s addons/__init__.py`` runs the guard as a plugin, for a trial: see addons.plugin.
"""
