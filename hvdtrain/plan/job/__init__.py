"""From what is asked for to what Slurm is asked for."""
