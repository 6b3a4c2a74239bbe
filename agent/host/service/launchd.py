"""launchd, of macOS: a daemon of the computer, or an agent of one person. launchd.plist(5), launchctl(1).

Written from the manual pages; it has never been run on a Mac.
"""

import os
import plistlib
import re
from pathlib import Path

from agent.errors import Refused
from agent.host.service import MARK, Condition, Job, put, taken
from agent.host.service.programs import Run, must

SYSTEM = Path("/Library/LaunchDaemons")


def of_person() -> Path:
    """Where the agents of the person who asks are."""
    return Path(os.path.expanduser("~/Library/LaunchAgents"))


class Launchd:
    """Property lists in a folder, and `launchctl`."""

    def __init__(self, run: Run, folder: Path, domain: str) -> None:
        """`domain`: `system`, or `gui/UID` for a person."""
        self._run = run
        self._folder = folder
        self._domain = domain

    def text(self, job: Job) -> str:
        """The property list."""
        facts = {
            "Label": job.name,
            "ProgramArguments": list(job.words),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 10,
            "ExitTimeOut": 20,
            # Else the system slows down the disk of what it takes for background work.
            "ProcessType": "Interactive",
            "WorkingDirectory": "/",
        } | ({"UserName": job.user} if job.user is not None else {})
        head, _, rest = plistlib.dumps(facts).decode().partition("<plist")
        return f"{head}<!-- {MARK} -->\n<plist{rest}"

    def install(self, job: Job) -> list[str]:
        """Write the property list, and load it anew."""
        if not os.path.isdir(job.state_dir):
            hint = f"make it, and give it to {job.user}" if job.user is not None else "make it"
            raise Refused(f"the state directory {job.state_dir} is not there", hint)
        path = self._path(job.name)
        put(path, self.text(job))
        self._run("launchctl", "bootout", f"{self._domain}/{job.name}")  # fails where it was not loaded
        must(self._run, "launchctl", "bootstrap", self._domain, str(path))
        return [f"wrote {path}", f"{job.name} runs, and will with every {'start' if job.user else 'login'}"]

    def uninstall(self, name: str) -> list[str]:
        """Unload it, remove the property list."""
        path = self._path(name)
        if path.exists():
            self._run("launchctl", "bootout", f"{self._domain}/{name}")  # fails where it is not loaded
        taken(path)
        return [f"{name} was stopped, and {path} removed; its state and configuration are still there"]

    def condition(self, name: str) -> Condition:
        """What `launchctl print` says, a text that Apple calls unstable: only words that are there are taken."""
        path = self._path(name)
        said = self._run("launchctl", "print", f"{self._domain}/{name}")
        facts = dict(re.findall(r"^\t(state|pid|last exit code) = (.+)$", said.out, re.M)) if said.code == 0 else {}
        return Condition(
            installed=str(path) if path.exists() else None,
            running=facts.get("state") == "running",
            detail=", ".join(f"{key} {value}" for key, value in facts.items()) or "not loaded",
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.plist"
