"""Recipes against each other on a small data set."""
