"""One of the two destinations is a Globus collection, of the stand-in, and the service has bad days."""

import time

from tests.campaign.faults import Fault, Scene
from tests.globus import Globus
from tests.globus import faults as replies

_TRANSFER = "POST */transfer"


class Service(Fault):
    """Answers lost before and after the deed, errors, nonsense, absence; files held up, spoiled, left out; and kills."""

    name = "globus"
    says = "Globus: lost answers, errors, bad files, kills"
    alone = True

    def prepare(self, scene: Scene) -> None:
        """The service, and a rule that delivers through it and to a directory."""
        self._service = Globus(by_itself=True)
        self._service.__enter__()
        station = scene.station
        source = self._service.collection("Instrument", station.inbox)
        share = self._service.collection("Campus", station.shares["share"])
        station.environment |= self._service.environment
        station.tables["globus"] = {"client_id": self._service.account.id, "client_secret": "not-so-secret"}
        station.destinations["share"] = {
            "transport": "globus",
            "collection": share.id,
            "source_collection": source.id,
            "source_root": str(station.inbox),
        }
        self._compares = scene.chance.random() < 0.5
        if self._compares:  # else nobody can know that the service tells a wrong checksum
            station.destinations["share"]["checksum"] = "md5"
        scene.oracle.in_place.add("share")
        scene.stays = True  # what was adopted by size and date is no proof that is enough to delete

    def strike(self, scene: Scene) -> None:
        """Something goes wrong, and every second time the agent is killed in it."""
        faults, chance = self._service.faults, scene.chance
        errors = (replies.unavailable(), replies.internal_error(), replies.malformed(), replies.rate_limited(1))
        wrong = (
            lambda: faults.lose_reply(_TRANSFER, 6),
            lambda: faults.lose_request(_TRANSFER, 6),
            lambda: faults.answer(_TRANSFER, chance.choice(errors), 6),
            lambda: faults.answer("GET */task*", chance.choice(errors), 6),
            lambda: faults.corrupt("*.dat", 2),
            lambda: faults.omit("*.dat", 2),
            lambda: faults.misreport("*.dat", 2) if self._compares else faults.omit("*.dat", 2),
            lambda: faults.file("*.dat", "PERMISSION_DENIED", 2),
            self._away,
        )
        for _ in range(round(2 * scene.effort)):
            chance.choice(wrong)()
            scene.instrument.work(4)
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 0.4))  # a time at random: nothing is waited for
                scene.station.kill()
                scene.station.start()

    def _away(self) -> None:
        with self._service.away():
            time.sleep(0.2)  # how long it is away; nothing is waited for

    def mend(self, scene: Scene) -> None:
        """The service is well again."""
        self._service.faults.clear()
        scene.retry_until_settled()

    def end(self, scene: Scene) -> None:
        """And closes."""
        self._service.__exit__(None, None, None)


FAULTS = (Service,)
