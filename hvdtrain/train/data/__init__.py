"""What the ranks read: where it is, in which order, and how it becomes a batch."""
