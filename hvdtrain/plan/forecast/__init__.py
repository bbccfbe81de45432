"""How long a step, an epoch and a run take."""
