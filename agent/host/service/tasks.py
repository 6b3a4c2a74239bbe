"""The Task Scheduler of Windows: a task of one person, from login to logout."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import PurePath

from jinja2 import Environment, PackageLoader, StrictUndefined

from agent.errors import Refused
from agent.host import own_files
from agent.host.service import MARK, Condition, Job
from agent.host.service.job import of_windows
from agent.host.service.programs import Run, must


class Tasks:
    """Tasks of the person who asks, and `schtasks`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._templates = Environment(
            loader=PackageLoader("agent.host.service"), autoescape=True, undefined=StrictUndefined
        )

    def text(self, job: Job) -> str:
        """The task, as the scheduler reads it."""
        domain, user = os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", "")
        program, *words = _command(job)
        return self._templates.get_template("task.xml").render(
            job=job, mark=MARK, user=f"{domain}\\{user}" if domain else user,
            program=program, arguments=subprocess.list2cmdline(words),
        )  # fmt: skip

    def install(self, job: Job) -> list[str]:
        """Make the task, again where it is there, and start it."""
        if self._xml(job.name) is not None:
            self._require_ours(job.name)
            self._run("schtasks", "/end", "/tn", job.name)
        with own_files.temporary_folder("dropline-", keep=False) as folder:
            path = folder / "task.xml"
            own_files.write(path, self.text(job).encode("utf-16"))
            must(self._run, "schtasks", "/create", "/tn", job.name, "/xml", str(path), "/f")
        must(self._run, "schtasks", "/run", "/tn", job.name)
        return [f"made the task {job.name} of the Task Scheduler; it runs, and will from every login to logout"]

    def uninstall(self, name: str) -> list[str]:
        """End and remove the task. The agent ends as at a loss of power: its next start takes up what it left."""
        self._require_ours(name)
        self._run("schtasks", "/end", "/tn", name)
        must(self._run, "schtasks", "/delete", "/tn", name, "/f")
        return [f"the task {name} was ended and removed; its state and configuration are still there"]

    def condition(self, name: str) -> Condition:
        """Whether the task is there and its program runs: `schtasks` reports that in the language of the computer."""
        xml = self._xml(name)
        if xml is None or MARK not in xml:
            return Condition(installed=None, detail="there is no such task of Dropline")
        since = _since(name)
        detail = "runs" if since is not None else "does not run"
        return Condition(f"{name} of the Task Scheduler", since is not None, since, detail)

    def _xml(self, name: str) -> str | None:
        """The task as it is installed; None: there is none."""
        found = self._run("schtasks", "/query", "/tn", name, "/xml")
        xml = found.out.replace("\0", "")
        return xml if found.code == 0 and "<Task" in xml else None

    def _require_ours(self, name: str) -> None:
        xml = self._xml(name)
        if xml is None:
            raise Refused(f"the task {name} is not there", "`dropline service status --user` says what is installed")
        if MARK not in xml:
            raise Refused(f"the task {name} is there and was not made by Dropline", "give --name another name")


def _command(job: Job) -> Sequence[str]:
    windowless = PurePath(sys.executable).with_name("pythonw.exe")
    interpreter = str(windowless) if own_files.is_file(windowless) else sys.executable
    return of_windows(interpreter, job.name, job.config)


def _since(name: str) -> float | None:
    """When the process of the task was started; None: it does not run, as far as can be known."""
    import psutil  # the other commands do without it

    for process in psutil.process_iter(["cmdline", "create_time"]):
        words = process.info["cmdline"] or []
        if words[4:8] == ["service", "run", "--name", name]:
            started: float = process.info["create_time"]
            return started
    return None
