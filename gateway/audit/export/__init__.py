"""Audit events in the forms that other people's systems read: one pure renderer a file."""
