"""What is to be sent for a delivery: made anew, or what may have been sent before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.delivery.outcomes import RETRY
from agent.delivery.travel import Traveller, UnderWay
from agent.destinations import Item, NotNow, Outcome, Transport
from agent.ledger import Delivery, DeliveryState, File, Ledger
from rules import naming as destination
from rules.model import SENT, Rule
from rules.naming import PathRefused

MAYBE_SENT = (DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING)
"""States of deliveries whose request the destination may have."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is about to be sent, and what is known already."""

    under_way: UnderWay
    request: bytes
    outcomes: Sequence[Outcome] = ()
    unfit: Sequence[tuple[File, str]] = ()
    """Files for which no path can be made, with the reason."""
    resumed: bool = False
    """A former run, or a pass that got no answer, may have sent it."""


class Attempts:
    """Makes requests; sends nothing, writes nothing down."""

    def __init__(self, ledger: Ledger, transport: Transport, place: int, rules: Sequence[Rule], host: str) -> None:
        """
        Args:
            ledger: the courier's connection.
            transport: the way to the destination.
            place: the destination's number in the ledger.
            rules: in the order of the configuration.
            host: this computer's name, for templates.
        """
        self._ledger = ledger
        self._transport = transport
        self._place = place
        self._rules = {rule.name: rule for rule in rules}
        self._templates = {
            rule.name: target.path for rule in rules for target in reversed(rule.deliver) if target.to == transport.name
        }
        self._host = host

    def begin(self, delivery: Delivery, identity: str) -> Attempt:
        """What to send for a delivery: what may have been sent before, or a new request. Raises Transient, Refused."""
        intents: dict[int, str] = {}
        resumed = delivery.request is not None and delivery.state in MAYBE_SENT
        if resumed or self._transport.elsewhere:
            intents = self._ledger.deliveries.intents(delivery, self._place)
        root = self._ledger.sends.root(delivery.batch) if delivery.rule == SENT else None
        travellers: dict[int, Traveller] = {}
        unfit: list[tuple[File, str]] = []
        for file in self._ledger.deliveries.travellers(delivery, self._place):
            try:
                item = self._item(file) if root is None else _sent(file, root)
            except PathRefused as error:
                unfit.append((file, f"{error}; change the rule's `path`, then {RETRY}"))
                continue
            named, intended = item.path, intents.get(file.id)
            if resumed and intended is not None:
                item = item._replace(path=intended)  # it may go under a name of its own
            begun = self._transport.elsewhere and intended == item.path
            travellers[file.id] = Traveller(file, item._replace(begun=True) if begun else item, named)
        if resumed and delivery.request is not None:
            # What has no intent was not sent.
            later = travellers.keys() - intents.keys()
            travellers = self._with_mounts(travellers)
            return Attempt(UnderWay(delivery, travellers, later=later), delivery.request, (), unfit, resumed=True)
        return self.prepare(delivery, travellers, identity, unfit)

    def prepare(
        self, delivery: Delivery, travellers: dict[int, Traveller], identity: str,
        unfit: Sequence[tuple[File, str]] = (),
    ) -> Attempt:  # fmt: skip
        """A new request for these files. Raises Transient, Refused, and NotNow while others are on their way to all the names."""
        travellers = self._with_mounts(travellers)
        items = [one.item for one in travellers.values()]
        busy: set[int] = set()
        if self._transport.elsewhere:
            # Two tasks that write one file at the same time spoil it.
            busy = {item.file for item in items if self._ledger.deliveries.busy(self._place, item.path, item.file)}
            if busy and len(busy) == len(items):
                raise NotNow(f"at {self._transport.name}, other files are on their way to the same names")
        free = [item for item in items if item.file not in busy]
        request, outcomes, later = self._transport.prepare(delivery.id, delivery.batch, free, identity)
        under_way = UnderWay(delivery, travellers, later=busy.union(later))
        return Attempt(under_way, request, outcomes, unfit)

    def _with_mounts(self, travellers: dict[int, Traveller]) -> dict[int, Traveller]:
        """The same, each with the file system below the destination that it must find mounted on its way."""
        mounts = sorted(self._ledger.deliveries.mounts(self._place), key=len)
        if not mounts:
            return travellers
        found: dict[int, Traveller] = {}
        for number, one in travellers.items():
            on_the_way = [path for path in mounts if one.item.path.startswith(path + "/")]
            mount = on_the_way[-1] if on_the_way else None
            found[number] = one if mount is None else replace(one, item=one.item._replace(mount=mount))
        return found

    def _item(self, file: File) -> Item:
        rule = self._rules.get(file.rule)
        if rule is None:
            raise PathRefused(f"rule {file.rule!r} is not configured any more")
        template = self._templates.get(file.rule)
        if template is None:
            raise PathRefused(f"rule {rule.name!r} does not deliver to {self._transport.name} any more")
        relpath = rule.relpath(file.path)
        path = destination.place(template, rule, relpath, file.version.mtime_ns, self._host)
        return Item(file.id, rule.watch, relpath, file.version, path)


def _sent(file: File, root: str) -> Item:
    """A file that a person sends: its path counts from the directory that the ledger has for its batch."""
    relpath = file.path[len(root.rstrip("/")) + 1 :]
    return Item(file.id, root, relpath, file.version, relpath)
