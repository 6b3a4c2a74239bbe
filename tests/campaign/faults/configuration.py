"""What people do to the configuration while the agent runs."""

from copy import deepcopy
from typing import Any

from tests.campaign.faults import Fault, Scene


class Edited(Fault):
    """Rules are renamed and changed, destinations leave, come back and get other names, and an edit is no TOML."""

    name = "edited"
    says = "configuration edited at random"

    def prepare(self, scene: Scene) -> None:
        """Nothing is removed here: what is delivered while a destination is away must be able to follow."""
        station = scene.station
        station.rule.pop("reclaim", None)
        station.rule["deliver"] = [one | {"backfill": True} for one in station.rule["deliver"]]
        self._as_meant: tuple[dict[str, Any], dict[str, dict[str, Any]]] = deepcopy(
            (station.rule, station.destinations)
        )

    def strike(self, scene: Scene) -> None:
        """One edit, which the agent takes up within two seconds, or meets at its next start; then files come."""
        station, chance = scene.station, scene.chance
        station.rule, station.destinations = deepcopy(self._as_meant)
        rule, places = station.rule, station.destinations
        kind = chance.choice(
            ("renamed", "one destination less", "other names", "other batches", "fewer files", "no TOML")
        )
        if kind == "renamed":
            rule["name"] = f"r{chance.randrange(1000)}"
        elif kind == "one destination less":
            gone = rule["deliver"].pop(chance.randrange(2))
            del places[gone["to"]]
        elif kind == "other names":
            station.destinations = {f"{name}-again": place for name, place in places.items()}
            rule["deliver"] = [one | {"to": f"{one['to']}-again"} for one in rule["deliver"]]
        elif kind == "other batches":
            rule["batch"] = {"linger": "0s", "max_files": chance.choice((1, 3)), "by": "dir"}
        elif kind == "fewer files":
            rule["exclude"] = [*rule["exclude"], f"run{chance.randrange(4)}/**"]
        station.configure()
        if kind == "no TOML":
            (station.root / "dropline.toml").write_text("rules = [")
        scene.instrument.work(round(6 * scene.effort))
        scene.pause(chance.uniform(0.0, 3.0))
        if kind != "no TOML" and chance.random() < 0.4:
            station.kill()
            station.start()
        scene.instrument.work(round(4 * scene.effort))

    def mend(self, scene: Scene) -> None:
        """As it was meant, and all that was delivered meanwhile follows."""
        scene.station.rule, scene.station.destinations = deepcopy(self._as_meant)
        scene.station.configure()


FAULTS = (Edited,)
