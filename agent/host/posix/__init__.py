"""What the computer is asked on POSIX systems. `agent/host/windows` has the same modules."""
