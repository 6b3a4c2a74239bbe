"""What instruments do that fools whoever looks at the clock or at the file's date."""

from contextlib import suppress

from tests.campaign.faults import Fault, Scene


class Pause(Fault):
    """Writers pause with their file open for longer than any quiet period. The round is their pause: hours, scaled down."""

    name = "pause"
    says = "writers that pause with the file open"

    def prepare(self, scene: Scene) -> None:
        """A quiet period that is over long before the writer goes on."""
        scene.station.rule["complete"] = {"quiet": "100ms"}
        self._open: list[str] = []

    def strike(self, scene: Scene) -> None:
        """Half a file each; those of the last strike get a little more, and stay open."""
        for path in self._open:
            scene.instrument.go_on(path)
        self._open += [scene.instrument.begin(set_back=False, hold=True) for _ in range(round(4 * scene.effort))]
        scene.pause(0.4)


class SetBack(Fault):
    """Copies that carry an hour-old date while they grow: open all the time, or opened again for each part."""

    name = "set-back"
    says = "mtime set back while growing"

    def prepare(self, scene: Scene) -> None:
        """A quiet period that a look at the date would take for over."""
        scene.station.rule["complete"] = {"quiet": "100ms"}
        self._open: list[str] = []

    def strike(self, scene: Scene) -> None:
        """They grow with each strike."""
        for path in self._open:
            scene.instrument.go_on(path)
        self._open += [scene.instrument.begin(set_back=True, hold=True) for _ in range(round(4 * scene.effort))]
        scene.pause(0.3)


class Again(Fault):
    """The same names are written again after their files were reclaimed, often while the agent is not looking."""

    name = "again"
    says = "same name written again after reclaim"

    def prepare(self, scene: Scene) -> None:
        """Everything goes as soon as it is proved."""
        scene.station.rule["reclaim"] = {"after": "0s"}

    def strike(self, scene: Scene) -> None:
        """Once with the agent, once behind its back: inode numbers are used again at once."""
        instrument, station = scene.instrument, scene.station
        written = (instrument.write(size=scene.chance.randrange(4000)) for _ in range(round(6 * scene.effort)))
        paths = list(dict.fromkeys(written))  # one may be gone, and written again, before the last is written
        scene.wait_gone(paths)
        behind_its_back = scene.chance.random() < 0.5
        if behind_its_back:
            station.kill() if scene.chance.random() < 0.5 else station.stop()
        for path in paths:
            with suppress(FileExistsError):  # the agent has put it back
                instrument.write(path, size=scene.chance.randrange(4000))
        station.start()


class Swapped(Fault):
    """Delivered files are removed and written anew while the agent is not running, so that no event tells of it."""

    name = "swapped"
    says = "removed and written anew behind its back"

    def prepare(self, scene: Scene) -> None:
        """They stay here when they are proved."""
        scene.station.rule.pop("reclaim", None)

    def strike(self, scene: Scene) -> None:
        """The former content is at the destinations alone: it must stay there."""
        instrument, station = scene.instrument, scene.station
        paths = [instrument.write(size=scene.chance.randrange(4000)) for _ in range(round(6 * scene.effort))]
        scene.wait_delivered(paths)
        station.kill() if scene.chance.random() < 0.5 else station.stop()
        for path in sorted(set(paths) - scene.oracle.missing(paths)):
            instrument.take(path)
            instrument.write(path, size=scene.chance.randrange(4000))
        station.start()


FAULTS = (Pause, SetBack, Again, Swapped)
