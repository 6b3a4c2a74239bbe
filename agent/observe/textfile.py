"""The metrics as a file for node_exporter's textfile collector, for hosts that Prometheus cannot reach.

https://github.com/prometheus/node_exporter#textfile-collector: it reads `*.prom` in one directory.
"""

from pathlib import PurePath

from prometheus_client import CollectorRegistry, generate_latest

from agent.errors import Transient, cause
from agent.host import own_files

EVERY = 15.0
"""Seconds between two versions of the file."""
_MODE = 0o644
"""node_exporter runs as another user, and the metrics have no secrets."""


class Textfile:
    """Writes the file, whole or not at all. It stays when the agent ends: a time in it says how old it is."""

    def __init__(self, path: PurePath, registry: CollectorRegistry) -> None:
        """`registry`: without process_*, for node_exporter has its own, and two of a name are an error to it."""
        self._path = path
        self._registry = registry
        self._leftovers = True
        """Of a process that was killed as it wrote the file."""

    def step(self, now: float) -> float:
        """Write it. Returns when to write it again. Raises Transient."""
        text = generate_latest(self._registry)
        try:
            if self._leftovers:
                own_files.discard_unfinished(self._path)
                self._leftovers = False
            own_files.write_whole(self._path, text, _MODE)
        except OSError as error:
            raise Transient(f"[agent] textfile = {self._path} cannot be written: {cause(error)}") from None
        return now + EVERY
