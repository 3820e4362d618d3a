"""Databases: driver, group commit, migrations. Imported by the engine only."""
