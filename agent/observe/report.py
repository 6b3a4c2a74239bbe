"""The support bundle: what somebody who is to help needs to see, in one file, without secrets."""

import json
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import PurePath
from typing import Any, NamedTuple

from pydantic import SecretStr

from agent.errors import LedgerError, Refused, cause
from agent.files import LOCAL
from agent.host import own_files
from agent.host.lock import resident
from agent.host.service import healthz
from agent.ledger import Ledger, State
from agent.observe.doubts import doubts
from agent.observe.logs import last_lines
from agent.observe.mask import Masker, arguments, arguments_written, names_a_file, written
from agent.observe.status import status
from rules.actions import Action, Command, Flow, Webhook, texts
from rules.config.settings import Configuration, DirectoryTable

_AT_MOST = 16 * 2**20
"""Bytes of a file that may hold secrets."""
_LINES = 5000
_FILES = 200
_BATCHES = 100
_TELLING = 8
"""Characters of what may be a secret: shorter ones are mostly words, and would be found everywhere."""
_LIMITS = (
    "fs/inotify/max_user_watches", "fs/inotify/max_user_instances", "fs/inotify/max_queued_events",
    "fs/leases-enable", "fs/file-max",
)  # fmt: skip


class Entry(NamedTuple):
    """One file of the bundle."""

    name: str
    what: str
    """For people."""
    size: int
    """Bytes."""


def write(target: PurePath, config: Configuration, config_error: str | None) -> list[Entry]:
    """Make the bundle. Returns what is in it. Raises Refused where it cannot be written, or is there already.

    Args:
        target: a ZIP file to be made.
        config: as far as it could be read.
        config_error: what is wrong with the file of the configuration, if anything is.
    """
    masker = Masker(_secrets(config), _arguments(config))
    entries = []
    try:
        with own_files.create(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, what, content in _parts(config, config_error):
                text = masker.text(content) if isinstance(content, str) else _text(masker.value(content))
                bundle.writestr(name, text.encode("utf-8", "backslashreplace"))
                entries.append(Entry(name, what, len(text)))
    except FileExistsError:
        raise Refused(f"{target} is there already", "name another file with --output") from None
    except OSError as error:
        raise Refused(f"{target} cannot be written: {cause(error)}", "name another file with --output") from None
    return entries


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"


def _parts(config: Configuration, config_error: str | None) -> Iterator[tuple[str, str, Any]]:
    yield (
        "configuration.json",
        "the configuration as it is in effect, without secrets",
        _configuration(config, config_error),
    )
    yield "system.json", "versions, this computer, file systems, free space, limits", _system(config)
    yield "status.json", "what `dropline status` says", _ask(config, lambda ledger: _status(ledger, config))
    yield "refused.json", "the last refused files, and why", _ask(config, _refused)
    yield "batches.json", "the last batches and their deliveries", _ask(config, _batches)
    yield (
        "log.txt",
        f"the last log lines, {_LINES} at the most",
        "".join(f"{line}\n" for line in last_lines(config.state_dir, _LINES)),
    )


def _configuration(config: Configuration, config_error: str | None) -> dict[str, Any]:
    return {
        "source": config.source,
        "mistake": config_error,
        "settings": config.settings.model_dump(mode="json", by_alias=True),
        # Their values are in effect above, and masked by key there.
        "environment": sorted(name for name in os.environ if name.upper().startswith("DROPLINE_")),
    }


def _ask(config: Configuration, question: Callable[[Ledger], Any]) -> Any:
    try:
        if not own_files.exists(config.ledger):
            return {"mistake": f"there is no ledger at {config.ledger}"}
        ledger = Ledger(str(config.ledger))
        try:
            return question(ledger)
        finally:
            ledger.close()
    except (LedgerError, Refused, OSError) as error:
        return {"mistake": str(error)}


def _status(ledger: Ledger, config: Configuration) -> dict[str, Any]:
    known = [(name, table.address) for name, table in config.settings.destinations.items()]
    known = known or [(name, at) for name, at, _, _ in ledger.reports.destinations()]
    return status(ledger, config.rules, known, config.scrubs, doubts(config), consumed=config.consumed)


def _refused(ledger: Ledger) -> list[dict[str, Any]]:
    return [
        {"path": file.path, "rule": file.rule, "size": file.version.size, "since": file.since, "reason": file.reason}
        for file in ledger.reports.files([State.REFUSED], _FILES)
    ]


def _batches(ledger: Ledger) -> list[dict[str, Any]]:
    return [{name: getattr(one, name) for name in one.__slots__} for one in ledger.reports.batches(_BATCHES)]


def _system(config: Configuration) -> dict[str, Any]:
    places = {"state_dir": str(config.state_dir)}
    places |= {f"rule {rule.name}": rule.watch for rule in config.rules}
    places |= {
        f"destination {name}": table.path
        for name, table in config.settings.destinations.items()
        if isinstance(table, DirectoryTable)
    }
    running = own_files.is_directory(config.state_dir) and resident(config.state_dir)
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "platform": platform.platform(),
        "python": sys.version,
        "interpreter": sys.executable,
        "user": _user(),
        "versions": _versions(),
        "agent_running": running,
        "healthz": healthz(config.settings.agent.listen) if running else None,
        "ledger_bytes": _size(config.ledger),
        "places": {name: _place(path) for name, path in places.items()},
        "limits": {name: _read(PurePath("/proc/sys", name)) for name in _LIMITS},
    }


def _versions() -> dict[str, str]:
    names = ["dropline"]
    for need in requires("dropline") or ():
        if "extra ==" not in need:
            names.append(need.partition(";")[0].strip(" ()").split(">")[0].split("=")[0].split("<")[0].split("[")[0])
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _user() -> dict[str, object]:
    if sys.platform == "win32":
        return {"name": os.environ.get("USERNAME", "")}
    return {"uid": os.getuid(), "gid": os.getgid()}


def _size(path: PurePath) -> int | None:
    try:
        return own_files.facts(path).size
    except OSError:
        return None  # there is none, or not ours to look at


def _place(path: str) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path}
    try:
        facts = own_files.facts(path)
    except OSError as error:
        return found | {"mistake": cause(error)}
    on, space = LOCAL.volume(path), LOCAL.space(path)
    return found | {
        "file_system": on.kind, "mounted_at": on.mounted_at, "remote": on.remote,
        "free_bytes": space and space.free,
        "total_bytes": round(space.free / space.fraction) if space is not None and space.fraction else None,
        "mode": oct(facts.mode), "uid": facts.owner, "gid": facts.group,
    }  # fmt: skip


def _read(path: PurePath) -> str | None:
    try:
        return own_files.read_bounded(path, _AT_MOST)[0].decode().strip()
    except OSError:
        return None  # not Linux, or not ours to read: it is then not known


def _secrets(config: Configuration) -> Iterator[str]:
    """Every secret that the agent could have got hold of, and written somewhere."""
    yield from _held(config.settings.model_dump())
    for one in (one for rule in config.rules for one in rule.actions.values()):
        yield from (word for word in _words(one) if len(word) >= _TELLING)
        if isinstance(one, Webhook) and one.secret_file is not None:
            yield from _kept_in(one.secret_file)
    notify = config.settings.notify
    if notify is not None and notify.webhook is not None and notify.webhook.url is not None:
        yield from _of_address(notify.webhook.url)
    for name, value in os.environ.items():
        if name.upper().startswith("DROPLINE_") and "SECRET" in name.upper():
            yield value
    yield from written(_contents(config.source))
    folder = config.state_dir / "globus"
    logins = [folder / "logins" / name for name in _names(folder / "logins")]
    for text in (text for one in (folder, *logins) for text in _all_contents(one)):
        yield from (word for word in text.replace('"', " ").split() if len(word) > 20)


def _arguments(config: Configuration) -> Iterator[str]:
    """Arguments of the commands, as they are in effect and as they are written."""
    for rule in config.rules:
        for one in rule.actions.values():
            yield from arguments(one.argv) if isinstance(one, Command) else ()
    yield from arguments_written(_contents(config.source))


def _held(value: Any, key: str = "") -> Iterator[str]:
    """What is written as a secret in the configuration, and in the files that it names for one."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, str) and names_a_file(key):
        yield from _kept_in(value)
    elif isinstance(value, dict):
        yield from (found for name, inner in value.items() for found in _held(inner, name))
    elif isinstance(value, list | tuple):
        yield from (found for inner in value for found in _held(inner))


def _kept_in(path: str) -> Iterator[str]:
    """A secret in its own file: as a whole, and its words."""
    text = _contents(path)
    yield from (text, *text.split())


def _of_address(url: str) -> Iterator[str]:
    """Parts of an address behind its host."""
    yield from (
        part for part in re.split(r"[/?&=]", url.partition("://")[2].partition("/")[2]) if len(part) >= _TELLING
    )


def _words(action: Action) -> Iterator[str]:
    """What of an action may be a secret: parts of an address, texts of a body."""
    if isinstance(action, Webhook):
        yield from _of_address(action.url)
    elif isinstance(action, Flow):
        yield from (one for one in texts(action.body or {}) if "{" not in one)


def _all_contents(folder: PurePath) -> list[str]:
    """The text of each file in a directory."""
    return [_contents(folder / name) for name in _names(folder)]


def _names(folder: PurePath) -> list[str]:
    try:
        return list(own_files.names(folder))
    except OSError:
        return []  # there is none, or, as of single files, nothing of it can be in there


def _contents(path: own_files.StrPath) -> str:
    try:
        return own_files.read_bounded(path, _AT_MOST)[0].decode("utf-8", "replace")
    except OSError:
        return ""  # who makes the report may not read it, so nothing of it can be in there by way of this command
