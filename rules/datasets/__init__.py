"""Which files belong together, and when they are complete as a whole."""
