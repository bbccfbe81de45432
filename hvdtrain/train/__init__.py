"""The part that runs on the ranks. Nothing outside it knows TensorFlow or Horovod."""
