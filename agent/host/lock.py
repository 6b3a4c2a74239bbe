"""One agent per state directory; does it stay? And one process for each fetch."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath

from agent.errors import Refused, Transient, cause
from agent.host import exclusive, own_files, protection

AGENT = "agent.lock"
RESIDENT = "resident.lock"
"""Held besides by an agent that stays until somebody stops it: what is in the ledger need not be carried by others."""
WAIT = 5.0
"""Seconds to wait for a lock: whoever holds it may be about to end."""
_POLL = 0.05


class Held(Refused):
    """Another process has the lock."""


@contextmanager
def locked(state_dir: PurePath, wait: float = WAIT, name: str = AGENT) -> Iterator[int]:
    """Make the state directory and hold its lock. Gives the lock.

    Raises Held where another agent holds it after `wait` seconds, and Refused where the directory cannot be used, or where
    another user made it or something in it.
    """
    lock = _taken(state_dir, name, wait)
    try:
        _require_made_by_us(state_dir)
        yield lock
    finally:
        exclusive.give_back(lock)


def _taken(state_dir: PurePath, name: str, wait: float) -> int:
    """The lock. Raises Held, Refused."""
    deadline = time.monotonic() + wait
    while True:
        try:
            own_files.make_private_directory(state_dir)
            require_own(state_dir / name)
            lock = exclusive.take(state_dir / name)
        except OSError as error:
            raise Refused(
                f"state directory {state_dir}: {cause(error)}", "make it writable, or choose another"
            ) from error
        if lock is not None:
            return lock
        if time.monotonic() > deadline:
            raise _held(state_dir, exclusive.holder(state_dir / name))
        time.sleep(_POLL)


def _held(state_dir: PurePath, holder: int | None) -> "Held":
    """The error for a person, who cannot stop a process that has ended but for a thread in the kernel."""
    import psutil  # the other commands do without it

    try:
        ended = holder is not None and psutil.Process(holder).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        ended = False
    if not ended:
        hint = "stop it, or give this one its own state directory ([agent] state_dir)"
        return Held(f"another agent uses {state_dir}", hint)
    waits = "it was stopped, and still waits in the kernel for a file system that does not answer"
    hint = "end the program that serves that file system (sshfs, rclone) or unmount it with umount -f, then start again"
    return Held(f"a former agent (process {holder}) keeps {state_dir}: {waits}", hint)


def require_own(path: PurePath) -> None:
    """What is in the state directory decides what is deleted. Raises Refused where somebody else may have put it there."""
    try:
        reason = own_files.in_the_hands_of_others(path)
        if reason is None and own_files.exists(path.parent) and own_files.facts(path.parent).anybody_may_write:
            reason = f"everybody may make files in {path.parent}"
    except OSError as error:
        raise Refused(
            f"state directory {path.parent}: {cause(error)}", "make it readable, or choose another"
        ) from error
    if reason is not None:
        hint = (
            f"choose a directory that only you may write ([agent] state_dir), or {protection.private_hint(path.parent)}"
        )
        raise Refused(f"state directory {path.parent}: {reason}, and what is in it decides what is deleted", hint)


def _require_made_by_us(state_dir: PurePath) -> None:
    """An agent believes what is in its state directory, though its group may write there. Raises Refused."""
    try:
        paths = [state_dir, *(state_dir / name for name in own_files.names(state_dir))]
    except OSError as error:
        raise Refused(f"state directory {state_dir}: {cause(error)}", "make it readable, or choose another") from error
    for path in paths:
        owner = own_files.another_owner(path)
        if owner is not None:
            hint = f"run the agent as that user, or, if you trust what is in it: {protection.owner_hint(state_dir)}"
            raise Refused(
                f"{path} belongs to another user ({owner}), and what is in the state directory decides what is deleted",
                hint,
            )


def of_destination(state_dir: PurePath, name: str) -> Callable[[], int]:
    """How the lock of a destination is taken: by whoever writes there, and by its helper processes, which inherit it.

    A helper of a killed agent has it until it has ended its files; only the first try waits for that. One that waits for
    a share which hangs has it for longer. Raises Transient, then; and Refused where the state directory cannot be used.
    """
    patience = WAIT

    def take() -> int:
        nonlocal patience
        wait, patience = patience, 0.0
        try:
            return _taken(state_dir, f"{name}.destination.lock", wait)
        except Held:
            raise Transient(f"a process of a former run still waits for an answer from {name}") from None

    return take


def resident(state_dir: PurePath) -> bool:
    """Whether an agent that stays runs on this state directory. Raises Refused."""
    try:
        exclusive.give_back(
            _taken(state_dir, RESIDENT, 0.0)
        )  # not `locked`: root may ask of a state that is another user's
    except Held:
        return True
    return False


@contextmanager
def alone(state_dir: PurePath, fetch: int) -> Iterator[None]:
    """Be the only process that works on this fetch.

    Raises Held where another one does, and Refused where the directory cannot be used.
    """
    try:
        lock = exclusive.take_part(state_dir / "fetch.lock", fetch)
    except OSError as error:
        raise Refused(f"state directory {state_dir}: {cause(error)}", "make it writable, or choose another") from error
    if lock is None:
        raise Held("the same is being fetched by another process", "wait for that one")
    try:
        yield
    finally:
        exclusive.give_back(lock)
