"""How much is tried: what a change needs to be accepted within ten minutes, or with ECLUSE_THOROUGH=1 all there is."""

import os

THOROUGH = os.environ.get("ECLUSE_THOROUGH") == "1"
"""``make thorough``: every step of every walk, and ten times the examples."""

EXAMPLES = 400 if THOROUGH else 40
