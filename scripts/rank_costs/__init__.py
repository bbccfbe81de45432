"""What grows with the ranks, measured without TensorFlow."""
