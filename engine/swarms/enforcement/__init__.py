"""Budgets that hold: what is done about processes that take more than their swarm was granted.

service    what is in force, and what other parts ask of it
shares     what each swarm is held to now
guard      reads what agents hold, and ends who breaks a share
limits     limits of single processes
cgroup     groups of the kernel, where they were given to the engine
pressure   who gives way when the host is short of memory
"""
