"""Scenes of the law of bulkheads: files that go through a transfer service, and files that are fetched through it."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.by_hand.fetch import Fetch
from agent.destinations.globus.copies import Copies
from agent.ledger import Ledger
from tests.agent.test_globus import SUBMIT, Rig
from tests.globus import Globus
from tests.one_item import BAD
from tests.one_item.site import Acting

_ENDS = ("", f"-{BAD}")
_PASSES = 60


def _both(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in _ENDS]


def _weaker(page: dict[str, Any]) -> dict[str, Any]:
    """The list of what arrived, which has no checksum for some files."""
    lines = [one | {"checksum": None} if "weak" in one["destination_path"] else one for one in page["DATA"]]
    return page | {"DATA": lines}


def globus(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Files that arrive, are there already, change, go away, are skipped, or keep a task from ending; former copies set aside."""
    patch.setattr("os.fsync", lambda fd: None)
    patch.setattr("agent.destinations.globus.listing._LOOKED_THROUGH", 3)
    root.mkdir()
    with Globus() as service:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        rig = Rig(service, root)
        rig.options = {"checksum": "md5"}
        rig.close()
        rig.ledger = Ledger(str(root / "ledger.sqlite"))
        rig.start()
        trouble: list[Exception] = []

        def passes(good: int) -> None:
            for _ in range(_PASSES):
                try:
                    rig.step()
                except Exception as error:  # noqa: BLE001  (as the worker that runs the passes)
                    trouble.append(error)
                states = [state for name, state in rig.states().items() if BAD not in name]
                if sum(state != "batched" for state in states) == good:
                    return

        again = _both("again")
        for name in again:
            rig.put(name, b"former measurement")
        rig.seal(*again)
        passes(len(again) // 2)
        names = _both(
            "d/well", "d/adopted", "d/taken", "d/changed", "d/gone", "d/skipped", "d/weak", "d/left", "few/lost", "a\nb"
        )
        for name in names:
            rig.put(name, name.encode())
            if "adopted" in name or "taken" in name:
                (rig.share / name).parent.mkdir(exist_ok=True)
                (rig.share / name).write_bytes(b"another" if "taken" in name else name.encode())
                os.utime(rig.share / name, (0, 0) if "taken" in name else (os.stat(rig.data / name).st_mtime,) * 2)
        for name in again:
            os.unlink(rig.data / name)
            rig.put(f"{name}.new", b"another").rename(rig.data / name)
        stuck = _both("stuck/one", "stuck/two")
        for name in stuck:
            rig.put(name, name.encode())
        rig.seal(*names, *again)
        rig.seal(*stuck)
        for end in _ENDS:
            rig.put(f"d/changed{end}", b"longer than it was")
            (rig.data / f"d/gone{end}").unlink()
            code = (
                "FILE_NOT_FOUND" if end else "PERMISSION_DENIED"
            )  # one code for all files is the collection's own trouble
            service.faults.file(f"*/skipped{end}", code)
            service.faults.file(f"*/stuck/one{end}", "IS_A_DIRECTORY")

        def listed(page: dict[str, Any]) -> dict[str, Any]:
            if any("d/left" in one["destination_path"] for one in page["DATA"]):
                for name in _both("d/left"):
                    (rig.data / name).unlink(missing_ok=True)
            return _weaker(page)

        service.faults.twist("GET */successful_transfers", listed, None)
        service.faults.before(SUBMIT, lambda: [(rig.data / name).unlink() for name in _both("few/lost")], 1)
        versions = {name: rig.ledger.files.history(str(rig.data / name))[-1].version for name in names}
        found = {}
        with acting():
            passes(len(again + names + stuck) // 2)
            copies = Copies("campus", rig.transport._ask, rig.transport._collection_path)
            identity = rig.deliverer._health.identity or ""
            for name, version in versions.items():
                try:
                    found[name] = copies.reread(name, version, identity, rig.now).copy_status.value
                except Exception as error:  # noqa: BLE001
                    found[name] = repr(error)
        states = {name: f"{state} {rig.evidence(name)} {rig.reason(name)}" for name, state in rig.states().items()}
        rig.close()
        return {
            "trouble": trouble,
            "states": {name: state for name, state in states.items() if BAD not in name},
            "there": {name: content for name, content in rig.there.items() if BAD not in name},
            "found": {name: status for name, status in found.items() if BAD not in name},
        }


def globus_fetch(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """Files and directories that a person fetches: some are here already, or something else is."""
    patch.setattr("agent.destinations.globus.request.TASK_FILES", 2)
    root.mkdir()
    (root / "state").mkdir()
    with Globus(by_itself=True) as service:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        data = {
            "agent": {"state_dir": str(root / "state"), "listen": ""},
            "globus": {"client_id": service.account.id, "client_secret": service.account.secret},
            "destinations": {
                "campus": {
                    "transport": "globus", "collection": service.collection("Campus", root / "share").id,
                    "source_collection": service.collection("Instrument", root).id, "source_root": str(root),
                }
            },
        }  # fmt: skip
        for name in _both("one", "d/two", "here", "taken"):
            for folder in ("share", "here") if name.startswith(("here", "taken")) else ("share",):
                path = root / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"another" if folder == "here" and "taken" in name else b"content")
        ledger = Ledger(str(root / "state/ledger.sqlite"))
        trouble: list[Exception] = []
        done = None
        with acting():
            try:
                fetch = Fetch(check(data, "test", root), ledger, "campus", "", str(root / "here"))
                done = fetch.see_through(wait=True, deadline=time.monotonic() + 20.0)
            except Exception as error:  # noqa: BLE001
                trouble.append(error)
        ledger.close()
        return {
            "trouble": trouble,
            "done": done and [sorted(name for name in some if BAD not in name) for some in done],
            "here": sorted(path.name for path in (root / "here").rglob("*") if path.is_file() and BAD not in path.name),
        }


SCENES = {one.__name__: one for one in (globus, globus_fetch)}
