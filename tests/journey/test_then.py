"""`then` and `share_with` as a user meets them: configuration, status, retry, the page, metrics, login."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.receiver import Receiver

if TYPE_CHECKING:
    from tests.journey.conftest import Site


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes webhooks."""
    with Receiver() as made:
        yield made


def then(site: Site, *actions: dict[str, Any], **keys: Any) -> None:
    """The rule does this."""
    agent = keys.pop("agent", None)
    site.configure(site.rule(then=list(actions), **keys), agent=agent)


def test_once_does_what_is_to_be_done_and_ends(site: Site, receiver: Receiver) -> None:
    """Both kinds, for both batches; relative programs count from the configuration's folder."""
    program = site.root / "after.sh"
    program.write_text('#!/bin/sh\ncat >> told; echo "$DROPLINE_BATCH" >> batches\n')
    program.chmod(0o755)
    then(site, {"webhook": f"{receiver.url}/hook"}, {"command": ["./after.sh"]})
    site.put("run1/a.dat", b"a")
    site.put("run2/b.dat", b"b")
    assert site.once() == 0
    ids = sorted(one.event["data"]["batch"] for one in receiver.received)
    assert sorted((site.root / "batches").read_text().split()) == ids
    assert len(ids) == 2
    assert site.status()["outbox"] == []
    assert site.once() == 0
    assert len(receiver.received) == 2, "each once"


def test_status_says_what_waits_and_retry_tries_it_at_once(site: Site, receiver: Receiver) -> None:
    """Text, JSON and exit codes, until it is done."""
    receiver.answers = [(500, {})]
    then(
        site,
        {"webhook": receiver.url, "name": "hook"},
        {"command": [sys.executable, "-c", "raise SystemExit('no licence')"], "name": "after"},
    )
    site.put("a.dat", b"a")
    assert site.once() == 1
    told = site.dropline("status")
    assert told.code == 1
    assert f": 1 failed, {receiver.url} answered 500" in told.out
    assert f"1 failed, {sys.executable} ended with exit status 1: no licence" in told.out
    waiting = site.status()["outbox"]
    assert [(one["rule"], one["action"], one["waiting"], one["failed"]) for one in waiting] == [
        ("r", "hook", 1, 1), ("r", "after", 1, 1),
    ]  # fmt: skip
    assert site.dropline("retry").out == (
        "0 files and 0 deliveries, and 2 actions for verified batches, will be tried again\n"
    )
    assert site.once() == 1
    first, second = receiver.received
    assert first.body == second.body
    assert [one["action"] for one in site.status()["outbox"]] == ["after"]
    then(site, {"webhook": receiver.url, "name": "hook"})
    assert site.once() == 0, "what the rule does not have any more is given up"
    assert site.dropline("status").code == 0


def test_a_running_agent_tells_at_once_and_shows_what_fails(site: Site, receiver: Receiver) -> None:
    """The event comes with the proof; the page, the metric and the log tell of failures; retry reaches the running agent."""
    receiver.answers = [(503, {"Retry-After": "3600"})]
    then(site, {"webhook": f"{receiver.url}/T0/hidden", "name": "hook"}, agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    site.put("a.dat", b"a")
    site.until(lambda: len(receiver.received) == 1, "the event")
    agent.logs(f"hook of rule r for batch 1 failed and will be tried again: {receiver.url} answered 503")
    site.until(
        lambda: f'1 failed, tried again</span><span class="why">{receiver.url} answered 503' in agent.get("/").body,
        "the page",
    )
    assert 'dropline_outbox_pending{action="webhook",rule="r"} 1.0' in agent.get("/metrics").body
    assert json.loads(agent.get("/status.json").body)["outbox"][0]["failed"] == 1
    assert agent.get("/healthz").status == 200, "a restart would not help"
    site.dropline("retry")
    site.until(lambda: len(receiver.received) == 2, "the second attempt")
    site.until(lambda: 'pending{action="webhook",rule="r"} 0.0' in agent.get("/metrics").body, "done")
    assert agent.stop() == 0
    assert "hidden" not in agent.log()


def test_an_agent_with_a_command_that_hangs_stops_in_time(site: Site) -> None:
    """Other actions go on meanwhile; stopping kills it, and the next run does it again."""
    hang = site.root / "hang"
    program = (
        f"import os, time; new = not os.path.exists({str(hang)!r});"
        f" open({str(hang)!r}, 'a').write('x'); new and time.sleep(1000)"
    )
    then(
        site,
        {"command": [sys.executable, "-c", program], "name": "hangs"},
        {"command": ["touch", str(site.root / "other")]},
    )
    agent = site.start()
    site.put("a.dat", b"a")
    site.until(lambda: hang.exists() and hang.read_text() == "x", "the start")
    site.until((site.root / "other").exists, "the other one")
    assert agent.stop() == 0
    assert [one["action"] for one in site.status()["outbox"]] == ["hangs"]
    assert site.once() == 0
    assert hang.read_text() == "xx"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"then": [{"webhook": "gopher://x"}]}, "then.0.webhook: the webhook is no address such as"),
        ({"then": [{"command": "echo hello"}]}, "then.0.command: write a list, [ ... ]"),
        ({"share_with": ["ada@example.org"]}, "share_with: none of the rule's destinations is Globus"),
    ],
)
def test_a_bad_configuration_is_one_line(site: Site, keys: dict[str, Any], says: str) -> None:
    """At `check` and at the start, with exit code 2."""
    site.configure(site.rule(**keys))
    for words in (("check",), ("run", "--once")):
        done = site.dropline(*words)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert says in done.err


def test_check_says_what_will_be_done(site: Site) -> None:
    """In words, without what may be secret."""
    then(site, {"webhook": "https://example.org/T0/hidden"}, {"command": ["./after.sh"]})
    told = site.dropline("check").out
    assert "then, for each verified batch, posts a CloudEvent to https://example.org," in told
    assert f"then, for each verified batch, runs {site.root / 'after.sh'} with the event" in told
    assert "hidden" not in told
