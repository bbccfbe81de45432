"""Collapsed models, and their average."""
