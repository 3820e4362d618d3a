"""What the engine measures of itself, its host and its agents, over time.

Loaded by an engine that stays, or when somebody asks. `readings.py` says what is measured,
`collector.py` when, `table.py` where it is kept, `thinning.py` how it grows old, `series.py` what
is made of it, `service.py` is what the rest of the engine sees.
"""
