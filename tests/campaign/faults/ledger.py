"""What happens to the ledger's file."""

import shutil
from pathlib import Path

from tests.campaign.faults import Fault, Scene

LEDGER = "ledger.sqlite"
_UNREADABLE = ("cannot be read", "malformed", "is not a database", "disk image")


def files(state: Path) -> list[Path]:
    """The ledger and what SQLite keeps beside it."""
    return sorted(state.glob(f"{LEDGER}*"))


class Lost(Fault):
    """What faults of the ledger share: a lost ledger is one that somebody moves away. It costs time."""

    name = "ledger-deleted"
    says = "ledger deleted"
    may_keep = True

    def prepare(self, scene: Scene) -> None:
        """Whoever judges knows of it."""
        scene.oracle.forgets = scene.oracle.trash_is_nobodys = True

    def strike(self, scene: Scene) -> None:
        """Removed behind the back of an agent that runs, or between two runs."""
        if scene.chance.random() < 0.5:
            scene.station.kill() if scene.chance.random() < 0.5 else scene.station.stop()
        for path in files(scene.station.state):
            path.unlink(missing_ok=True)
        scene.pause(0.3)
        scene.station.kill()
        self._put_back(scene)
        scene.station.start()

    def _put_back(self, scene: Scene) -> None:
        """What stands aside belongs to nobody without its ledger: the operator gives it its name again."""
        for path in sorted(scene.station.inbox.rglob(".dropline-reclaim-*")):
            scene.put_back(path)
        trash = scene.station.inbox / ".dropline-trash"
        for path in sorted(trash.rglob("*")):
            if path.is_file():
                scene.put_back(path)
        shutil.rmtree(trash, ignore_errors=True)
        for share in scene.station.shares.values():
            for path in share.rglob(".dropline-*.part"):
                path.unlink()  # of the agent that was: documented, and swept up by hand

    def mend(self, scene: Scene) -> None:
        """An operator has it look again at what it refused."""
        scene.retry_until_settled()


class Corrupt(Lost):
    """Bytes of the file are others, or it is cut short. An agent that cannot read it says so, and it is moved away."""

    name = "ledger-corrupt"
    says = "ledger corrupt"

    def strike(self, scene: Scene) -> None:
        """Between two runs."""
        scene.station.kill() if scene.chance.random() < 0.5 else scene.station.stop()
        there = [path for path in files(scene.station.state) if not path.name.endswith("-shm") and path.stat().st_size]
        if there:
            self._harm(scene, scene.chance.choice(there))
        self._identity_marker = scene.station.log.stat().st_size
        scene.station.start()
        scene.instrument.work(round(6 * scene.effort))
        self._look(scene)

    def _harm(self, scene: Scene, path: Path) -> None:
        size = path.stat().st_size
        with path.open("r+b") as file:
            if scene.chance.random() < 0.2:
                file.truncate(scene.chance.randrange(size))
                return
            for _ in range(scene.chance.choice([1, 3, 30])):
                file.seek(scene.chance.randrange(size))
                file.write(scene.chance.randbytes(scene.chance.choice([1, 16, 500])))

    def _look(self, scene: Scene) -> None:
        """What an operator does who reads the log, or sees that the agent is not there."""
        station = scene.station
        scene.pause(0.5)
        with station.log.open(errors="replace") as file:
            file.seek(self._identity_marker)
            said = file.read()
        unreadable = [line for line in said.splitlines() if any(sign in line for sign in _UNREADABLE)]
        code = station.ended_by_itself()
        if code is not None and not (code == 2 and unreadable):
            station.broken.append(f"it ended by itself with {code}, without saying why: {said[-300:]}")
        if code is not None or unreadable:
            station.tolerated += ("database", "malformed")
            station.kill()
            for number, path in enumerate(files(station.state)):
                path.rename(path.with_name(f"lost-{station.starts}-{number}"))
            self._put_back(scene)
        station.start()

    def mend(self, scene: Scene) -> None:
        """Some of it shows only later."""
        self._look(scene)
        scene.retry_until_settled()
        self._look(scene)


class Restored(Lost):
    """The ledger is replaced by an earlier copy of itself, as from a backup."""

    name = "ledger-restored"
    says = "ledger restored from an earlier copy"

    def prepare(self, scene: Scene) -> None:
        """No copy yet."""
        super().prepare(scene)
        self._backup: Path | None = None

    def strike(self, scene: Scene) -> None:
        """First a copy is made with the agent stopped; later that one comes back."""
        station = scene.station
        if self._backup is None:
            station.stop()
            if not (station.state / LEDGER).exists():
                station.start()
                return
            self._backup = station.root / "backup"
            self._backup.mkdir()
            for path in files(station.state):
                shutil.copy(path, self._backup)
        else:
            station.kill() if scene.chance.random() < 0.5 else station.stop()
            for path in files(station.state):
                path.unlink()
            for path in self._backup.iterdir():
                shutil.copy(path, station.state)
            self._put_back(scene)
        station.start()


FAULTS = (Lost, Corrupt, Restored)
