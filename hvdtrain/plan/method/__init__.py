"""What a training is: model, data, recipe, schedule."""
