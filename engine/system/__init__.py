"""What programs of a memory system expect beside records: events by name, statistics."""
