"""Probes of everything an engine rests on, and what is done about what they find."""
