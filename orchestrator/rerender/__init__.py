"""An image again from its own metadata: the same recipe, in a batch of the same size and at the same place in it."""
