"""The words of the house: frozen values that travel between rooms. No behaviour, no I/O."""
