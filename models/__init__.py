"""Sources of the models that promptmill ships."""
