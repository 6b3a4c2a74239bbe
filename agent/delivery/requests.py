"""Makes requests of what is due. Sends nothing and writes nothing down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from agent.delivery.arrivals import Arrivals
from agent.delivery.in_flight import InFlightFile, Submission
from agent.delivery.outcomes import RETRY
from agent.destinations import Arrived, Busy, Item, LinkItem, Outcome, Transport
from agent.host.bulkhead import Bulkhead
from agent.ledger import Delivery, File, Ledger, ToCopy
from agent.ledger.datasets import Known
from rules.model import SENT
from rules.naming import PathRefused, numbered
from rules.paths import Member, Paths, path_of
from rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Request:
    """What is about to be sent, and what is known already."""

    submission: Submission
    body: bytes
    outcomes: Sequence[Outcome] = ()
    undeliverable: Sequence[tuple[File, str]] = ()
    """Files for which no path can be made, with the reason."""
    resumed: bool = False
    """A former run, or a pass that got no answer, may have sent it."""


class Requests:
    """Makes the requests for one destination."""

    def __init__(
        self, ledger: Ledger, transport: Transport, destination: int, rules: Sequence[Rule], host: str,
        arrivals: Arrivals | None = None,
    ) -> None:  # fmt: skip
        """See `agent.delivery.deliverer.Deliverer`."""
        self._ledger = ledger
        self._transport = transport
        self._destination = destination
        self._rules = {rule.name: rule for rule in rules}
        self._targets = {
            rule.name: target for rule in rules for target in reversed(rule.deliver) if target.to == transport.name
        }
        self._host = host
        self._arrivals = arrivals
        self._files = Bulkhead[File]("file", lambda file: file.path)
        self._items = Bulkhead[Item]("file", lambda item: f"{item.root}/{item.relpath}")

    def of(self, deliveries: Sequence[Delivery], identity: str) -> Request:
        """What to send for deliveries of one rule: what may have been sent before, or a new request.

        Raises Transient (Busy among it) and Refused.
        """
        body = self._ledger.deliveries.request(deliveries[0]) if deliveries[0].resumed else None
        files: dict[int, InFlightFile] = {}
        undeliverable: list[tuple[File, str]] = []
        intended: dict[int, str] = {}
        dataset = cache(self._ledger.datasets.get)
        folder = cache(lambda number: self._ledger.datasets.folder(number, self._destination))
        for delivery in deliveries:
            if body is not None:
                intended |= self._ledger.deliveries.intents(delivery, self._destination)
            unproved = self._ledger.deliveries.not_proved(delivery, self._destination)
            later = any(file.generation > 1 for file in unproved)
            asides = self._ledger.deliveries.asides(delivery, self._destination) if later else {}
            root = self._ledger.sends.root(delivery.batch) if delivery.rule == SENT else None
            paths = self._ledger.deliveries.paths(delivery.id)
            sent = (
                self._ledger.deliveries.sent((file.id for file in unproved), self._destination)
                if self._transport.is_service
                else {}
            )
            for one in self._files.each(
                unproved,
                failed=lambda file, failure: undeliverable.append((file, f"{failure.reason}; {RETRY}")),
            ):
                with one as file:
                    try:
                        item = self._item(file, paths, dataset, folder) if root is None else _sent(file, root)
                    except PathRefused as error:
                        undeliverable.append((file, f"{error}; change the rule's `path`, then {RETRY}"))
                        continue
                    named, intent = item.path, intended.get(file.id)
                    if body is not None and intent is not None:
                        item = item._replace(path=intent)  # it may go under another name
                    former = asides.get(file.id)
                    if former is not None:  # an attempt that was interrupted may have renamed the former copy
                        item = item._replace(
                            path=former.path, aside=former.aside, replaces=former.content,
                            rewritten=former.rewritten or self._transport.is_service,
                        )  # fmt: skip
                    if sent.get(file.id) == item.path:
                        item = item._replace(begun=True)
                    files[file.id] = InFlightFile(file, item, named, delivery.id)
        if body is None:
            return self.new(deliveries, files, identity, undeliverable)
        not_sent = files.keys() - intended.keys()
        submission = Submission(deliveries, self._with_mounts(files), deliveries[0].submission, deferred=set(not_sent))
        return Request(submission, body, (), undeliverable, resumed=True)

    def new(
        self, deliveries: Sequence[Delivery], files: dict[int, InFlightFile], identity: str,
        undeliverable: Sequence[tuple[File, str]] = (),
    ) -> Request:  # fmt: skip
        """A new request for these files. Raises Transient, Refused, and Busy while others are on their way to all the names."""
        files = self._with_mounts(files)
        before = {one.file: one for one in self._before(files, identity)}
        items = [one.item for number, one in files.items() if number not in before]
        busy: set[int] = set()
        # Two tasks that write one file at the same time spoil it.
        for one in self._items.each(
            items if self._transport.is_service else (), failed=lambda item, _: busy.add(item.file)
        ):
            with one as item:
                if self._ledger.deliveries.busy(self._destination, item.path, item.file):
                    busy.add(item.file)
        if busy and len(busy) == len(items):
            raise Busy(f"at {self._transport.name}, other files are on their way to the same names")
        free = [item for item in items if item.file not in busy]
        first, others = deliveries[0], len(deliveries) - 1
        label = f"{first.rule} batch {first.batch}" + (f" and {others} more" if others else "")
        body, outcomes, later = self._transport.prepare(first.id, label, free, identity)
        submission = Submission(deliveries, files, deferred=busy.union(later))
        return Request(submission, body, [*before.values(), *outcomes], undeliverable)

    def _before(self, files: dict[int, InFlightFile], identity: str) -> list[Arrived]:
        """Files that arrived before the ledger was lost. They get the names that they had."""
        found: list[Arrived] = []
        for one, outcome in () if self._arrivals is None else self._arrivals.before(list(files.values()), identity):
            files[one.file.id] = one
            found.append(outcome)
        return found

    def _with_mounts(self, files: dict[int, InFlightFile]) -> dict[int, InFlightFile]:
        """The same, each with the file system below the destination that it must find mounted on its way."""
        mounts = sorted(self._ledger.deliveries.mounts(self._destination), key=len)
        if not mounts:
            return files
        found: dict[int, InFlightFile] = {}
        for number, one in files.items():
            on_the_way = [path for path in mounts if one.item.path.startswith(path + "/")]
            mount = on_the_way[-1] if on_the_way else None
            found[number] = one if mount is None else replace(one, item=one.item._replace(mount=mount))
        return found

    def path(self, file: File, paths: Paths | None, dataset: Callable[[int], Known] | None = None) -> str:
        """Where a file goes, while no other file has its name. Raises PathRefused.

        Args:
            file: of a rule.
            paths: of its delivery.
            dataset: what is known of datasets; None: the ledger is asked.
        """
        rule = self._rules.get(file.rule)
        if rule is None:
            raise PathRefused(f"rule {file.rule!r} is not configured any more")
        target = self._targets.get(file.rule)
        if target is None:
            raise PathRefused(f"rule {rule.name!r} does not deliver to {self._transport.name} any more")
        path = None if paths is None else paths.of(file.id, file.path)
        if path is None:
            known = None if file.dataset is None else (dataset or self._ledger.datasets.get)(file.dataset)
            path = path_of(rule, target, _member(file.id, file.path, file.version.mtime_ns, known), self._host)
        return path

    def link(self, link: ToCopy) -> LinkItem:
        """Where a symbolic link goes: beside the data of its dataset. Raises PathRefused."""
        rule, target = self._rules[link.rule], self._targets[link.rule]
        known = None if link.dataset is None else self._ledger.datasets.get(link.dataset)
        path = path_of(rule, target, _member(0, link.path, link.mtime_ns, known), self._host)
        folder = 1 if link.dataset is None else self._ledger.datasets.folder(link.dataset, self._destination)
        relpath = rule.relpath(link.path)
        path = numbered(path, rule, relpath, folder) if folder > 1 else path
        return LinkItem(rule.watch, relpath, path, link.target, link.former)

    @property
    def copy_links(self) -> list[str]:
        """Names of the rules that deliver here and copy links."""
        return [name for name in self._targets if self._rules[name].links == "copy"]

    def _item(
        self, file: File, paths: Paths | None, dataset: Callable[[int], Known], folder: Callable[[int], int]
    ) -> Item:
        path = self.path(file, paths, dataset)
        rule = self._rules[file.rule]
        relpath = rule.relpath(file.path)
        if file.dataset is not None and folder(file.dataset) > 1:
            path = numbered(path, rule, relpath, folder(file.dataset))
        return Item(file.id, rule.watch, relpath, file.version, path)


def _member(number: int, path: str, mtime_ns: int, dataset: Known | None) -> Member:
    """A file as its path depends on it: a dataset has one date, and may have a name that was used before."""
    if dataset is None:
        return Member(number, path, mtime_ns)
    return Member(number, path, mtime_ns if dataset.mtime_ns is None else dataset.mtime_ns, dataset.ordinal)


def _sent(file: File, root: str) -> Item:
    """A file that a person sends: its path counts from the directory that the ledger has for its batch."""
    relpath = file.path[len(root.rstrip("/")) + 1 :]
    return Item(file.id, root, relpath, file.version, relpath)
