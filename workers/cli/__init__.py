"""The command line of the GPU side."""
