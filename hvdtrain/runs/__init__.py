"""What stands in a run's folder."""
