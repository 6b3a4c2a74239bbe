"""What the computer is asked on Windows. `agent/host/posix` has the same modules."""
