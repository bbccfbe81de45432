"""From a plan to a script for the scheduler."""
