"""What happens to the watched folder, and to the events about it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.campaign.faults import Fault, Scene
from tests.campaign.instrument import digest


class Overflow(Fault):
    """The kernel's queue of events overflows: what is written then is announced by nobody."""

    name = "overflow"
    says = "event queue overflow"

    def prepare(self, scene: Scene) -> None:
        """No sweep comes by itself during the round: only the overflow can be the reason for one."""
        scene.station.agent["sweep_every"] = "10m"

    def strike(self, scene: Scene) -> None:
        """The agent gets no processor while so much happens that the queue is full; then come files."""
        process = scene.station.process
        assert process is not None
        process.signal(signal.SIGSTOP)
        place = scene.station.inbox / "busy.tmp"
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for _ in range(limit // 3 + 100):  # made, closed, removed; no two events in a row are equal, so none is merged
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600))
            place.unlink()
        scene.instrument.work(round(8 * scene.effort))
        process.signal(signal.SIGCONT)


class Replaced(Fault):
    """The watched folder is moved away and another stands in its place; later its content comes back."""

    name = "root-replaced"
    says = "watched folder replaced by another"

    def strike(self, scene: Scene) -> None:
        """Moved away with all that is in it."""
        inbox = scene.station.inbox
        away = inbox.with_name("inbox-away")
        scene.instrument.finish_all()
        inbox.rename(away)
        inbox.mkdir()
        scene.instrument.work(round(4 * scene.effort))
        _merge(away, inbox, scene)


class Renamed(Fault):
    """The watched folder has another name for a while."""

    name = "root-renamed"
    says = "watched folder renamed, and back"

    def strike(self, scene: Scene) -> None:
        """The instrument does not find it either, and writes when it is back."""
        inbox = scene.station.inbox
        away = inbox.with_name("inbox-renamed")
        inbox.rename(away)
        scene.pause(0.5)
        away.rename(inbox)
        scene.instrument.work(round(4 * scene.effort))


class FolderMoved(Fault):
    """A folder below it is moved out and, with more in it, moved in again."""

    name = "folder-moved"
    says = "folders moved out of it and in again"

    def strike(self, scene: Scene) -> None:
        """Written aside, and moved in as a whole: no event tells of a single file."""
        inbox = scene.station.inbox
        scene.instrument.finish_all()
        there = sorted(path for path in inbox.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not there:
            return
        folder = scene.chance.choice(there)
        away = inbox.with_name("folder-away")
        folder.rename(away)
        scene.pause(0.2)
        _merge(away, folder, scene)


class Unmounted(Fault):
    """The watched folder is a file system of its own, which goes away and comes back."""

    name = "root-unmounted"
    says = "watched folder unmounted, and mounted again"
    needs = ("unshare", "mount", "umount")

    def prepare(self, scene: Scene) -> None:
        """A file system in a file-like place: a bind mount of a folder of its own, which stays when it is unmounted."""
        self._store = scene.station.root / "instrument-disk"
        self._store.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "campaign", str(self._store)], check=True)
        self._mount(scene)

    def _mount(self, scene: Scene) -> None:
        subprocess.run(["mount", "--bind", str(self._store), str(scene.station.inbox)], check=True)

    def strike(self, scene: Scene) -> None:
        """Away, with what was written last not yet looked at; the bare folder below is empty."""
        scene.instrument.work(4)
        scene.instrument.finish_all()
        subprocess.run(["umount", "--lazy", str(scene.station.inbox)], check=True)
        scene.pause(1.0)
        self._mount(scene)
        scene.instrument.work(4)

    def end(self, scene: Scene) -> None:
        """Both mounts go."""
        for path in (scene.station.inbox, self._store):
            subprocess.run(["umount", "--lazy", str(path)], check=False)


def _merge(away: Path, place: Path, scene: Scene) -> None:
    """Bring everything back, but where something was written under the same name meanwhile."""
    for path in sorted(away.rglob("*")):
        target = place / path.relative_to(away)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        else:
            scene.journal.over(os.path.relpath(target, scene.station.inbox), digest(path.read_bytes()))
    shutil.rmtree(away)


FAULTS = (Overflow, Replaced, Renamed, FolderMoved, Unmounted)
