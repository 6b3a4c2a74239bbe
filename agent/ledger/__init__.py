"""The ledger: what the agent knows. The only place that imports sqlite3."""

from agent.ledger.arrivals import Arrival, Arrivals
from agent.ledger.batches import Batches, Sealed
from agent.ledger.datasets import Datasets
from agent.ledger.deliveries import Deliveries, Delivery, Proof
from agent.ledger.destinations import Destinations, Place
from agent.ledger.fetches import Fetches
from agent.ledger.files import Files, Former, Found
from agent.ledger.history import INTERVAL, History, Interval
from agent.ledger.links import Link, Links, ToCopy
from agent.ledger.notices import Notices
from agent.ledger.outbox import MESSAGES, Key, Outbox, Queued, Waiting
from agent.ledger.pauses import Pausable, Pauses
from agent.ledger.plans import Behind, Group, Plans
from agent.ledger.pruning import Pruner
from agent.ledger.reclaims import Emptied, Intent, Reclaims
from agent.ledger.reports import BatchLine, Reports
from agent.ledger.returns import Return, Returns
from agent.ledger.scrubs import Copy, Finding, Scrubs, Standing
from agent.ledger.sends import Sends, Sent
from agent.ledger.states import CAME_LATER, GONE, HERE, NAMED, UNFINISHED, UNPROVED, DeliveryState, State
from agent.ledger.store import MEMORY, Announce, Store, Transition, silent
from agent.ledger.summaries import Copies, Summaries, Summary
from agent.ledger.versions import File, Known


class Ledger(Store):
    """One connection, with the methods of each noun."""

    def __init__(self, path: str, announce: Announce = silent, *, read_only: bool = False) -> None:
        """Open or create the ledger at `path`. Raises Refused and LedgerError, see `Store`."""
        super().__init__(path, announce, read_only=read_only)
        self.summaries = Summaries(self)
        self.files = Files(self, self.summaries.found)
        self.arrivals = Arrivals(self)
        self.batches = Batches(self, self.files)
        self.datasets = Datasets(self)
        self.history = History(self)
        self.destinations = Destinations(self)
        self.deliveries = Deliveries(self, self.destinations, self.history, self.summaries)
        self.plans = Plans(self, self.files, self.batches, self.deliveries)
        self.outbox = Outbox(self)
        self.links = Links(self)
        self.notices = Notices(self)
        self.reclaims = Reclaims(self)
        self.reports = Reports(self)
        self.returns = Returns(self, self.files)
        self.scrubs = Scrubs(self, self.batches)
        self.sends = Sends(self, self.files, self.batches)
        self.fetches = Fetches(self)
        self.pauses = Pauses(self)


__all__ = [
    "CAME_LATER",
    "GONE",
    "HERE",
    "INTERVAL",
    "MEMORY",
    "MESSAGES",
    "NAMED",
    "UNFINISHED",
    "UNPROVED",
    "Announce",
    "Arrival",
    "BatchLine",
    "Batches",
    "Behind",
    "Copies",
    "Copy",
    "Datasets",
    "Deliveries",
    "Delivery",
    "DeliveryState",
    "Destinations",
    "Emptied",
    "Fetches",
    "File",
    "Files",
    "Finding",
    "Former",
    "Found",
    "Group",
    "History",
    "Intent",
    "Interval",
    "Key",
    "Known",
    "Ledger",
    "Link",
    "Links",
    "Notices",
    "Outbox",
    "Pausable",
    "Pauses",
    "Place",
    "Plans",
    "Proof",
    "Pruner",
    "Queued",
    "Reclaims",
    "Reports",
    "Return",
    "Scrubs",
    "Sealed",
    "Sends",
    "Sent",
    "Standing",
    "State",
    "Store",
    "Summaries",
    "Summary",
    "ToCopy",
    "Transition",
    "Waiting",
    "silent",
]
