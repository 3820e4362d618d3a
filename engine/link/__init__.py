"""The local socket: the same actions, data-plane calls and events for other processes.

Between processes of one user this orders who acts as whom; it is no wall, because they can read
each other's memory and files.
"""
