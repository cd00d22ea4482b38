"""The store: its client, its identity, its functions, and an embedded server for single nodes."""
