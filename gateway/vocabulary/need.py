"""Why somebody needs more than usual: the closed list that a form offers and the audit log keeps."""

from enum import StrEnum


class Need(StrEnum):
    """A coded reason. OTHER wants words beside it."""

    CARE = "care"
    ADMISSION = "admission"
    REGULATION = "regulation"
    REPLACEMENT = "replacement"
    OTHER = "other"


STEP_UP_NEEDS = (Need.CARE, Need.ADMISSION, Need.REGULATION, Need.REPLACEMENT, Need.OTHER)
"""What may be given with a fresh code."""
