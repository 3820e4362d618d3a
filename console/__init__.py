"""The console: screens, keys, commands and forms over an engine that runs on its own thread."""
