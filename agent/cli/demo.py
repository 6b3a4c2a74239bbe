"""`demo`: an instrument writes, the agent delivers, in a temporary folder."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from agent.app.configuration import check
from agent.cli.printing import say
from agent.errors import Refused
from agent.files import LOCAL
from agent.host import own_files
from agent.intake.scan import sweep
from agent.ledger import UNPROVED, Ledger, State
from agent.observe.logs import configure
from agent.simulation.disk import Disk
from agent.simulation.instrument import Instrument
from rules.config.preset import StepTable

if TYPE_CHECKING:
    from agent.app.parts import Parts
    from agent.observe.web.server import Server

commands = typer.Typer()

RUN = "20260418_LH00130_0003_B223YTFLT3"
CAMERA = "camera/stack.raw"
_SCRIPT: tuple[tuple[float, str, dict[str, object]], ...] = (
    (0.0, "a camera writes a block into its file, and closes it", {"write": CAMERA, "size": 100_000}),
    (0.0, "a sequencer begins a run", {"write": f"run/{RUN}/RunInfo.xml", "text": "<RunInfo/>"}),
    (0.0, "it writes a file and keeps it open", {"open": f"run/{RUN}/InterOp/QMetricsOut.bin", "size": 100_000}),
    (
        1.5,
        "the camera opens its file for the next block: from now on the agent waits longer for it",
        {"append": CAMERA, "size": 100_000},
    ),
    (
        0.5,
        "the sequencer writes many small files",
        {"many": f"run/{RUN}/Data/Intensities/BaseCalls/L001/s_1_{{}}.bcl", "count": 200},
    ),
    (1.0, "it says that it is done, too early", {"write": f"run/{RUN}/RTAComplete.txt"}),
    (0.0, "and once more, with a file still open: the agent waits", {"write": f"run/{RUN}/CopyComplete.txt"}),
    (1.0, "the camera writes its last block", {"append": CAMERA, "size": 100_000}),
    (2.0, "the sequencer writes the rest of that file", {"append": f"run/{RUN}/InterOp/QMetricsOut.bin"}),
    (0.5, "and closes it: now the run is complete", {"close": f"run/{RUN}/InterOp/QMetricsOut.bin"}),
)
_WITHIN = 60.0


@commands.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder, to look at.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Without the pauses in which a person reads along.")] = False,
) -> None:
    """Show it: an instrument writes a run, the agent delivers it whole. Everything is in a temporary folder."""
    with own_files.temporary_folder("dropline-demo-", keep=keep) as root:
        delivered = _play(root, 0.0 if fast else 1.0)
    if keep:
        say(f"everything is in {root}")
    if not delivered:
        raise Refused("the run was not delivered in time", "`dropline demo --keep` leaves everything to look at")


def _play(root: PurePath, pace: float) -> bool:
    inbox, share = root / "inbox", root / "share"
    for path in (inbox, inbox / "run", inbox / "camera", share):
        own_files.make_directory(path)
    data = {
        "agent": {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"},
        "destinations": {"share": {"path": str(share)}},
        "rules": [
            {"name": "sequencer", "watch": str(inbox / "run"), "preset": "illumina", "complete": {"quiet": "1s"},
             "deliver": [{"to": "share"}]},
            {"name": "camera", "watch": str(inbox / "camera"), "deliver": [{"to": "share", "path": "camera/{relpath}"}]},
        ],
    }  # fmt: skip
    from agent.app.run import run

    config = check(data, "the demo", root)
    say(f"an instrument writes to {inbox}, preset illumina; the share is {share}")
    configure("text", logging.ERROR)
    done = threading.Event()
    live = sys.stderr.isatty()

    def perform() -> None:
        instrument = Instrument(Disk(str(inbox)))
        for pause, words, act in _SCRIPT:
            time.sleep(pause * pace)
            say(f"  instrument: {words}")
            instrument.play(StepTable.model_validate({"at": "0s", **act}))
        deadline = time.monotonic() + _WITHIN
        ledger = Ledger(str(config.ledger))
        while time.monotonic() < deadline and not done.is_set():
            unproved = ledger.reports.files([*UNPROVED], 1)
            proved = ledger.reports.files([State.VERIFIED], 1)
            if proved and not unproved and not ledger.reports.unfinished():
                done.set()
            time.sleep(0.1)
        ledger.close()
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGTERM)  # os.kill would end the process at once
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def started(parts: "Parts", server: "Server | None") -> Iterator[None]:
        with ExitStack() as stack:
            if live:
                from agent.cli.progress import Progress

                stack.enter_context(Progress(str(config.ledger)))
            thread = threading.Thread(target=perform, name="instrument", daemon=True)
            thread.start()
            yield
            thread.join(_WITHIN)

    run(config, started)
    if done.is_set():
        delivered = sorted(f"{one.directory}/{name}" for one in sweep(LOCAL, str(share)) for name, _ in one.seen())
        camera = [path for path in delivered if "/camera/" in path]
        files = len(delivered) - len(camera) - 1  # the identity file is the destination's own
        say(f"  agent: delivered {files} files as one dataset, each proved by its checksum")
        place = next(path for path in delivered if path.endswith("/RunInfo.xml"))
        say(f"  the run is at {PurePath(place).parent.relative_to(root)}")
        say(f"  the camera's file is at {', '.join(str(PurePath(path).relative_to(root)) for path in camera)}")
    return done.is_set()
