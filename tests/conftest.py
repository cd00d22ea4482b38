"""What every test shares."""

from hypothesis import settings

# How long an example takes says how busy the machine is; speed is measured in loadtest/.
settings.register_profile("ecluse", deadline=None)
settings.load_profile("ecluse")
