"""Artifacts: whole files that agents have made, of any size, with their versions and where they
come from. What is said of them is in the database, their contents are files beside it."""
