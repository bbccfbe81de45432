"""A run's state, written and read."""
