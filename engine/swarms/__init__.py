"""Swarms of agent processes: who there is, what runs, and what happens when it ends.

service      swarms from creation to their end: the one other parts talk to
registry     agents, teams and swarms of an environment, in memory and in its file
roster       their rows
presence     connections and heartbeats
crew         the agents that have processes: started, restarted, ended
supervisor   the processes themselves
vitals       what is shown of swarms and agents
output       what agents write
"""
