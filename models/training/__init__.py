"""Training of the built-in `shapes` models from pictures that a program draws."""
