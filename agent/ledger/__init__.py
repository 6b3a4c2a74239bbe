"""The ledger: what the agent knows. The only place that imports sqlite3."""

from agent.ledger.datasets import Datasets
from agent.ledger.deliveries import Deliveries, Delivery, Place, Proof
from agent.ledger.fetches import Fetches
from agent.ledger.files import File, Files, Found, Known, Sealed
from agent.ledger.outbox import Errand, Outbox
from agent.ledger.reclaims import Intent, Reclaims
from agent.ledger.reports import BatchLine, Reports
from agent.ledger.sends import Sends, Sent
from agent.ledger.states import HERE, UNPROVED, DeliveryState, State
from agent.ledger.store import Announce, Store, Transition, in_plain_words, silent


class Ledger(Store):
    """One connection, with the methods of each noun."""

    def __init__(self, path: str, announce: Announce = silent) -> None:
        """Open or create the ledger at `path`. Raises Refused and Transient, see `Store`."""
        super().__init__(path, announce)
        self.files = Files(self)
        self.datasets = Datasets(self)
        self.deliveries = Deliveries(self)
        self.outbox = Outbox(self)
        self.reclaims = Reclaims(self)
        self.reports = Reports(self)
        self.sends = Sends(self, self.files)
        self.fetches = Fetches(self)


__all__ = [
    "HERE",
    "UNPROVED",
    "Announce",
    "BatchLine",
    "Datasets",
    "Deliveries",
    "Delivery",
    "DeliveryState",
    "Errand",
    "Fetches",
    "File",
    "Files",
    "Found",
    "Intent",
    "Known",
    "Ledger",
    "Outbox",
    "Place",
    "Proof",
    "Reclaims",
    "Reports",
    "Sealed",
    "Sends",
    "Sent",
    "State",
    "Store",
    "Transition",
    "in_plain_words",
    "silent",
]
