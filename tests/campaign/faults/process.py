"""What happens to the agent's process."""

import time

from tests.campaign.faults import Fault, Scene


class Kill(Fault):
    """Killed at random times, most of them early: then a start is what is interrupted."""

    name = "kill"
    says = "SIGKILL at random times"

    def strike(self, scene: Scene) -> None:
        """Killed and started again, several times."""
        for _ in range(round(4 * scene.effort)):
            scene.instrument.work(2)
            time.sleep(scene.chance.uniform(0.0, 0.3) ** 2 * 3)  # a time at random: nothing is waited for
            scene.station.kill()
            scene.oracle.glance()
            scene.station.start()


FAULTS = (Kill,)
