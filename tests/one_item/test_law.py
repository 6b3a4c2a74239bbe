"""The law of bulkheads: whatever the handling of one item raises, wherever it is handled, all others go on in the same pass.

The places are found by `tests.one_item`: each function of the agent that is called with a bad item only.
"""

import itertools
import json
import logging
import shutil
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any
from zlib import crc32

import pytest

from agent.files import LOCAL
from agent.files.events import Hint
from agent.intake import Intake
from agent.intake.watch import Watch
from agent.ledger import MEMORY, Ledger, State
from tests import configured
from tests.one_item import BAD, after, failing, noting, pages, service
from tests.one_item.site import T0, Acting, Site


class Silent:
    """Events that do not come: the scenes give the hints."""

    alive = True

    def close(self) -> None:
        """There is nothing to end."""


def intake(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Sweeps, hints, candidates, datasets and batches, also of names and directories that go away."""
    patch.setattr("agent.intake.scan.CHUNK", 3)
    data, trouble = root / "data", []
    rules = [
        {"name": "plain", "watch": str(data / "plain"), "complete": {"quiet": "0s", "marker": "*.done"}},
        {"name": "sets", "watch": str(data / "sets"), "complete": {"quiet": "0s", "require": [{"marker": "../{name}.done"}]},
         "dataset": {"dir": "[^/]+"}},
        {"name": BAD, "watch": str(data / BAD), "complete": {"quiet": "0s"}},
    ]  # fmt: skip
    with ExitStack() as stack:
        ledger = Ledger(MEMORY)
        stack.callback(ledger.close)
        known = configured.rules({"rules": [{"deliver": [{"to": "share"}]} | rule for rule in rules]})
        watches = [Watch(LOCAL, str(data / name), lambda: None, lambda *_: Silent()) for name in ("plain", "sets", BAD)]
        for watch in watches:
            stack.callback(watch.close)
        place = ledger.destinations.place("share", "/share").id
        part = Intake(ledger, LOCAL, known, watches, {"share": place}, "pc", 60.0, 30.0, lambda: T0, lambda: None)

        def passes(now: float) -> None:
            for _ in range(8):
                try:
                    part.step(now)
                except Exception as error:  # noqa: BLE001  (as the worker that runs the passes)
                    trouble.append(error)

        def hint(watch: Watch, *hints: Hint) -> None:
            try:
                watch._put(hints)
            except RuntimeError:
                pass  # it ends a thread that is only of this directory, which is begun again

        def put(*names: str) -> None:
            for name in names:
                path = data / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")

        for name in ("plain", "sets", BAD):
            (data / name).mkdir(parents=True)
        with acting():
            part.start(T0)
            put(
                "plain/1.h5", "plain/rotten.h5", "plain/2.h5", "plain/3.h5", "plain/4.h5", "plain/1.h5.done", f"{BAD}/1"
            )
            put("plain/run-rotten/1.h5", "plain/run/1.h5", "plain/run/0rotten.h5")
            put("sets/good/1", "sets/rotten/1", "sets/good.done", "sets/rotten.done")
            passes(T0)
            put("plain/new.h5", "plain/new-rotten.h5", f"{BAD}/2", "sets/late/1", "sets/late-rotten/1")
            for watch, names in ((0, ("plain/new.h5", "plain/new-rotten.h5", "plain/1.h5")), (2, (f"{BAD}/2",))):
                hint(watches[watch], *(Hint(f"{data}/{name}") for name in names))
            hint(watches[1], Hint(f"{data}/sets/late", below=True), Hint(f"{data}/sets/late-rotten", below=True))
            passes(T0 + 1.0)
            (data / "plain/2.h5").unlink()
            (data / "plain/rotten.h5").unlink()
            shutil.rmtree(data / "plain/run")
            shutil.rmtree(data / "plain/run-rotten")
            (data / "plain/new.h5").write_bytes(b"longer")
            (data / "plain/new-rotten.h5").write_bytes(b"longer")
            for watch in watches:
                hint(watch, Hint(f"{watch.root}/gone", gone=True), Hint(f"{watch.root}/gone-rotten", gone=True))
            passes(T0 + 61.0)
        files = ledger.reports.files(list(State), 100)
        return {"trouble": trouble} | {
            f"{file.path[len(str(data)) :]} {file.version.size}": str(file.state)
            for file in files
            if BAD not in file.path[len(str(data)) :]
        }


def delivery(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Batches to destinations: small and large files, names that are taken, files that changed or went away, what follows."""
    patch.setattr("agent.destinations.directory.parts.SMALL", 10)
    then = {"then": [{"command": ["true"]}]}
    deliver = {"deliver": [{"to": "share", "path": "{rule}/{relpath}"}, {"to": BAD}]}
    with Site(root, patch, [{"name": "plain"}, {"name": "then"} | then, {"name": BAD} | then | deliver]) as site:
        names = [
            f"{name}{end}"
            for name in ("small", "large", "taken", "same", "changed", "gone", "late")
            for end in ("", "-rotten")
        ]
        site.put(*(f"plain/{name}.h5" for name in names), "then/1", f"{BAD}/1")
        site.put("plain/large.h5", "plain/large-rotten.h5", content=b"large content")
        for name, content in (("taken", b"other"), ("same", b"content")):
            for end in ("", "-rotten"):
                path = root / f"to-share/plain/{name}{end}.h5"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
        site.take_in(T0)
        for end in ("", "-rotten"):
            (site.data / f"plain/changed{end}.h5").write_bytes(b"longer content")
            (site.data / f"plain/gone{end}.h5").unlink()
        for part in site.parts.deliverers.values():
            part.start(T0)
        with acting():
            site.deliver(T0)
            site.deliver(T0 + 0.9)
        waiting = [(one.rule, one.calls) for one in site.ledger.outbox.actions() if one.rule != BAD]
        up = {name: (up, why) for name, _, up, why in site.ledger.reports.destinations() if name != BAD}
        return {"trouble": site.trouble, "waiting": waiting, "up": up, **site.files, **site.copies}


def reclaim(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Removals at once and by way of the trash; files that changed, copies that are lost, removals that a former run began."""
    keys = {"after": "0s", "min_age": "0s", "empty_dirs": True}
    with Site(root, patch, [
        {"name": "plain", "reclaim": keys}, {"name": "trash", "reclaim": keys | {"trash": "1d"}}, {"name": BAD, "reclaim": keys},
        {"name": "sets", "reclaim": keys, "dataset": {"dir": "[^/]+"}},
    ]) as site:  # fmt: skip
        for name in ("gone", "changed", "lost", "sub/gone"):
            site.put(*(f"{rule}/{name}{end}.h5" for rule in ("plain", "trash") for end in ("", "-rotten")))
        site.put(f"{BAD}/1", "sets/good/1", "sets/good/2", "sets/set-rotten/1", "sets/set-rotten/2")
        site.take_in(T0)
        site.deliver(T0)
        for rule in ("plain", "trash"):
            for end in ("", "-rotten"):
                (site.data / f"{rule}/changed{end}.h5").write_bytes(b"another content")
                (root / f"to-share/{rule}/lost{end}.h5").unlink()
        reclaimer = site.parts.reclaimer
        with acting():
            site.passes(lambda now: list(reclaimer.plan(now)), T0, 1)
            site.passes(reclaimer.start, T0, 1)
            site.passes(reclaimer.step, T0 + 0.5, 2)
            for end in ("", "-rotten"):
                for path in site.data.rglob(f"trash/.dropline-trash/*/sub/gone{end}.h5"):
                    path.write_bytes(b"written in the trash")
            site.passes(reclaimer.start, T0 + 0.9, 1)
            site.passes(reclaimer.step, T0 + 100_000, 2)
        paths = [path for path in site.data.rglob("*") if path.is_file() and not path.name.startswith(".dropline")]
        here = [str(path.relative_to(site.data)) for path in paths]
        lines = (root / "state/deletions.jsonl").read_text().splitlines()
        record = [json.loads(line)["file"].removeprefix(str(root)) for line in lines]
        return {
            "trouble": site.trouble, "here": sorted(name for name in here if BAD not in name),
            "record": sorted(name for name in record if BAD not in name), **site.files,
        }  # fmt: skip


_OF_SEVERAL = {
    "notices": {"agent.ledger.store._stored"},
    "globus": {"agent.destinations.globus.tasks._paths"},
    "page": {"agent.observe.waiting.Reasons.of"},
}
"""Places that get one value for good and bad items together: a message lists all refused files, and the error of a task is
all that says which of its files keeps it from ending, and a folder that waits says what one of its files waits for."""
SCENES = {"intake": intake, "delivery": delivery, "reclaim": reclaim} | after.SCENES | service.SCENES | pages.SCENES


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_what_one_item_raises_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scene: str
) -> None:
    """Wherever a bad item is handled, and whether that fails before or after its work: the others fare as without it."""
    roots = (tmp_path / str(number) for number in itertools.count())
    caplog.set_level(logging.CRITICAL, "agent")

    def run(acting: Acting) -> dict[str, Any]:
        root = next(roots)
        try:
            return SCENES[scene](root, monkeypatch, acting)
        finally:
            shutil.rmtree(root)

    places: set[FunctionType] = set()
    assert run(lambda: noting(places))["trouble"] == []
    well = run(nullcontext)
    wrong: dict[str, object] = {}
    for function in places:
        name = f"{function.__module__}.{function.__qualname__}"
        if name in _OF_SEVERAL.get(scene, ()):
            continue
        found = run(partial(failing, function, late=bool(crc32(name.encode()) & 1)))
        if found != well:
            wrong[name] = {
                key: (well.get(key), found.get(key)) for key in {**well, **found} if found.get(key) != well.get(key)
            }
    for key, value in wrong.items():
        print(key, value)
    assert wrong == {}
