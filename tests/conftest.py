"""What every test shares."""

from hypothesis import settings

from tests.thorough import EXAMPLES

# How long an example takes says how busy the machine is; speed is measured in loadtest/.
settings.register_profile("ecluse", deadline=None, max_examples=EXAMPLES)
settings.load_profile("ecluse")
