"""Dropline as a service of Windows. `test_lane.py` runs it under Wine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from agent.app.configuration import read
from agent.errors import Refused
from agent.host.service import Condition
from agent.host.service.job import job

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="needs Windows; tests/windows/test_lane.py runs it in Wine"
)
PATIENCE = 120.0
"""Seconds."""


class Site:
    """A configuration and its service."""

    def __init__(self, folder: Path) -> None:
        from agent.host.service import scm

        self.folder = folder
        self.name = f"dropline-{folder.name}"  # of each test: a service is only gone when its process is
        self.config = folder / "dropline ü.toml"
        for name in ("inbox", "share"):
            (folder / name).mkdir()
        self.config.write_text(
            f"[agent]\nstate_dir = '{folder / 'state'}'\nlisten = ''\n[destinations.share]\npath = '{folder / 'share'}'\n"
            f"[[rules]]\nname = 'r'\nwatch = '{folder / 'inbox'}'\ncomplete = {{ quiet = '0s' }}\ndeliver = [{{ to = 'share' }}]\n",
            encoding="utf-8",
        )
        self.services = scm.Scm(_nobody)

    def install(self) -> list[str]:
        """As `dropline service install --run-as LocalSystem` does."""
        return self.services.install(job(read(PurePath(self.config)), self.name, "LocalSystem"))

    def delivers(self, name: str) -> bool:
        """Whether a new file arrives in time."""
        (self.folder / "inbox" / name).write_bytes(b"a scan")
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / "share" / name).exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def _nobody(account: str) -> str:
    raise AssertionError("LocalSystem has no password")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder for it; whatever a test installed is removed."""
    one = Site(tmp_path)
    yield one
    try:
        one.services.uninstall(site.name)
    except Refused:
        pass  # the test did it


def test_a_service_delivers_and_stops_within_ten_seconds_and_leaves_nothing(site: Site) -> None:
    """Installed, started, asked, stopped and started again by a second install, and removed."""
    for name in ("a", "b"):
        assert f"{site.name} runs as LocalSystem" in site.install()[0]
        assert site.delivers(name)
    found = site.services.condition(site.name)
    assert found == Condition(f"{site.name} of the service control manager", True, found.since, "runs")
    assert found.since is not None
    began = time.monotonic()
    site.services.uninstall(site.name)
    assert time.monotonic() - began < 10
    assert site.services.condition(site.name) == Condition(None, detail="there is no such service of Dropline")
    with pytest.raises(Refused, match="is not there"):
        site.services.uninstall(site.name)
    assert "ERROR" not in (site.folder / "state/log/dropline.log").read_text("utf-8")


def test_a_service_that_cannot_start_ends_with_the_status_of_run(site: Site) -> None:
    """The event log has the reason, and the message says so."""
    (site.folder / "state").mkdir()
    (site.folder / "state/ledger.sqlite").write_bytes(b"no ledger" * 1000)
    with pytest.raises(
        Refused, match=f"{site.name} ended at its start, with 2; the event log .Application, source {site.name}"
    ):
        site.install()
    assert site.services.condition(site.name).detail == "stopped, ended with 2"


def test_a_service_of_another_program_is_left_alone(site: Site) -> None:
    """Neither changed nor removed."""
    subprocess.run(
        ["sc", "create", site.name, "binPath=", r"C:\other.exe"], check=True, capture_output=True, timeout=PATIENCE
    )
    try:
        for act in (site.install, lambda: site.services.uninstall(site.name)):
            with pytest.raises(Refused, match="was not made by Dropline"):
                act()
    finally:
        subprocess.run(["sc", "delete", site.name], check=True, capture_output=True, timeout=PATIENCE)


def test_a_program_that_everybody_may_write_is_no_service(tmp_path: Path) -> None:
    """A person could run any code as the service's account."""
    from agent.host.service import scm
    from agent.host.windows import access_lists

    scm.require_own_program(sys.prefix, sys.base_prefix)
    access_lists.keep_to(tmp_path, "S-1-1-0")
    with pytest.raises(Refused, match=r"everybody may write .*; install Dropline below C:\\Program Files, or icacls "):
        scm.require_own_program(str(tmp_path))


def test_an_environment_is_found_by_the_interpreter_that_it_was_made_with(tmp_path: Path) -> None:
    """A service of an environment starts the interpreter itself, since the environment's `python.exe` only starts that."""
    home = tmp_path / "venv"
    (home / "Scripts").mkdir(parents=True)
    (home / "Lib/site-packages").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(f"home = {os.path.dirname(sys.executable)}\n")
    environment = os.environ | {"__PYVENV_LAUNCHER__": str(home / "Scripts/python.exe")}
    code = "import sys; print(sys.prefix, sys.executable, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(home), str(home / "Scripts/python.exe")]
