"""From a rank's gradients to the mean over all ranks."""
