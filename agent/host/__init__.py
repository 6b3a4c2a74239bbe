"""The computer: locks, the service, priority, secrets, worker threads and processes, and the agent's own files."""
