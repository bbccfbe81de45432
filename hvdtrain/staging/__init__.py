"""Training data on the nodes themselves: copied once to each, checked, reused, removed."""
