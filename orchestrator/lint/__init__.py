"""What is allowed in a manifest, and probably not meant: warnings before anything is spent."""
