"""What happens to copies at the destinations, and to local files, between the proof and the deletion."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.campaign.faults import Fault, Scene
from tests.campaign.instrument import digest


class BitFlip(Fault):
    """One bit of a proved copy is another one, with size and date as before."""

    name = "bit-flip"
    says = "bit flips at a destination before reclaim"

    def prepare(self, scene: Scene) -> None:
        """There is a time between proof and deletion."""
        scene.station.rule["reclaim"] = {"after": "1500ms"}

    def strike(self, scene: Scene) -> None:
        """With the agent away: what it is asked for afterwards is all that can tell."""
        paths = [scene.instrument.write(size=1 + scene.chance.randrange(9000)) for _ in range(round(6 * scene.effort))]
        scene.wait_delivered(paths)
        scene.station.kill() if scene.chance.random() < 0.5 else scene.station.stop()
        for path in paths:
            share = scene.chance.choice(sorted(scene.station.shares))
            copy = scene.station.shares[share] / path
            latest = scene.journal.versions[path][-1].digest
            is_here = (scene.station.inbox / path).is_file() and copy.is_file() and digest(copy.read_bytes()) == latest
            if is_here and scene.chance.random() < 0.6:
                spoil(scene, share, path, self._harm(scene))
        scene.station.start()

    def _harm(self, scene: Scene) -> Callable[[Path], None]:
        at, bit = scene.chance.random(), 1 << scene.chance.randrange(8)

        def flip(copy: Path) -> None:
            status = copy.stat()
            content = bytearray(copy.read_bytes())
            content[int(at * len(content))] ^= bit
            with copy.open("r+b") as file:
                file.write(content)
            os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))

        return flip

    def mend(self, scene: Scene) -> None:
        """An operator removes what is damaged, and has it delivered again."""
        for share, path, _ in scene.journal.spoiled:
            (scene.station.shares[share] / path).unlink(missing_ok=True)
        scene.retry_until_settled()


class CopyChanged(BitFlip):
    """A proved copy is cut short, added to, replaced by something else, or removed."""

    name = "copy-changed"
    says = "copies changed or removed after verification"

    def _harm(self, scene: Scene) -> Callable[[Path], None]:
        other = scene.chance.randbytes(100)

        def cut(copy: Path) -> None:
            os.truncate(copy, copy.stat().st_size // 2)

        def add(copy: Path) -> None:
            with copy.open("ab") as file:
                file.write(other)

        def replace(copy: Path) -> None:
            copy.unlink()
            copy.write_bytes(other)

        harms: list[Callable[[Path], None]] = [cut, add, replace, Path.unlink]
        return scene.chance.choice(harms)


class SourceChanged(Fault):
    """A local file changes after its copies were proved; size and date are put back to what they were."""

    name = "source-changed"
    says = "local files changed between proof and deletion"

    def prepare(self, scene: Scene) -> None:
        """There is a moment between proof and deletion."""
        scene.station.rule["reclaim"] = {"after": "300ms"}

    def strike(self, scene: Scene) -> None:
        """Changed at about the moment at which they are to go."""
        paths = [scene.instrument.write(size=scene.chance.randrange(9000)) for _ in range(round(6 * scene.effort))]
        scene.wait_delivered(paths)
        scene.pause(scene.chance.uniform(0.0, 0.5))
        for path in paths:
            scene.instrument.rewrite(path, in_disguise=True)


class Foreign(Fault):
    """Other people put files into the destination, under names that the instrument uses."""

    name = "foreign"
    says = "content of others at the destination"

    def strike(self, scene: Scene) -> None:
        """Something under a name that comes next. It is refused, and theirs is not touched."""
        for _ in range(round(2 * scene.effort)):
            path = scene.instrument.next_name()
            share = scene.chance.choice(sorted(scene.station.shares))
            copy = scene.station.shares[share] / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"theirs")
            scene.journal.foreign[share, path] = digest(b"theirs")
            scene.instrument.write(path)

    def mend(self, scene: Scene) -> None:
        """They move theirs away once it was seen to be untouched, and an operator has ours delivered."""
        scene.wait(lambda: len(scene.refused()) >= len(scene.journal.foreign), 10.0)
        scene.glance()
        for (share, path), theirs in list(scene.journal.foreign.items()):
            copy = scene.station.shares[share] / path
            if digest(copy.read_bytes()) == theirs:
                copy.unlink()
                del scene.journal.foreign[share, path]
        scene.retry_until_settled()


def spoil(scene: Scene, share: str, path: str, harm: Callable[[Path], None]) -> None:
    """Do something to a copy; nobody but the fault is to blame for it."""
    copy = scene.station.shares[share] / path
    harm(copy)
    scene.journal.harmed.add(path)
    if copy.exists():
        scene.journal.spoiled.add((share, path, digest(copy.read_bytes())))


FAULTS = (BitFlip, CopyChanged, SourceChanged, Foreign)
