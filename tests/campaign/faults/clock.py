"""What happens to the computer's clock. The agent's process is told another wall clock; files keep the kernel's time."""

from tests.campaign.faults import Fault, Scene

DAY = 86400.0


class Steps(Fault):
    """The clock steps by a day, forwards and backwards, under a running agent and between two runs."""

    name = "clock"
    says = "clock steps of ±1 day"
    mends_first = True

    def strike(self, scene: Scene) -> None:
        """One step; then perhaps another start."""
        scene.station.clock.write_text(str(scene.chance.choice([-DAY, 0.0, DAY])))
        scene.instrument.work(round(4 * scene.effort))
        if scene.chance.random() < 0.7:
            scene.station.kill() if scene.chance.random() < 0.5 else scene.station.stop()
            scene.station.start()

    def mend(self, scene: Scene) -> None:
        """It is right again: everything arrives. What was proved "tomorrow" may go tomorrow, which then comes."""
        scene.station.clock.write_text("0")
        scene.station.stop()
        scene.station.start()
        scene.instrument.finish_all()
        if not scene.wait(scene.delivered_or_refused, 30.0):
            scene.station.broken.append("with the clock right again, not everything was delivered")
        scene.station.clock.write_text(str(2 * DAY))
        scene.station.stop()
        scene.station.start()


FAULTS = (Steps,)
