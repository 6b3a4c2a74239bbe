"""Scenes of the law of bulkheads: what follows a delivery, what a person starts, and what is shown."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.parts import scrubber_of
from agent.app.replan import Replan
from agent.by_hand import inbound
from agent.by_hand.outbound import Outbound
from agent.files import LOCAL
from agent.host.rate_limiter import limited
from agent.ledger import State
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Readings
from tests.one_item import BAD
from tests.one_item.site import T0, Acting, Site

_ENDS = ("", f"-{BAD}")
_PATIENCE = 10.0


def scrub(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Copies that are as they were, changed, missing, back again; with and without their local file."""
    share = {"path": str(root / "to-share"), "mounted": False, "scrub": {"per_day": "1TB", "every": "1h"}}
    with Site(root, patch, [{"name": "plain"}], destinations={"share": share}) as site:
        site.put(*(f"plain/{name}{end}.h5" for name in ("well", "changed", "lost", "only") for end in _ENDS))
        site.take_in(T0)
        site.deliver(T0)
        for end in _ENDS:
            (root / f"to-share/plain/changed{end}.h5").write_bytes(b"another")
            (root / f"to-share/plain/lost{end}.h5").unlink()
            (root / f"to-share/plain/only{end}.h5").write_bytes(b"another")
            (site.data / f"plain/only{end}.h5").unlink()
        scrubber = site.parts.scrubbers[scrubber_of("share")]
        with acting():
            site.passes(scrubber.step, T0 + 10_000, 2)
            for end in _ENDS:
                (root / f"to-share/plain/only{end}.h5").write_bytes(b"content")
            site.passes(scrubber.step, T0 + 200_000, 2)
            site.passes(scrubber.step, T0 + 400_000, 2)
        found = {one.copy.path: one.copy_status.value for one in site.ledger.scrubs.open() if BAD not in one.copy.path}
        sealed = {one.reason for one in site.ledger.reports.batches(100)}
        return {"trouble": site.trouble, "found": found, "sealed": len(sealed), **site.files}


def outbox(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Actions for verified batches, one of which fails."""
    patch.setattr(threading, "excepthook", lambda _: None)  # the thread of the bad call may end by what it raises
    rules = [
        {"name": name, "then": [
            {"command": ["touch", str(root / f"done-{name}")], "name": f"{name}-touch"},
            {"command": ["false"], "name": f"{name}-false"},
        ]}
        for name in ("plain", BAD)
    ]  # fmt: skip
    with Site(root, patch, rules) as site:
        site.put("plain/1", f"{BAD}/1")
        site.take_in(T0)
        site.deliver(T0)
        part = site.parts.dispatcher
        with acting():
            site.passes(part.start, T0, 1)
            for now in (T0, T0 + 100.0):
                until = time.monotonic() + _PATIENCE
                site.passes(part.step, now, 1)
                while any(BAD not in key[0] for key in part._under_way) and time.monotonic() < until:
                    site.woken.wait(0.2)
                    site.woken.clear()
                    site.passes(part.step, now, 1)
        waiting = [(one.name, one.failed, one.reason) for one in site.ledger.outbox.actions() if BAD not in one.rule]
        return {"trouble": site.trouble, "waiting": waiting, "done": (root / "done-plain").exists()}


def notices(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Destinations that go down and come back, and refused files."""
    with Site(
        root, patch, [{"name": "plain", "deliver": [{"to": "share"}, {"to": BAD}]}],
        notify={"after": "1m", "webhook": {"url": "http://127.0.0.1:9/"}},
    ) as site:  # fmt: skip
        site.put("plain/good.h5", f"plain/{BAD}.h5")
        site.take_in(T0)
        known = {name: site.place(name) for name in ("share", BAD)}
        files = site.ledger.reports.files(list(State), 10)
        notifier = site.parts.notifier
        with site.ledger.transaction():
            site.ledger.files.refused([(one.id, one.rule, one.path, f"no: {one.path}") for one in files])
            for name, number in known.items():
                site.ledger.destinations.went(number, False, f"{name} is away", T0)
        with acting():
            site.passes(notifier.start, T0, 1)
            for later in (1.0, 100.0, 200.0, 4000.0):
                site.passes(notifier.step, T0 + later, 1)
            with site.ledger.transaction():
                for number in known.values():
                    site.ledger.destinations.went(number, True, None, T0 + 4001.0)
            for later in (4002.0, 4100.0):
                site.passes(notifier.step, T0 + later, 1)
        rows = site.ledger.execute("SELECT payload FROM outbox WHERE rule = '' ORDER BY id").fetchall()
        lines = [line for (one,) in rows for line in "\n".join(json.loads(one)).split("\n")]
        told = {line.replace(str(root), "") for line in lines if "share" in line or "good.h5" in line}
        # Subjects count and list what the message is about.
        return {"trouble": site.trouble, "told": sorted(one for one in told if BAD not in one and one[:1] != "[")}


def replan(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Files that wait, travel, and were delivered, when an edit gives some of them to another rule and drops others."""
    with Site(root, patch, [{"name": "plain"}]) as site:
        site.put(*(f"plain/{name}{end}.h5" for name in ("left", "moved", "stays") for end in _ENDS))
        site.take_in(T0)
        site.deliver(T0)
        site.put(*(f"plain/later/{name}{end}.h5" for name in ("left", "moved", "stays") for end in _ENDS))
        site.take_in(T0 + 100.0)
        plain = {"watch": str(site.data / "plain"), "deliver": [{"to": "share", "path": "{rule}/{relpath}"}]}
        edited = check(
            {
                "agent": {"state_dir": str(root / "state")},
                "destinations": {name: {"path": str(path), "mounted": False} for name, path in site.shares.items()},
                "rules": [
                    plain | {"name": "other", "include": ["**/moved*"]},
                    plain | {"name": "plain", "include": ["**/stays*"]},
                ],
            },
            "test", root,
        )  # fmt: skip
        places = {name: site.place(name) for name in site.shares}
        with acting():
            part = Replan(site.ledger, edited.rules, places, "host", lambda batch, at: None)
            site.passes(part.start, T0 + 200.0, 1)
            site.passes(part.step, T0 + 200.0, 4)
        rules = {
            file.path[len(str(site.data)) :]: file.rule
            for file in site.ledger.reports.files(list(State), 100)
            if BAD not in file.path[len(str(site.data)) :]
        }
        return {"trouble": site.trouble, "rules": rules, **site.files}


def by_hand(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Files that a person sends and fetches."""
    with Site(root, patch, [{"name": "plain"}]) as site:
        site.put(*(f"send/{name}{end}.h5" for name in ("1", "2", "3") for end in _ENDS))
        place, target = site.place("share"), root / "target"
        for path in (target, root / "away/sub"):
            path.mkdir(parents=True)
        for name in (f"{name}{end}" for name in ("1", "sub/2") for end in _ENDS):
            (root / f"away/{name}.h5").write_bytes(b"content")
        done: list[inbound.Fetched] = []

        def send(now: float) -> None:
            clock = [now]
            outbound = Outbound(LOCAL, lambda: clock[0], lambda seconds: clock.append(clock.pop() + seconds))
            outbound.seal(site.ledger, place, outbound.complete(outbound.gather([str(site.data / "send")])), now)

        def fetch(now: float) -> None:
            done.append(inbound.fetch(str(root / "away"), None, "", str(target), "key", limited([])))

        with acting():
            site.passes(send, time.time() + 1000.0, 1)
            site.passes(fetch, T0, 1)
        fetched = {name: size for one in done for name, size in one.arrived.items() if BAD not in name}
        return {"trouble": site.trouble, "fetched": fetched, **site.files}


def shown(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Metrics of rules and destinations."""
    deliver = {"deliver": [{"to": "share"}, {"to": BAD}]}
    with Site(root, patch, [{"name": "plain"}, {"name": BAD} | deliver]) as site:
        site.put("plain/1", f"{BAD}/1")
        site.take_in(T0)
        site.deliver(T0)
        patch.setattr(FileInspector, "space", lambda looks, path: LOCAL.space(path))
        looks = FileInspector(lambda: T0, [])
        addresses = {name: table.address for name, table in site.config.settings.destinations.items()}
        expiries = {name: (lambda name=name: _expiry(name)) for name in (BAD, "share")}
        made = Readings(site.ledger, site.config.rules, site.parts.intake.roots, addresses, lambda: T0, expiries, looks)
        samples: set[tuple[str, str]] = set()

        def collect(now: float) -> None:
            samples.update((one.name, str(one.labels)) for family in made.collect() for one in family.samples)

        with acting():
            site.passes(collect, T0, 1)
        # Which states a delivery went through depends on who was faster.
        samples = {one for one in samples if BAD not in one[1] and one[0] != "dropline_deliveries"}
        return {"trouble": site.trouble, "samples": sorted(samples)}


def _expiry(name: str) -> float:
    """When a login dies."""
    if name == BAD:
        raise RecursionError
    return T0


SCENES = {one.__name__: one for one in (scrub, outbox, notices, replan, by_hand, shown)}
