"""The interface of `agent.files` on POSIX systems."""
