"""Load on the gateway: every answer is checked, and a wrong one fails the run."""
