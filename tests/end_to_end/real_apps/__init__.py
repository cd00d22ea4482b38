"""Applications from PyPI, unmodified: settings to run them, starters, and a hand that fills in their forms."""
