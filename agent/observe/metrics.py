"""Prometheus metrics, in a registry of their own. Counters count transitions; gauges are read when scraped."""

import platform
import time
from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.host.bulkhead import Bulkhead
from agent.intake import Root
from agent.ledger import Ledger, Standing, State, Transition
from agent.observe.file_inspector import FileInspector
from rules.rule import Rule
from rules.scrub import CopyStatus

T = TypeVar("T")
disable_created_metrics()  # type: ignore[no-untyped-call]  # their names would not be ours, and `rate()` needs none of them
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
BACKLOG = ("candidate", "complete", "batched")


def _sums(pairs: Iterable[tuple[T, int]]) -> dict[T, int]:
    found: dict[T, int] = {}
    for key, size in pairs:
        found[key] = found.get(key, 0) + size
    return found


class Metrics:
    """The counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._files = Counter(
            "dropline_files", "Files that came to a state.", ["rule", "event"], registry=self.registry
        )
        self._bytes = Counter(
            "dropline_verified_bytes", "Bytes proved at a destination.", ["rule", "destination"], registry=self.registry
        )
        self._seconds = Histogram(
            "dropline_delivery_seconds",
            "From complete to proved.",
            ["destination"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "dropline_transport_requests", "What transports were asked, and what came of it.",
            ["destination", "operation", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._resubmissions = Counter(
            "dropline_resubmissions", "Deliveries sent again, and files found delivered already.",
            ["destination", "result"], registry=self.registry,
        )  # fmt: skip
        self._reclaimed = Counter(
            "dropline_reclaimed_bytes",
            "Bytes of local copies that the agent deleted.",
            ["rule"],
            registry=self.registry,
        )
        self._scrubbed = Counter(
            "dropline_scrubbed_bytes", "Bytes of copies that were read again, by how they were found.",
            ["destination", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._notices = Counter(
            "dropline_notices", "Attempts to send a message to people.", ["channel", "outcome"], registry=self.registry
        )
        self._routes: set[tuple[str, str]] = set()
        """(rule, destination) as configured."""
        info = Gauge("dropline_build_info", "The version that runs.", ["version", "python"], registry=self.registry)
        info.labels(version("dropline"), platform.python_version()).set(1)
        self._in_effect = Gauge(
            "dropline_config_last_reload_successful", "Whether the configuration file, as it is now, is in effect.",
            registry=self.registry,
        )  # fmt: skip
        self._in_effect.set(1)

    def configuration(self, in_effect: Callable[[], bool]) -> None:
        """Show whether the configuration file, as it is now, is in effect."""
        self._in_effect.set_function(in_effect)

    def announce(self, transitions: Sequence[Transition]) -> None:
        """Count transitions."""
        for (rule, event), count in Count((one.rule, one.event) for one in transitions if not one.destination).items():
            self._files.labels(rule, event).inc(count)
        proved = [one for one in transitions if one.seconds is not None]
        for (rule, destination), size in _sums(((one.rule, one.destination), one.size) for one in proved).items():
            self._bytes.labels(rule, destination).inc(size)
        for name in {one.destination for one in proved}:
            seconds, adopted = self._seconds.labels(name), 0
            for one in proved:
                if one.destination == name:
                    seconds.observe(max(one.seconds or 0.0, 0.0))
                    adopted += one.how == "adopted"
            if adopted:
                self._resubmissions.labels(name, "adopted").inc(adopted)
        for rule, size in _sums((one.rule, one.size) for one in transitions if one.event == "reclaimed").items():
            self._reclaimed.labels(rule).inc(size)

    def expect(self, rules: Sequence[Rule]) -> None:
        """Begin these at 0, and forget those of former rules: a rate needs a first value, and a last one."""
        routes = {(rule.name, target.to) for rule in rules for target in rule.deliver}
        for labels in self._routes - routes:
            self._bytes.remove(*labels)
        for labels in routes:
            self._bytes.labels(*labels)
        self._routes = routes

    def notified(self, channel: str, outcome: str) -> None:
        """A message to people was sent, or not: `sent`, `failed`."""
        self._notices.labels(channel, outcome).inc()

    def requested(self, destination: str, operation: str, outcome: str) -> None:
        """A transport was asked something."""
        self._requests.labels(destination, operation, outcome).inc()

    def scrubbed(self, destination: str, outcome: str, size: int) -> None:
        """A copy was read again."""
        self._scrubbed.labels(destination, outcome).inc(size)

    def resubmitted(self, destination: str, result: str) -> None:
        """A delivery that a former run left under way was sent again: accepted, a duplicate, or its task adopted."""
        self._resubmissions.labels(destination, result).inc()


def everything(metrics: Metrics, readings: "Readings") -> CollectorRegistry:
    """What the agent has to say: counters and gauges. For one thread: the one that owns the readings' ledger."""
    registry = CollectorRegistry()
    registry.register(metrics.registry)
    registry.register(readings)
    return registry


def with_process(registry: CollectorRegistry) -> CollectorRegistry:
    """The same, and what the agent's own process uses, under the names that every exporter has for it (process_*)."""
    ProcessCollector(registry=registry)
    return registry


class Readings(Collector):
    """Gauges, read from the ledger and the watches at scrape time."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[Rule], roots: Sequence[Root], destinations: Mapping[str, str],
        clock: Callable[[], float], expiries: Mapping[str, Callable[[], float | None]], inspector: FileInspector,
    ) -> None:  # fmt: skip
        """`destinations`: name → address. `expiries`: destination → when its login dies unless it is used."""
        self._ledger = ledger
        self._rules = rules
        self._roots = roots
        self._destinations = destinations
        self._clock = clock
        self._expiries = expiries
        self._inspector = inspector
        self._families = Bulkhead[Callable[[], Iterable[Metric]]]("metrics", lambda read: read.__name__)
        self._expiring = Bulkhead[str]("login of destination", str)
        self._standing = Bulkhead[Standing]("metrics of destination", lambda one: one.destination)
        self._watched = Bulkhead[tuple[Root, Rule]]("metrics of rule", lambda one: one[1].name)

    def collect(self) -> Iterable[Metric]:
        """All families."""
        readings = (
            self._of_files, self._of_outbox, self._of_notices, self._of_destinations, self._of_scrubs, self._of_roots
        )  # fmt: skip
        for one in self._families.each(readings):
            found: list[Metric] = []
            with one as family:
                found += family()
            yield from found
        read = GaugeMetricFamily(
            "dropline_read_timestamp_seconds",
            "When these values were read: in a text file, when the agent last wrote it.",
        )
        read.add_metric([], time.time())  # others compare it with their own clock
        yield read

    def _of_files(self) -> Iterable[Metric]:
        now = self._clock()
        tally = {(rule, state): (files, size) for rule, state, files, size in self._ledger.reports.tally()}
        files = GaugeMetricFamily(
            "dropline_backlog_files", "Files that are not verified yet.", labels=["rule", "state"]
        )
        size = GaugeMetricFamily("dropline_backlog_bytes", "Bytes that are not verified yet.", labels=["rule", "state"])
        refused = GaugeMetricFamily("dropline_refused_files", "Files for which a person must act.", labels=["rule"])
        for rule in self._rules:
            for state in BACKLOG:
                count, held = tally.get((rule.name, state), (0, 0))
                files.add_metric([rule.name, state], count)
                size.add_metric([rule.name, state], held)
            refused.add_metric([rule.name], tally.get((rule.name, State.REFUSED.value), (0, 0))[0])
        yield from (files, size, refused)
        oldest = GaugeMetricFamily(
            "dropline_oldest_unverified_seconds", "Age of the oldest file that is not verified yet; 0 where there is none.",
            labels=["rule"],
        )  # fmt: skip
        seen = self._ledger.reports.oldest_unverified()
        for rule in self._rules:
            oldest.add_metric([rule.name], max(now - seen[rule.name], 0.0) if rule.name in seen else 0.0)
        yield oldest
        longest = GaugeMetricFamily(
            "dropline_longest_wait_seconds",
            "Longest time for which anything that is not verified has stood unchanged; 0 where there is none.",
            labels=["rule"],
        )  # fmt: skip
        since = self._ledger.reports.unchanged_since()
        for rule in self._rules:
            longest.add_metric([rule.name], max(now - since.get(rule.name, now), 0.0))
        yield longest
        last = GaugeMetricFamily(
            "dropline_last_verified_timestamp_seconds", "When a batch was last verified.", labels=["rule"]
        )
        for name, at in self._ledger.reports.last_verified().items():
            last.add_metric([name], at)
        yield last

    def _of_outbox(self) -> Iterable[Metric]:
        pending = GaugeMetricFamily(
            "dropline_outbox_pending", "Batches for which an action is not done yet.", labels=["rule", "action"]
        )
        kinds = {(rule.name, name): action.kind for rule in self._rules for name, action in rule.actions.items()}
        found = dict.fromkeys(((rule, kind) for (rule, _), kind in kinds.items()), 0)
        for rule, action, count, *_ in self._ledger.outbox.actions():
            if (rule, action) in kinds:
                found[rule, kinds[rule, action]] += count
        for labels, count in found.items():
            pending.add_metric(labels, count)
        yield pending

    def _of_notices(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("dropline_notices_pending", "Messages to people that are not sent yet.")
        waiting.add_metric([], sum(one.calls for one in self._ledger.outbox.messages()))
        yield waiting

    def _of_destinations(self) -> Iterable[Metric]:
        deliveries = GaugeMetricFamily("dropline_deliveries", "Deliveries per state.", labels=["destination", "state"])
        for name, state, count in self._ledger.reports.deliveries():
            deliveries.add_metric([name, state], count)
        yield deliveries
        up = GaugeMetricFamily(
            "dropline_destination_up", "Whether the destination can be written to.", labels=["destination"]
        )
        for name, _, is_up, _ in self._ledger.reports.destinations():
            if name in self._destinations:
                up.add_metric([name], float(bool(is_up)))
        yield up
        expiry = GaugeMetricFamily(
            "dropline_credentials_expiry_timestamp_seconds", "When the login of a destination dies unless it is used.",
            labels=["destination"],
        )  # fmt: skip
        for each in self._expiring.each(self._expiries):
            with each as name:
                at = self._expiries[name]()
                if at is not None:
                    expiry.add_metric([name], at)
        yield expiry

    def _of_scrubs(self) -> Iterable[Metric]:
        last = GaugeMetricFamily(
            "dropline_scrub_last_timestamp_seconds", "When a copy was last read again.", labels=["destination"]
        )
        oldest = GaugeMetricFamily(
            "dropline_oldest_proof_timestamp_seconds", "When the copy that was read longest ago was read or, if never, proved.",
            labels=["destination"],
        )  # fmt: skip
        findings = GaugeMetricFamily(
            "dropline_scrub_findings", "Copies that are not what was proved, and that nobody has settled.",
            labels=["destination", "kind"],
        )  # fmt: skip
        standings = [
            one for one in self._ledger.scrubs.standings() if self._destinations.get(one.destination) == one.address
        ]
        for each in self._standing.each(standings):
            with each as one:
                for family, at in ((last, one.last_at), (oldest, one.oldest_at)):
                    if at is not None:
                        family.add_metric([one.destination], at)
                for copy_status in CopyStatus:
                    if not copy_status.well:
                        findings.add_metric(
                            [one.destination, copy_status.value], one.findings.get(copy_status.value, 0)
                        )
        yield from (last, oldest, findings)

    def _of_roots(self) -> Iterable[Metric]:
        lost = CounterMetricFamily(
            "dropline_events_lost", "How often file events were lost, or may have been.", labels=["rule"]
        )
        found = CounterMetricFamily("dropline_files_found_by_sweep", "Files that events had missed.", labels=["rule"])
        up = GaugeMetricFamily("dropline_watch_up", "Whether file events come.", labels=["rule"])
        canary = GaugeMetricFamily(
            "dropline_canary_age_seconds", "Since an event last came through for sure.", labels=["rule"]
        )
        skew = GaugeMetricFamily("dropline_clock_skew_seconds", "The file system's clock minus ours.", labels=["rule"])
        took = GaugeMetricFamily("dropline_sweep_seconds", "How long the last sweep took.", labels=["rule"])
        last = GaugeMetricFamily("dropline_last_sweep_timestamp_seconds", "When the last sweep ended.", labels=["rule"])
        unseen = GaugeMetricFamily(
            "dropline_unseen_directories", "Directories that cannot be listed, or not as a whole.", labels=["rule"]
        )
        free = GaugeMetricFamily("dropline_source_free_bytes", "Free space at the watched directory.", labels=["rule"])
        now = self._clock()
        for each in self._watched.each((root, rule) for root in self._roots for rule in root.rules):
            with each as (root, rule):
                name, space = [rule.name], self._inspector.space(rule.watch)
                lost.add_metric(name, root.watch.lost)
                found.add_metric(name, root.found_by_sweep.get(rule.name, 0))
                up.add_metric(name, float(root.watch.up))
                took.add_metric(name, root.sweep_seconds)
                below = rule.watch.rstrip("/") + "/"
                unseen.add_metric(name, sum(f"{path}/".startswith(below) for path in root.unseen or ()))
                for family, value in (
                    (canary, None if root.watch.canary_at is None else now - root.watch.canary_at),
                    (skew, root.watch.skew),
                    (last, root.swept_at),
                    (free, None if space is None else float(space.free)),
                ):
                    if value is not None:
                        family.add_metric(name, value)
        yield from (lost, found, up, canary, skew, took, last, unseen, free)
