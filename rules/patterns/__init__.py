"""Patterns of the configuration, on names and texts that others wrote."""
