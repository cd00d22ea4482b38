"""How fast the gateway is, side by side with its yardsticks in one run: ``make bench``."""
