"""Attacks on the door, over real sockets."""

import warnings

with warnings.catch_warnings():
    # mitmproxy builds its filter language at import with names that pyparsing 3.3 deprecates.
    warnings.simplefilter("ignore")
    import mitmproxy.addons  # noqa: F401
