"""Plan, launch, train and report large-minibatch ResNet-50 on CPU clusters."""

__version__ = "0.1.0"
