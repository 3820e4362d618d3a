"""Events: what agents tell one another has happened. Published, looked at, taken and worked on.

`rows.py` says what an event is, `publishing.py` and `taking.py` change many a second, `steering.py`
is what somebody does to one by hand, `upkeep.py` what is due by the clock, `looks.py` what is
looked for; `service.py` is what the rest of the engine sees, `handle.py` what programs hold.
"""
