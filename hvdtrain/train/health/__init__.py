"""Threads on their cores, and ranks that are slow."""
