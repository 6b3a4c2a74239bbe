"""The computer: locks, the service, priority, secrets, worker threads and processes, and the agent's own files."""

import sys

if sys.platform == "win32":
    from agent.host.windows import exclusive, processes, protection, supervisor
else:
    from agent.host.posix import exclusive, processes, protection, supervisor

__all__ = ["exclusive", "processes", "protection", "supervisor"]
