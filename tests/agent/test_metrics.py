"""Counters begin where a rate can see them begin."""

from prometheus_client import generate_latest

from agent.ledger import Transition
from agent.observe.metrics import Metrics
from rules.rule import Rule, Target


def verified(metrics: Metrics) -> list[str]:
    """The samples of what was verified."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return sorted(line for line in lines if line.startswith("dropline_verified_bytes_total{"))


def test_each_rule_and_destination_begins_at_zero_and_former_ones_go() -> None:
    """Across changes of the configuration; what is kept keeps its count."""
    metrics = Metrics()
    rules = [Rule("a", "/a", deliver=(Target("share"), Target("campus"))), Rule("b", "/b", deliver=(Target("share"),))]
    metrics.expect(rules)
    metrics.announce([Transition("a", "proved", "/a/x", size=7, destination="share", seconds=1.0, how="accepted")])
    assert verified(metrics) == [
        'dropline_verified_bytes_total{destination="campus",rule="a"} 0.0',
        'dropline_verified_bytes_total{destination="share",rule="a"} 7.0',
        'dropline_verified_bytes_total{destination="share",rule="b"} 0.0',
    ]
    metrics.expect([Rule("a", "/a", deliver=(Target("share"), Target("mirror")))])
    assert verified(metrics) == [
        'dropline_verified_bytes_total{destination="mirror",rule="a"} 0.0',
        'dropline_verified_bytes_total{destination="share",rule="a"} 7.0',
    ]
