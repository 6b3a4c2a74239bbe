"""What happens to the file systems of the destinations and of the state directory."""

import os
from contextlib import ExitStack
from pathlib import Path

from tests.campaign.faults import Fault, Scene
from tests.campaign.moody import Share, mounted
from tests.campaign.mounts import mount, unmount


class _Moody(Fault):
    """The destination `share` is a file system that does as it is told."""

    needs = ("fusermount3",)

    def prepare(self, scene: Scene) -> None:
        """Mounted for the round."""
        self._stack = ExitStack()
        self.share: Share = self._stack.enter_context(mounted(scene.station.root / "moody"))
        scene.station.destinations["share"] = {"path": str(self.share.path), "mounted": False}
        scene.station.shares["share"] = self.share.path
        scene.oracle.shares["share"] = self.share.backing

    def mend(self, scene: Scene) -> None:
        """All is well with it."""
        self.share.mood()

    def end(self, scene: Scene) -> None:
        """Unmounted."""
        self._stack.close()


class Hang(_Moody):
    """Calls at one destination do not return for a while; meanwhile the agent is ended and started again."""

    name = "hang"
    says = "a share hangs, also over a restart"

    def prepare(self, scene: Scene) -> None:
        """The agents lose their patience soon; what reclaim could not ask for, it thinks of again after a minute only."""
        super().prepare(scene)
        scene.station.patience = 1.0
        scene.stays = True

    def strike(self, scene: Scene) -> None:
        """Any kind of call, or all."""
        calls = ["*"], ["write"], ["fsync"], ["rename", "link"], ["getattr"], ["open", "create"], ["unlink"]
        self.share.mood(hang=scene.chance.choice(calls))
        scene.instrument.work(round(8 * scene.effort))
        if scene.chance.random() < 0.7:
            if scene.chance.random() < 0.5:
                scene.station.stop()
            else:
                scene.station.kill()
            scene.station.start()
            scene.instrument.work(round(4 * scene.effort))
        self.share.mood()


class Slow(_Moody):
    """Each call takes long."""

    name = "slow"
    says = "a share is slow"

    def strike(self, scene: Scene) -> None:
        """Until the next strike."""
        self.share.mood(slow=scene.chance.uniform(0.005, 0.05))
        scene.instrument.work(round(8 * scene.effort))


class Failing(_Moody):
    """Calls fail: the share is full, read-only, out of quota, has errors."""

    name = "failing"
    says = "a share is full, read-only, has errors"

    def strike(self, scene: Scene) -> None:
        """One error of one kind of call."""
        call = scene.chance.choice(("write", "create", "fsync", "rename", "link", "unlink", "mkdir", "open", "read"))
        error = scene.chance.choice(("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "EHOSTDOWN"))
        self.share.mood(fail={call: error})
        scene.instrument.work(round(12 * scene.effort))
        scene.pause(scene.chance.uniform(0.0, 0.5))
        self.share.mood()

    def mend(self, scene: Scene) -> None:
        """All is well with it; what was refused, because one kind of call failed, a person tries again."""
        super().mend(scene)
        scene.retry_until_settled()


class Unmounted(Fault):
    """A destination is unmounted under the agent, and another share is mounted in its place for a while."""

    name = "unmounted"
    says = "a share is unmounted, another one mounted in its place"
    needs = ("unshare",)

    def prepare(self, scene: Scene) -> None:
        """The share is what is mounted at its mount point."""
        root = scene.station.root
        self._real, self._other, self._point = root / "share-real", root / "share-other", root / "share"
        for path in (self._real, self._other):
            path.mkdir()
        (self._other / ".dropline-destination").write_text('{"dropline_destination": "another"}')
        mount("--bind", self._real, self._point)
        scene.oracle.shares["share"] = self._real

    def strike(self, scene: Scene) -> None:
        """Away, wrong, and back. Before its first use, whatever is mounted would be taken for the share."""
        scene.wait((self._real / ".dropline-destination").exists)
        unmount(self._point)
        scene.instrument.work(round(6 * scene.effort))
        self._empty(scene, self._point)
        mount("--bind", self._other, self._point)
        scene.instrument.work(round(6 * scene.effort))
        self._empty(scene, self._other)
        unmount(self._point)
        mount("--bind", self._real, self._point)
        scene.instrument.work(round(4 * scene.effort))

    def _empty(self, scene: Scene, path: Path) -> None:
        wrote = [name for name in os.listdir(path) if name != ".dropline-destination"]
        scene.station.broken += [f"{name} was written into {path.name}, which is not the share" for name in wrote]

    def end(self, scene: Scene) -> None:
        """Unmounted."""
        unmount(self._point)


class StateFull(Fault):
    """The disk with the state directory is full: nothing can be written into the ledger."""

    name = "state-full"
    says = "the disk of the ledger is full"
    needs = ("unshare",)

    def prepare(self, scene: Scene) -> None:
        """A small disk of its own."""
        scene.station.state.mkdir(exist_ok=True)
        mount("-t", "tmpfs", "-o", "size=4m,mode=700", "state", scene.station.state)
        self._ballast = scene.station.state / "ballast"
        scene.station.may_refuse = True
        scene.station.rest = None  # what could not be deleted while it was full is thought of again after a minute

    def strike(self, scene: Scene) -> None:
        """Full, to the last byte or nearly. An agent that starts then may refuse to; somebody starts it again."""
        scene.wait((scene.station.root / "share/.dropline-destination").exists)
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass  # it is full now
            if scene.chance.random() < 0.5:
                file.truncate(max(file.tell() - scene.chance.randrange(100_000), 0))
        scene.instrument.work(round(10 * scene.effort))
        again = scene.chance.random() < 0.3
        if again:
            scene.station.kill()
            scene.station.start()
        scene.instrument.work(round(4 * scene.effort))
        self._ballast.unlink()
        if again:
            scene.station.kill()
            scene.station.start()

    def end(self, scene: Scene) -> None:
        """Unmounted."""
        unmount(scene.station.state)


FAULTS = (Hang, Slow, Failing, Unmounted, StateFull)
