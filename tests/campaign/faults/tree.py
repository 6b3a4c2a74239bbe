"""What happens to the watched folder, and to the events about it."""

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from tests.campaign.faults import Fault, Scene
from tests.campaign.instrument import digest
from tests.campaign.moody import mounted
from tests.campaign.mounts import mount, unmount


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

    def prepare(self, scene: Scene) -> None:
        """The trash goes with the folder."""
        scene.oracle.trash_is_nobodys = True

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
        mount("-t", "tmpfs", "campaign", self._store)
        self._mount(scene)

    def _mount(self, scene: Scene) -> None:
        mount("--bind", self._store, scene.station.inbox)

    def strike(self, scene: Scene) -> None:
        """Away, with what was written last not yet looked at; the bare folder below is empty."""
        scene.instrument.work(4)
        scene.instrument.finish_all()
        unmount(scene.station.inbox)
        scene.pause(1.0)
        self._mount(scene)
        scene.instrument.work(4)

    def end(self, scene: Scene) -> None:
        """Both mounts go."""
        for path in (scene.station.inbox, self._store):
            unmount(path, mounted=False)


class _Disk(Fault):
    """The watched folder is a disk of its own."""

    needs = ("unshare", "mount", "umount", "mkfs.ext4")
    format: tuple[str, ...] = ()
    """Options of mkfs.ext4."""

    def prepare(self, scene: Scene) -> None:
        """Two disks: the instrument's, and one whose device number the instrument's gets in its place."""
        root = scene.station.root
        self._disk, self._other, self._second_point = root / "disk", root / "other-disk", root / "second-point"
        self._second_point.mkdir()
        for disk in (self._disk, self._other):
            with disk.open("wb") as file:
                file.truncate(64 << 20)
            subprocess.run(["mkfs.ext4", "-q", *self.format, str(disk)], check=True, capture_output=True)
        mount("-o", "loop", self._disk, scene.station.inbox)
        shutil.rmtree(scene.station.inbox / "lost+found")

    def end(self, scene: Scene) -> None:
        """Unmounted."""
        for path in (scene.station.inbox, self._second_point):
            unmount(path, mounted=False)


class Remounted(_Disk):
    """The watched disk is pulled out and comes back by another device number; what was there is partly gone by then."""

    name = "remounted"
    says = "watched disk comes back by another device number"

    def strike(self, scene: Scene) -> None:
        """The other disk takes the device number that becomes free. Files are written and removed while nobody watches."""
        inbox = scene.station.inbox
        scene.instrument.finish_all()
        unmount(inbox)
        unmount(self._second_point, mounted=False)
        mount("-o", "loop", self._other, self._second_point)
        scene.pause(0.5)
        if scene.chance.random() < 0.5:
            scene.station.kill()
        mount("-o", "loop", self._disk, inbox)
        scene.instrument.work(round(6 * scene.effort))
        scene.station.start()


class CoarseClock(_Disk):
    """The watched disk keeps times in whole seconds: what is written anew within one looks as if nothing had happened."""

    name = "coarse"
    says = "watched disk with times in whole seconds"
    format = ("-I", "128")

    def strike(self, scene: Scene) -> None:
        """The same size, date and second, again and again."""
        for _ in range(round(6 * scene.effort) + 1):
            path = scene.instrument.write()
            scene.pause(scene.chance.uniform(0.0, 0.6))
            scene.instrument.rewrite(path, in_disguise=True)


class ShortReads(Fault):
    """The watched folder is a file system whose reads bring fewer bytes than there are, and then an error."""

    name = "short-reads"
    says = "watched folder with short reads and read errors"
    needs = ("unshare", "mount", "umount", "fusermount3")

    def prepare(self, scene: Scene) -> None:
        """Mounted for the round, past the kernel's page cache."""
        self._stack = ExitStack()
        self._share = self._stack.enter_context(mounted(scene.station.root / "moody-inbox", direct=True))
        mount("--bind", self._share.path, scene.station.inbox)

    def strike(self, scene: Scene) -> None:
        """Short ones all the time, errors for a while. A file that cannot be read is refused, and a person tries it again."""
        self._share.mood(short=True)
        scene.instrument.work(round(6 * scene.effort))
        self._share.mood(short=True, fail={"read": scene.chance.choice(("EIO", "ESTALE", "ETIMEDOUT"))})
        scene.instrument.write()
        scene.pause(scene.chance.uniform(0.1, 0.6))
        self._share.mood(short=True)

    def mend(self, scene: Scene) -> None:
        """All is well, and a person has acted."""
        self._share.mood()
        scene.retry_until_settled()

    def end(self, scene: Scene) -> None:
        """Unmounted."""
        unmount(scene.station.inbox, mounted=False)
        self._stack.close()


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


FAULTS = (Overflow, Replaced, Renamed, FolderMoved, Unmounted, Remounted, CoarseClock, ShortReads)
