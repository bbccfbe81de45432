"""From what runs left behind to the paper's tables."""
