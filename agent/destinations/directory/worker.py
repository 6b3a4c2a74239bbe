"""What is done at a destination directory, by name: in the agent, or in a worker process where it may hang."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.destinations.directory.links import make_link
from agent.destinations.directory.place import check, confirm, discard, set_up, shows, there
from agent.destinations.directory.prove import reread
from agent.destinations.directory.writer import write
from agent.files import LOCAL
from agent.host.worker_main import serve

JOBS: Mapping[str, Callable[..., Any]] = {
    one.__name__: one for one in (check, confirm, discard, make_link, reread, set_up, shows, there, write)
}  # fmt: skip
"""The last argument of each is its Heartbeat."""


def main() -> None:
    """Serve the jobs until the agent ends."""
    LOCAL.prepare()
    serve(JOBS)
