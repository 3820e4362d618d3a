"""Swarms of agent processes: who there is, what runs, and what happens when it ends.

service      swarms from creation to their end: the one other parts talk to
looks        what is shown of them
grants       what they take from the host's plan
succession   what becomes of them when another engine opens
roll         agents, teams and swarms of an environment, in memory
registry     what changes them, in memory and in the file
roster       their rows
presence     connections and heartbeats
crew         the agents that have processes: started, restarted, ended
warming      those that have not said that they are ready
spawning     how fast processes are started
setup        what they are started with
supervisor   the processes themselves
keeper       between the crew and what is enforced (enforcement/)
vitals       what is shown of swarms and agents
output       what agents write
"""
