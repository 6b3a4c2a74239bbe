"""Where faults strike: the workstation, its instrument, the oracle, and what an operator can do."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign.instrument import Instrument, Journal, digest
from tests.campaign.oracle import Findings, Oracle, source_of
from tests.campaign.station import PATIENCE, Station, until


@dataclass
class Scene:
    """One round's."""

    station: Station
    instrument: Instrument
    oracle: Oracle
    chance: Random
    effort: float = 1.0
    """1: as in the short form. Faults that can do more of the same do so many times as much."""
    found: Findings = field(default_factory=Findings)
    more_files: int = 0
    """Files of sites of a fault's own."""
    stays: bool = False
    """What is proved may stay here though the rule reclaims."""

    @property
    def journal(self) -> Journal:
        """All that was written."""
        return self.instrument.journal

    def pause(self, seconds: float) -> None:
        """How long a state of affairs lasts. Nothing relies on it: the agent may have noticed or not."""
        time.sleep(seconds)

    def glance(self) -> None:
        """Look for what must never be visible."""
        self.found.add(self.oracle.glance())

    # Waiting

    def wait(self, condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Whether it became true in time."""
        return until(condition, seconds, every=0.05)

    def wait_delivered(self, paths: Sequence[str], seconds: float = 10.0) -> bool:
        """Whether copies of all of them came to every destination."""
        return self.wait(lambda: not self.oracle.missing(paths), seconds)

    def wait_gone(self, paths: Sequence[str], seconds: float = 10.0) -> bool:
        """Whether all of them were deleted here."""
        return self.wait(lambda: not any((self.station.inbox / path).exists() for path in paths), seconds)

    def delivered(self) -> bool:
        """Whether everything is at every destination."""
        found = self.oracle.judge()
        return not (found.kept or found.lost)

    def delivered_or_refused(self) -> bool:
        """Whether everything is at every destination, but for what waits for a person, or was damaged there since."""
        found = self.oracle.judge()
        left = {line.partition(" ")[0] for line in (*found.kept, *found.lost)}
        left -= {source_of(path, self.journal) for _, path, _ in self.journal.spoiled}
        return not left or left <= self.refused().keys()

    def settled(self) -> bool:
        """Whether everything has arrived, and has gone from here where it should."""
        if not self.delivered():
            return False
        # Twice: one listing may miss a file that is moved to the trash while it goes on.
        return self.stays or "reclaim" not in self.station.rule or not (self.oracle.left() or self.oracle.left())

    # What an operator does

    def refused(self) -> dict[str, str]:
        """Paths that the agent says wait for a person, with its reasons."""
        text = self.station.ask("files", "--state", "refused", "--format", "json", "--limit", "10000")
        try:
            lines = json.loads(text)
        except ValueError:
            return {}  # the ledger could not be asked just now
        return {str(Path(line["path"]).relative_to(self.station.inbox)): line["reason"] for line in lines}

    def retry_until_settled(self, seconds: float = 20.0) -> None:
        """`dropline retry` again and again, until all is well or nothing is left but what a person must sort out."""
        self.instrument.finish_all()
        self.station.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.wait(self.settled, 1.5):
            self.station.ask("retry")

    def put_back(self, aside: Path) -> None:
        """Give a file that stands aside its name again, unless a newer one has it: then it is put beside that."""
        if not aside.is_file():
            return
        content = digest(aside.read_bytes())
        path = next((one.path for one in self.journal.all() if one.digest == content), None)
        if path is None:
            return
        target = self.station.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            self.journal.over(path, content)  # its copies are proved; the operator tidies up
            aside.unlink()
        else:
            aside.rename(target)
