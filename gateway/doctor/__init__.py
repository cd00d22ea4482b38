"""What an operator wants to know of an installation: facts gathered without changing anything, and pure judgements.

One file a group: `gather` asks, `judge` decides. No finding holds a secret, a login or a patient.
"""
