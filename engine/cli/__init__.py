"""The command line without a console: `main.main` runs one command and ends.

Nothing here imports a terminal library; the engine is imported only by commands that need it.
"""
