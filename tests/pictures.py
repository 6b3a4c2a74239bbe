"""`.venv/bin/python -m tests.pictures`: makes the pictures of the status page in docs/images. Needs Chromium.

An agent of its own delivers made-up data in a temporary folder; the day before is written into its ledger.
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.ledger import Ledger
from tests.browser import Browser, chromium

IMAGES = Path(__file__).parent.parent / "docs/images"
CONFIG = """\
[agent]
state_dir = "state"
listen = "127.0.0.1:0"

[destinations.share]
path = "mnt/share"

[destinations.archive]
path = "mnt/archive"

[[rules]]
name = "tomography"
links = "refuse"
watch = "data/tomo"
exclude = ["*.tmp"]
complete = { quiet = "0s" }
batch = { linger = "0s" }
deliver = [{ to = "share" }, { to = "archive" }]

[[rules]]
name = "sequencer"
watch = "data/seq"
preset = "illumina"
complete = { quiet = "0s" }
deliver = [{ to = "share" }]
"""
SIZES = {"page": (1000, 1440, "light"), "page-dark": (1000, 1000, "dark"), "page-phone": (390, 1100, "light")}


def main() -> int:
    """Make all pictures."""
    browser = shutil.which("chromium")
    if browser is None:
        print("needs chromium", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="beamline7-") as folder:
        root = Path(folder)
        _prepare(root)
        with subprocess.Popen(
            [sys.executable, "-c", "from agent.cli import main; main()", "run", "--config", "dropline.toml"],
            cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"HOME": folder, "NO_COLOR": "1"},
        ) as agent:  # fmt: skip
            try:
                assert agent.stdout is not None
                url = next(line for line in agent.stdout if "status page" in line).strip().partition(": ")[2]
                with chromium(browser) as tab:
                    _take(tab, url)
            finally:
                agent.terminate()
    return 0


def _prepare(root: Path) -> None:
    for name in ("mnt/share", "mnt/archive", "data/tomo", "data/seq", "state"):
        (root / name).mkdir(parents=True)
    (root / "dropline.toml").write_text(CONFIG)
    for scan in (41, 42, 43):
        directory = root / f"data/tomo/2026-04/scan_{scan:04}"
        directory.mkdir(parents=True)
        for number in range(60):
            (directory / f"frame_{number:05}.h5").write_bytes(os.urandom(40_000 + 13 * number))
    for run, done in (("20260417_LH00130_0002_A223YTFLT3", True), ("20260418_LH00130_0003_B223YTFLT3", False)):
        (root / f"data/seq/{run}/InterOp").mkdir(parents=True)
        (root / f"data/seq/{run}/RunInfo.xml").write_text("<RunInfo/>")
        (root / f"data/seq/{run}/InterOp/QMetricsOut.bin").write_bytes(os.urandom(2_000_000))
        for name in ("RTAComplete.txt", "CopyComplete.txt") if done else ():
            (root / f"data/seq/{run}/{name}").write_text("")
    (root / "data/tomo/2026-04/latest.h5").symlink_to("scan_0043/frame_00059.h5")
    ledger = Ledger(str(root / "state/ledger.sqlite"))
    now = time.time()
    with ledger.transaction():
        for number in range(140, 0, -1):
            wave = math.sin(number / 9.0) + math.sin(number / 3.7) / 2 + 0.4
            files = max(0, round(900 * wave)) if not 60 < number < 75 else 0
            ledger.history.verified(files, files * 8_400_000, now - number * 600)
    ledger.close()


def _take(tab: Browser, url: str) -> None:
    tab.look(1180, 900)
    tab.open(url)
    tab.until("/180 of 180|3 of 3|60 of 60/.test(document.body.innerText)", "something is delivered")
    tab.until("document.querySelectorAll('.mark.yes').length >= 4", "the complete ones are safe")
    for name, (width, height, scheme) in SIZES.items():
        tab.look(width, height, scheme)
        if "--whole" in sys.argv:
            tab.look(width, tab.run("document.documentElement.scrollHeight"), scheme)
        tab.picture(IMAGES / f"{name}.png")
    tab.look(1000, 700)
    tab.open(tab.run("[...document.querySelectorAll('#summaries a')].find(a => /scan_0043/.test(a.textContent)).href"))
    tab.open(tab.run("document.querySelector('#files a').href"))
    tab.picture(IMAGES / "file.png")


if __name__ == "__main__":
    sys.exit(main())
