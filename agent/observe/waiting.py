"""Why files are in their states, and what they wait for: none waits without a reason."""

from collections.abc import Mapping
from functools import cache

from agent.host.zone import shown
from agent.ledger import CAME_LATER, DeliveryState, File, Ledger, State
from agent.ledger.datasets import Known

_LONG = 60.0
"""Seconds from the first sight of a file, after which it is said when its quiet period began."""
_STEPS: Mapping[DeliveryState, str] = {
    DeliveryState.PENDING: "it waits for its turn, or for the other files of its dataset",
    DeliveryState.SUBMITTING: "the request is handed over",
    DeliveryState.ACTIVE: "it is copied",
    DeliveryState.VERIFYING: "the copies are compared",
    DeliveryState.FAILED: "it is tried again",
}
"""What is done in a state that has no other reason."""
_ENDED = "its deliveries have ended, and what came of them is about to be written down"


def away(ledger: Ledger) -> dict[str, str]:
    """Destination → why nothing goes there now."""
    found = {}
    for name, _, up, reason in ledger.reports.destinations():
        if ledger.pauses.hold("delivery", name):
            found[name] = "a person paused deliveries (`dropline resume delivery`)"
        elif up is False:
            found[name] = f"it is down: {reason}"
        elif up is None:
            found[name] = "it was not looked at yet"
        else:
            found.pop(name, None)  # the name is a label: it was at another address before
    return found


def waits_for(dataset: Known) -> str | None:
    """Why a dataset waits, or was complete."""
    return dataset.reason or ("found a moment ago" if dataset.waits else None)


class Reasons:
    """Says why, for one answer: what is the same for several files is asked once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._away = cache(lambda: away(ledger))
        self._deliveries = cache(ledger.reports.deliveries_of)

    def of(self, file: File) -> str | None:
        """Why a file is in its state, and what it waits for, if it does; None: it waits for nothing."""
        if file.state is State.CANDIDATE:
            return self._candidate(file)
        if file.state is State.COMPLETE:
            return "; ".join(
                [*([file.reason] if file.reason else []), "it waits for its batch to be full or old enough"]
            )
        if file.state is State.BATCHED:
            return (self.of_batch(file.batch) if file.batch is not None else "") or _ENDED
        return file.reason

    def _candidate(self, file: File) -> str:
        dataset = None if file.dataset is None else self._ledger.datasets.get(file.dataset)
        if dataset is not None and dataset.waits:
            return "; ".join([*([file.reason] if file.reason else []), f"its dataset waits: {waits_for(dataset)}"])
        if file.reason is not None:
            return file.reason
        if file.since - file.seen_at < _LONG:
            return "written a moment ago; its quiet period has not passed"
        at = f"{shown(file.since):%H:%M:%S}"
        return f"its quiet period (`complete.quiet`) began again at {at}: it changed then, or the agent was started"

    def of_batch(self, batch: int) -> str:
        """What is missing until a batch is at every destination; empty: nothing."""
        found = []
        for one in self._deliveries(batch):
            state = DeliveryState(one["state"])
            if state not in (DeliveryState.VERIFIED, DeliveryState.REFUSED, *CAME_LATER):
                reason = self._away().get(one["destination"]) or one["reason"] or _STEPS[state]
                tries = f", attempt {one['attempt']}" if one["attempt"] > 1 else ""
                found.append(f"to {one['destination']}: {state}{tries}: {reason}")
        return "; ".join(found)
