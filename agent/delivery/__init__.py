"""Sealed batch → request → task → verified."""
