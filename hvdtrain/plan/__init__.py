"""All that is decided on paper, before a node is asked for. Pure: no clock, no environment."""
