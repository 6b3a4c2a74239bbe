"""A fleet on paper: many workstations into one share and one Globus identity. What may each use, and which knobs do it?

Nothing is measured here. The facts about Globus are in docs/GLOBUS.md; what a task costs in requests is measured by
`python -m bench globus`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rules.globus.task import next_look

RUNNING, PENDING, REQUESTS = 3, 100, 20.0
"""What Globus allows one identity: tasks at work, tasks that wait, requests a second."""
PER_TASK = 5.0
"""Requests of one task without its polls: mark, listing, submission id, submission, evidence of up to 1,000 files."""
PER_POLL = 1.0
A_SECOND = 12
"""Requests a second that an agent allows itself (agent.destinations.globus.session)."""
IDLE = 1 / 300
"""Requests a second of an agent that looks whether its destination is there."""

HEAD = ["knob", "default", "50 x default", "limit", "set to", "sum then"]


@dataclass(frozen=True)
class Fleet:
    """`agents` workstations; each makes `rate` bytes a second in files of `size` bytes, on average."""

    agents: int = 50
    rate: float = 5e6
    size: float = 20e6
    task_seconds: float = 60.0
    """How long Globus works on one task."""
    share: float = 1.25e9
    """Bytes a second that the file server takes: 10 Gbit/s."""


@dataclass(frozen=True)
class Shares:
    """What each agent may use, so that the sum keeps within the limits."""

    outstanding: int
    """Tasks at the service at a time."""
    linger: float
    """Seconds between two batches, at least: `batch.max_age`, as the linger of quiet moments would make more."""
    requests: float
    """Requests a second of all agents together, then."""
    files: float
    """Files in a batch, then."""
    bandwidth: float
    """Bytes a second to the share; as much is read back."""


def shares(fleet: Fleet) -> Shares:
    """The service works on three tasks at once, whoever submits them: so the fleet makes no more batches than it can end."""
    outstanding = max(1, min(PENDING // fleet.agents, 6))
    apart_by_tasks = fleet.agents * fleet.task_seconds / RUNNING
    polls = polls_of(fleet.task_seconds * max(1, fleet.agents * outstanding / RUNNING))
    left = REQUESTS / fleet.agents - IDLE
    apart_by_requests = (PER_TASK + polls * PER_POLL) / left if left > 0 else math.inf
    apart = max(apart_by_tasks, apart_by_requests)
    return Shares(
        outstanding=outstanding,
        linger=apart,
        requests=fleet.agents * ((PER_TASK + polls * PER_POLL) / apart + IDLE),
        files=apart * fleet.rate / fleet.size,
        bandwidth=fleet.share / fleet.agents,
    )


def polls_of(seconds: float) -> int:
    """How often a task is asked after that ends after so many seconds."""
    at, count = 0.0, 0
    while at < seconds:
        at = next_look(0.0, at)
        count += 1
    return count


def rows(fleet: Fleet) -> list[list[str]]:
    """A row per knob: what the default would sum up to, and what keeps the sum within."""
    own = shares(fleet)
    number = fleet.agents
    tasks_default = number / 5.0  # batches a second: max_age is 5 x linger, 1 s
    return [
        [
            "outstanding (tasks waiting or at work)",
            "6",
            f"{6 * number}",
            f"{PENDING} + {RUNNING}",
            f"{own.outstanding}",
            f"{own.outstanding * number}",
        ],
        [
            "batch.max_age, linger (tasks/s)",
            '"5s", "1s"',
            f"{tasks_default:.0f}/s",
            f"{RUNNING / fleet.task_seconds:.3f}/s",
            f'"{math.ceil(own.linger / 60)}m" both',
            f"{number / own.linger:.3f}/s",
        ],
        [
            "requests/s (no knob: follows from these)",
            f"at most {A_SECOND}",
            f"{A_SECOND * number}",
            f"{REQUESTS:.0f}",
            "-",
            f"{own.requests:.1f}",
        ],
        [
            "bandwidth to the share (MB/s, each way)",
            "none",
            "what the network takes",
            f"{fleet.share / 1e6:.0f}",
            f'"{own.bandwidth / 1e6:.0f}MB"',
            f"{own.bandwidth * number / 1e6:.0f}",
        ],
    ]


def report(fleet: Fleet) -> list[str]:
    """Lines of Markdown, without the table."""
    own = shares(fleet)
    needed = fleet.agents * fleet.rate / RUNNING
    return [
        f"{fleet.agents} workstations, each with {fleet.rate / 1e6:.0f} MB/s in files of {fleet.size / 1e6:.0f} MB; "
        f"a task takes Globus {fleet.task_seconds:.0f} s.",
        "",
        f"Each agent may have {own.outstanding} tasks at the service, and begins one each {own.linger:.0f} s, with "
        f"{own.files:.0f} files ({own.linger * fleet.rate / 1e9:.1f} GB). The fleet makes {fleet.agents * fleet.rate / 1e6:.0f} "
        f"MB/s, so each of the {RUNNING} tasks at work must move {needed / 1e6:.0f} MB/s; where it cannot, more identities "
        "are needed (a service account for each group of instruments), not other knobs.",
    ]
