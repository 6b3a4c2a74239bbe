"""The task scheduler of Windows: a task at the start of the computer, or at one person's login. `schtasks`, and the
task XML of [MS-TSCH].

A task and not a service: it needs no second library (pywin32), and it runs as an account that can reach shares. Written
from the documentation; it has never been run on Windows.
"""

import getpass
import subprocess
from pathlib import Path

from jinja2 import Environment, PackageLoader

from agent.host.lock import resident
from agent.host.service import MARK, Condition, Job, put, taken
from agent.host.service.programs import Run, must

_ENCODING = "utf-16"  # with its mark, which schtasks wants


class Tasks:
    """Tasks, each with its XML kept in a folder, and `schtasks`."""

    def __init__(self, run: Run, folder: Path, state_dir: Path) -> None:
        """`state_dir`: of the agent. What `schtasks` says of a task is in the language of the user; the lock is not."""
        self._run = run
        self._folder = folder
        self._state_dir = state_dir
        self._templates = Environment(loader=PackageLoader("agent.host.service"), autoescape=True, trim_blocks=True)

    def text(self, job: Job) -> str:
        """The task's XML."""
        arguments = subprocess.list2cmdline(job.words[1:])
        return self._templates.get_template("task.xml").render(
            job=job, mark=MARK, person=getpass.getuser(), arguments=arguments
        )

    def install(self, job: Job) -> list[str]:
        """Create the task, in the place of a former one, and start it. For another user, Windows asks for the password."""
        path = self._path(job.name)
        put(path, self.text(job), _ENCODING)
        account = ("/ru", job.user, "/rp", "*") if job.user is not None else ()
        must(self._run, "schtasks", "/create", "/f", "/tn", job.name, "/xml", str(path), *account)
        must(self._run, "schtasks", "/run", "/tn", job.name)
        return [f"the task {job.name} runs, and will with every {'start' if job.user else 'login'} ({path})"]

    def uninstall(self, name: str) -> list[str]:
        """End and delete the task."""
        path = self._path(name)
        if path.exists():
            self._run("schtasks", "/end", "/tn", name)  # fails where it does not run
            must(self._run, "schtasks", "/delete", "/f", "/tn", name)
        taken(path, _ENCODING)
        return [f"the task {name} was ended and deleted; its state and configuration are still there"]

    def condition(self, name: str) -> Condition:
        """Whether there is a task, and whether an agent holds the lock of the state directory."""
        path = self._path(name)
        there = self._run("schtasks", "/query", "/tn", name).code == 0
        running = self._state_dir.is_dir() and resident(self._state_dir)
        detail = "the task is there" if there else "there is no such task"
        return Condition(installed=str(path) if there else None, running=running, detail=detail)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.task.xml"
