"""How the agent steps back behind the programs of the instrument: for the processor, and for the disk."""

from typing import Literal

from agent.errors import cause
from agent.host import processes

IoPriority = Literal["normal", "idle"]


def lower_priority(nice: int, io_priority: IoPriority) -> list[str]:
    """Take less of the computer: never more than the agent was started with, which only an administrator may.

    It counts for the calling thread, the threads that it starts from then on, and the processes that these start: so it
    is called first, from the main thread.

    Args:
        nice: 0 to 19, as nice(1) has it.
        io_priority: "idle" takes the disk only while nobody else wants it (ioprio_set(2), Linux); "normal" leaves it.

    Returns what could not be had, in sentences.
    """
    failed = []
    try:
        processes.lower(nice)
    except OSError as error:
        failed.append(f"nice = {nice} cannot be had: {cause(error)}")
    if io_priority == "idle":
        # Imported here: who does not want it does not pay for what this brings along.
        import psutil

        try:
            psutil.Process().ionice(getattr(psutil, processes.LOWEST_IO))
        except AttributeError:
            failed.append('io_priority = "idle" cannot be had: this system has no such thing')
        except (OSError, psutil.Error) as error:
            failed.append(f'io_priority = "idle" cannot be had: {error}')
    return failed
