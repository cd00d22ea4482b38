"""``python -m gateway.demo PORT [VARIANT]``: the demo app alone on loopback, without a gateway in front."""

import sys

from gateway.demo.app import make_app, serve
from gateway.demo.variants import VARIANTS


def main(arguments: list[str]) -> int:
    """Serve until killed; the first line printed says on which port."""
    port = int(arguments[0]) if arguments else 8080
    make = VARIANTS[arguments[1]] if len(arguments) > 1 else make_app
    serve(make(), "127.0.0.1", port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
