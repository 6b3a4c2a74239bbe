"""Transfers that a person or a job script starts: `dropline send` and `dropline fetch`."""
