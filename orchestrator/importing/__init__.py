"""From images back to a manifest: our own recipes exactly, other tools' as far as they can be said in a row."""
