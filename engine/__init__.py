"""SwarmDeck engine."""
