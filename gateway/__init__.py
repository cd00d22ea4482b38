"""Écluse: a lock gate in front of unmodified e-health applications."""

__version__ = "0.1.0"
