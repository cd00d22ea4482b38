"""The dossier of a breach: what a scope becomes for the authority, the persons and the register."""
