"""CrossOver with explicit sets: what is in a room, how it is laid out, how it looks, beside one global vector."""
