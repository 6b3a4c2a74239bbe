"""What happens to the agent's process."""

import os
import signal
import time

from tests.campaign.faults import Fault, Scene
from tests.campaign.station import PATIENCE, STOPS_WITHIN, until


class Kill(Fault):
    """Killed at random times, most of them early: then it is the start that is interrupted."""

    name = "kill"
    says = "SIGKILL at random times"

    def strike(self, scene: Scene) -> None:
        """Killed and started again, several times."""
        for _ in range(round(30 * scene.effort)):
            scene.instrument.work(1)
            time.sleep(scene.chance.uniform(0.0, 1.0) ** 3 * 0.6)  # a time at random: nothing is waited for
            scene.station.kill()
            scene.glance()
            scene.station.start()


class Terminate(Fault):
    """SIGTERM while large and many small files are under way: it ends in time, and nothing half stays behind."""

    name = "terminate"
    says = "SIGTERM during everything"

    def strike(self, scene: Scene) -> None:
        """A large file, many small ones, and a stop in the middle of them."""
        scene.instrument.write(size=round(24e6 * min(scene.effort, 2)))
        for _ in range(round(80 * scene.effort)):
            scene.instrument.write(size=scene.chance.randrange(4000))
        time.sleep(scene.chance.uniform(0.0, 0.5))  # a time at random: nothing is waited for
        scene.station.stop()
        scene.glance()
        scene.station.start()


class TwoOnOneState(Fault):
    """A second agent on the same state directory: it is refused, and the first one does not notice."""

    name = "two-on-one-state"
    says = "two agents on one state directory"

    def strike(self, scene: Scene) -> None:
        """Somebody starts another one."""
        # The one that runs may have been started a moment ago: whoever comes first is the agent.
        said = scene.station.log.stat().st_size
        second = scene.station.spawn("run")
        ended = until(lambda: not (second.running and scene.station.running), 20.0)
        if not ended:
            scene.station.broken.append("two agents run on one state directory")
        first = scene.station.ended_by_itself()
        code = second.wait(0) if first is None else first
        text = scene.station.log.read_bytes()[said:]
        if ended and (code != 2 or b"another agent uses" not in text):
            scene.station.broken.append(f"the second agent ended with {code}: {text.decode()[-200:]}")
        if first is not None:
            scene.station.process = second


class TwoOnOneTree(Fault):
    """Two agents, each with its own state, watch one folder and deliver to the same places."""

    name = "two-on-one-tree"
    says = "two agents on one watched folder"
    alone = True

    def prepare(self, scene: Scene) -> None:
        """The other one, configured alike."""
        scene.station.configure("other.toml", state_dir="other")
        scene.oracle.strangers = True
        scene.oracle.records.append(scene.station.root / "other" / "deletions.jsonl")
        self._start(scene)

    def _start(self, scene: Scene) -> None:
        scene.station.spares.append(scene.station.spawn("run", config="other.toml"))

    def strike(self, scene: Scene) -> None:
        """One of the two is killed, and comes back."""
        scene.instrument.work(round(6 * scene.effort))
        if scene.chance.random() < 0.5:
            scene.station.kill()
            scene.station.start()
        else:
            other = scene.station.spares[-1]
            other.signal(signal.SIGKILL)
            other.wait(STOPS_WITHIN)
            self._start(scene)

    def mend(self, scene: Scene) -> None:
        """Both look again at what they refused because of each other."""
        scene.instrument.finish_all()
        scene.wait(scene.settled, PATIENCE / 4)
        other = scene.station.spares[-1]
        other.signal(signal.SIGTERM)
        if other.wait(STOPS_WITHIN) != 0:
            scene.station.broken.append("the other agent did not end well")


class Stopped(Fault):
    """It gets no processor for a while: SIGSTOP and SIGCONT."""

    name = "stopped"
    says = "SIGSTOP, SIGCONT"

    def strike(self, scene: Scene) -> None:
        """The instrument goes on meanwhile."""
        assert scene.station.process is not None
        scene.station.process.signal(signal.SIGSTOP)
        scene.instrument.work(round(8 * scene.effort))
        scene.station.process.signal(signal.SIGCONT)


class Helpers(Fault):
    """The helper processes that write small files are killed, as the kernel does when memory is short."""

    name = "helpers"
    says = "helper processes killed"

    def strike(self, scene: Scene) -> None:
        """Enough small files at once for helpers, and no mercy."""
        for _ in range(round(150 * scene.effort)):
            scene.instrument.write(size=scene.chance.randrange(3000))
        assert scene.station.process is not None
        pid = scene.station.process.pid
        until(lambda: _children(pid), 2.0)
        for child in _children(pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has ended


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            found = file.read().split()
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += file.read().split()
    except OSError:
        return []  # it has just ended
    return sorted({int(one) for one in found})


FAULTS = (Kill, Terminate, TwoOnOneState, TwoOnOneTree, Stopped, Helpers)
