"""systemd: a unit of the whole computer, or of one person. systemd.service(5), systemd.exec(5), systemd.syntax(7)."""

import os
import re
from pathlib import PurePath

from jinja2 import Environment, PackageLoader, StrictUndefined

from agent.errors import Refused
from agent.host import own_files
from agent.host.service import MARK, Condition, Job, put, taken
from agent.host.service.programs import Run, must

SYSTEM = PurePath("/etc/systemd/system")
_HOMES = ("/home", "/root", "/run/user")
_PLAIN = re.compile(r"[A-Za-z0-9_./@:+,%-]+")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  (looked for, not written to)


def of_person() -> PurePath:
    """Where the units of the person who asks are."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return PurePath(home, "systemd", "user")


def _plain(value: str) -> str:
    return value.replace("%", "%%")


def _word(value: str) -> str:
    """One word of a list: quoted where blanks and similar characters count as part of it."""
    escaped = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
    return escaped if _PLAIN.fullmatch(value) else f'"{escaped}"'


def _command(value: str) -> str:
    return _word(value).replace("$", "$$")


class Systemd:
    """Units in a folder, and `systemctl`."""

    def __init__(self, run: Run, folder: PurePath, *, person: bool) -> None:
        """`person`: units of the one who asks, not of the computer."""
        self._run = run
        self._folder = folder
        self._scope = ("--user",) if person else ()
        # The unit is no markup: escaping for it is in the filters.
        self._templates = Environment(  # noqa: S701
            loader=PackageLoader("agent.host.service"),
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            undefined=StrictUndefined,  # a name that nobody gives would count as false
        )
        self._templates.filters |= {"word": _word, "command": _command, "plain": _plain}

    def text(self, job: Job) -> str:
        """The unit."""
        # Where the interpreter lies counts, too: an environment's `python` is a link to it.
        seen = (job.program, job.config, job.state_dir, *job.writes, *job.reads)
        below = os.path.relpath(job.state_dir, "/var/lib")
        return self._templates.get_template("dropline.service").render(
            job=job, mark=MARK, home=_any_below(seen, _HOMES), temporary=_any_below(seen, _TEMPORARY),
            state="" if below.startswith(("..", ".")) else below,
        )  # fmt: skip

    def install(self, job: Job) -> list[str]:
        """Write the unit; enable it; start or restart it, and wait until the agent is ready."""
        if job.user is not None and not os.path.isdir(job.state_dir) and not job.state_dir.startswith("/var/lib/"):
            raise Refused(
                f"the state directory {job.state_dir} is not there",
                f"make it with `install -d -m 700 -o {job.user} {job.state_dir}`, or choose one below /var/lib",
            )
        path = self._path(job.name)
        put(path, self.text(job))
        self._systemctl("daemon-reload")
        self._systemctl("enable", job.name)
        log = " ".join(("journalctl", *self._scope, "-u", job.name))
        must(self._run, *self._command("restart", job.name), hint=f"`{log}` and `dropline check` say more")
        told = [f"wrote {path}", f"{job.name} runs, and will with every {'start' if job.user else 'login'}; log: {log}"]
        if job.user is None:
            told.append("it ends when you log out, unless `loginctl enable-linger` lets it run without you")
        return told

    def uninstall(self, name: str) -> list[str]:
        """Stop and disable it, remove the unit."""
        path = self._path(name)
        if own_files.is_file(path):
            self._systemctl("disable", "--now", name)
        taken(path)
        self._systemctl("daemon-reload")
        return [f"{name} was stopped, and {path} removed; its state and configuration are still there"]

    def condition(self, name: str) -> Condition:
        """What `systemctl show` says."""
        wanted = ("ActiveState", "SubState", "ActiveEnterTimestamp", "StatusText", "NRestarts", "Result")
        shown = self._systemctl("show", name, "--timestamp=unix", f"--property={','.join(wanted)}")
        facts = dict(line.partition("=")[::2] for line in shown.splitlines())
        since = facts.get("ActiveEnterTimestamp", "").removeprefix("@")
        words = [f"{facts.get('ActiveState', '?')} ({facts.get('SubState', '?')})", facts.get("StatusText", "")]
        if facts.get("NRestarts", "0") != "0":
            words.append(f"restarted {facts['NRestarts']} times, last because of {facts.get('Result', '?')}")
        path = self._path(name)
        running = facts.get("ActiveState") in ("active", "reloading")
        return Condition(
            installed=str(path) if own_files.is_file(path) else None,
            running=running,
            since=float(since) if running and since.isdigit() else None,
            detail="; ".join(word for word in words if word),
        )

    def _path(self, name: str) -> PurePath:
        return self._folder / f"{name}.service"

    def _command(self, *words: str) -> tuple[str, ...]:
        return ("systemctl", *self._scope, *words)

    def _systemctl(self, *words: str) -> str:
        hint = "log in as that person: `su` and `sudo` open no session" if self._scope else "mend that and try again"
        return must(self._run, *self._command(*words), hint=hint)


def _any_below(paths: tuple[str, ...], folders: tuple[str, ...]) -> bool:
    real = [form for path in paths for form in (path, os.path.realpath(path))]
    return any(path == folder or path.startswith(f"{folder}/") for path in real for folder in folders)
