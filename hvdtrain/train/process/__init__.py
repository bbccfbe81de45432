"""A rank as a process among others."""
