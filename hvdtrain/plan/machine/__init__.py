"""Systems, their nodes, and which core does what."""
