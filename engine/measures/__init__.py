"""What users measure: series of numbers under names and labels, over time.

`buckets.py` is what one step of time keeps of many values, `rows.py` a series, `recording.py` takes
thousands of values a second, `asking.py` answers over a window, `upkeep.py` thins and deletes,
`service.py` is what the rest of the engine sees, `handle.py` what programs hold.
"""
