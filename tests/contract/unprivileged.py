"""Delivers with the directory transport in its own process: a driver for test_transport.py.

Standard input: a pickle of (destination, agent, identity, whether to become an ordinary user, rounds), each round being
(commands to run before, items). Standard output: a pickle with (outcomes, failure, what is at the destination) of each.
"""

import os
import pickle
import subprocess
import sys
import threading

from agent.destinations import Outcome
from agent.destinations.directory.transport import DirectoryTransport
from agent.files import LOCAL

NOBODY = 65534


def main() -> None:
    place, agent, identity, drop, rounds = pickle.load(sys.stdin.buffer)  # noqa: S301  (from the test that started us)
    LOCAL.prepare()
    if drop:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    woken = threading.Event()
    transport = DirectoryTransport("share", place, "checksum", "sha256", agent, woken.set)
    results = []
    for number, (before, items) in enumerate(rounds):
        for command in before:
            subprocess.run(command, check=True)
        transport.submit(transport.prepare(number, "r", items, identity).request, items, identity)
        outcomes: list[Outcome] = []
        ended, failure = False, None
        while not ended:
            if not woken.wait(30.0):
                raise SystemExit("the transport never told of the end")
            woken.clear()
            for report in transport.reports(0.0):
                outcomes.extend(report.outcomes)
                ended, failure = ended or report.ended, report.failure or failure
        results.append((outcomes, failure, tree(os.fsencode(place))))
    transport.close()
    sys.stdout.buffer.write(pickle.dumps(results))


def tree(root: bytes) -> dict[bytes, bytes | None]:
    """Relative path → content of every file below (None where it may not be read), without the identity file."""
    found: dict[bytes, bytes | None] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            if name != b".dropline-destination":
                path = os.path.join(directory, name)
                try:
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, root)] = file.read()
                except PermissionError:
                    found[os.path.relpath(path, root)] = None
    return found


if __name__ == "__main__":
    main()
