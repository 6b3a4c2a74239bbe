"""The decisions: which files, when complete, how grouped, where to, when safe to delete.

Everything here is pure: no I/O, no clock, no threads. A decision takes values and returns a `Verdict` with its reason.
"""
