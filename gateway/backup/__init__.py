"""Backups: what a site cannot make again, in one file that only its recipients can read."""
