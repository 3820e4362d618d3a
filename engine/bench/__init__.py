"""Benchmarks: always in a process and a scratch directory of their own, never on live data."""
