"""Runs the agent, killed before an operation where it is asked to: the processes of `test_kills.py`.

Each line of the standard input has a folder and the number of the operation before which this process ends; 0: it is not
killed. Each line of the output says how the run ended.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.app.configuration import check
from agent.app.run import once
from agent.files.windows import nt
from agent.ledger.store import Store

CHANGES = ("write", "rename", "delete", "flush", "set_size", "set_basic")
"""What changes files, in `agent.files.windows.nt`."""
OWN = ("write", "replace", "rename", "unlink", "fsync", "mkdir", "rmdir")
"""What changes the agent's own files, in `os`."""


def kill_at(number: int) -> None:
    """Arrange that this process is terminated just before its `number`-th operation on files, or after such a commit."""
    left = number
    lock = threading.Lock()

    def count() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGTERM)  # TerminateProcess

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            count()
            return function(*args, **kwargs)

        return wrapper

    for holder, names in ((nt, CHANGES), (os, OWN)):
        for name in names:
            setattr(holder, name, counted(getattr(holder, name)))
    opened, commit = nt.opened, Store._commit

    def opening(*args: Any, **kwargs: Any) -> int:
        if kwargs.get("disposition", nt.OPEN) != nt.OPEN:
            count()
        return opened(*args, **kwargs)

    def committed(store: Store) -> None:
        commit(store)
        count()

    nt.opened = opening
    Store._commit = committed  # type: ignore[method-assign]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    for line in sys.stdin:
        work, number = json.loads(line)
        rule = {
            "name": "r", "watch": str(Path(work, "in")), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
            "deliver": [{"to": "share"}], "reclaim": {"after": "0s", "min_age": "0s", "empty_dirs": True},
        }  # fmt: skip
        agent = {"state_dir": str(Path(work, "state")), "listen": "", "canary_every": "0s"}
        places = {"share": {"path": str(Path(work, "share")), "mounted": False}}
        config = check({"agent": agent, "destinations": places, "rules": [rule]}, "test", Path(work))
        if number:
            kill_at(number)
        print(json.dumps(once(config)), file=answers, flush=True)


if __name__ == "__main__":
    main()
