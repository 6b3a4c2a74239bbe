"""Gives a dataset whose names belong to other files a folder with a number, where its files keep their names."""

import logging
from collections.abc import Mapping, Sequence

from agent.delivery.requests import Requests
from agent.host.bulkhead import Bulkhead
from agent.ledger import Delivery, File, Ledger
from rules.naming import PathRefused, numbered
from rules.rule import Rule

_NUMBERS = 1_000
"""Folders that are tried."""

log = logging.getLogger(__name__)


class DatasetFolders:
    """Decides at one destination, before the first file of a dataset is sent there. Files of it refer to each other by name."""

    def __init__(
        self, ledger: Ledger, name: str, destination: int, rules: Mapping[str, Rule], requests: Requests
    ) -> None:
        """`name`, `destination`: what people call it, and its number in the ledger. `requests`: make the paths."""
        self._ledger = ledger
        self._name = name
        self._destination = destination
        self._rules = rules
        self._requests = requests
        self._deliveries = Bulkhead[Delivery]("delivery", lambda one: str(one.id))
        self._datasets = Bulkhead[int]("dataset", str, ledger.savepoint)

    def decide(self, deliveries: Sequence[Delivery]) -> None:
        """Write down the folders of datasets that these deliveries bring first, and the intents, which others see."""
        found: dict[int, Rule] = {}
        due: set[int] = set()
        for each in self._deliveries.each(deliveries):
            with each as delivery:
                rule = self._rules.get(delivery.rule)
                if rule is None or rule.dataset is None or delivery.resumed:
                    continue  # what may have been sent goes as it was sent
                begun = self._ledger.datasets.unplanned(delivery.batch, self._destination)
                found.update(dict.fromkeys(begun, rule))
                due.add(delivery.batch)
        if not found:
            return
        with self._ledger.transaction():
            for one in self._datasets.each(found):
                with one as dataset:
                    self._decide(dataset, found[dataset], due)

    def _decide(self, dataset: int, rule: Rule, due: set[int]) -> None:
        plain = self._plain(dataset)
        number, paths = 1, [path for _, path in plain]
        while self._ledger.deliveries.taken(self._destination, paths, dataset) and number < _NUMBERS:
            number += 1
            paths = [numbered(path, rule, rule.relpath(file.path), number) for file, path in plain]
        if number > 1:
            key = self._ledger.datasets.get(dataset).name
            log.warning(
                "%s goes to %s in a folder with the number %d: other files have its names", key, self._name, number
            )
            self._ledger.datasets.has_folder(dataset, self._destination, number)
        self._ledger.deliveries.planned(
            self._destination,
            [(file.id, path) for (file, _), path in zip(plain, paths, strict=True) if file.batch in due],
        )

    def _plain(self, dataset: int) -> list[tuple[File, str]]:
        """The files of a dataset that are on their way to the destination, and their paths without a number."""
        found: list[tuple[File, str]] = []
        for delivery, files in self._ledger.deliveries.of_dataset(dataset, self._destination):
            paths = self._ledger.deliveries.paths(delivery)
            for file in files:
                try:
                    found.append((file, self._requests.path(file, paths)))
                except PathRefused:
                    continue  # its request says so
        return found
