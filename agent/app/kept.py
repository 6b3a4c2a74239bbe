"""The configuration that the agent runs, kept in its state directory: commands need one while the file has an error."""

import json
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from agent.app.configuration import AT_MOST, Source, absolute, check
from agent.errors import Refused, cause
from agent.files import LOCAL
from agent.host import own_files
from agent.host.lock import locked, require_own
from agent.observe.status import old_rules
from rules.config.config_error import RuleError
from rules.config.settings import Configuration

FILE = "configuration.json"
_STATE_DIR = re.compile(r"""^[^#\n]*?\bstate_dir["']?[ \t]*=[ \t]*("[^"\n]*"|'[^'\n]*')""", re.MULTILINE)
"""The key in a file that is no TOML."""
_VARIABLE = "DROPLINE_AGENT__STATE_DIR"

log = logging.getLogger(__name__)


class KeptConfiguration:
    """Remembers the configuration that runs, and why the file as it is now does not."""

    def __init__(self) -> None:
        self.refused: str | None = None
        """Why the file, or an edit of it, is not in effect; None: what runs is what it says."""
        self._config: Configuration | None = None

    def took(self, config: Configuration) -> None:
        """It runs."""
        self._config, self.refused = config, None
        self._write(None)

    def not_taken(self, reason: str, stamp: tuple[int, int, int] | None) -> None:
        """What the file says now cannot be run. `stamp`: of the file."""
        self.refused = reason
        log.error("%s", old_rules(reason))
        self._write({"reason": reason, "stamp": stamp})

    def _write(self, refused: dict[str, Any] | None) -> None:
        config = self._config
        if config is None or config.data is None:
            return
        recorded = _recorded(config)
        source = _source(config) if recorded is None or owner_of(config) is not None else recorded
        record = {"source": source, "configuration": _without_secrets(config.data), "refused": refused}
        try:
            own_files.write_whole(config.state_dir / FILE, json.dumps(record, default=str).encode(), 0o600)
        except OSError as error:
            log.warning("%s cannot be written: %s; commands need the file %s", FILE, cause(error), source)


def _without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """What commands need that go by the ledger: no account, and nothing that is done or sent besides."""
    rules = [{key: value for key, value in rule.items() if key != "then"} for rule in data.get("rules", ())]
    return {key: data[key] for key in ("agent", "destinations") if key in data} | {"rules": rules}


def require_owner(config: Configuration) -> None:
    """Raises Refused where the state directory belongs to another configuration."""
    owner = owner_of(config)
    if owner is not None:
        raise Refused(
            f"the state directory {config.state_dir} belongs to the configuration {owner}, and this one is {_source(config)}",
            "give this one another state directory ([agent] state_dir), or, where it replaces the other, `dropline takeover`"
            f" --config {_source(config)}",
        )


def owner_of(config: Configuration) -> str | None:
    """The other configuration that the state directory belongs to, by its path as it was given; None: there is no other."""
    owner = _recorded(config)
    # One file under two names is one configuration; where releases change, the name as it was given stays.
    same = owner is None or LOCAL.resolve(owner) == LOCAL.resolve(_source(config))
    return None if same or config.data is None else owner  # `run --watch` has no file, and its state beside it


def _recorded(config: Configuration) -> str | None:
    try:
        record = _record(config.state_dir)
        return str(record["source"]) if record is not None else None
    except (OSError, ValueError, KeyError):
        return None


def take_over(config: Configuration) -> None:
    """The state directory belongs to this configuration from now on. Raises Refused where an agent uses it."""
    with locked(config.state_dir):
        KeptConfiguration().took(config)


def _source(config: Configuration) -> str:
    return str(absolute(PurePath(config.source)))


def last_good(file: Source) -> Configuration | None:
    """The configuration that the agent took last from a file which cannot be read now; None: there is none.

    Raises Refused where somebody else may have written it.
    """
    source = absolute(file.path)
    try:
        state_dir = _state_dir(file.text.decode("utf-8", "replace"), source.parent)
        record = _record(state_dir) if state_dir is not None else None
        if state_dir is None or record is None or record["source"] != str(source):
            return None
        require_own(state_dir / FILE)
        return check(record["configuration"], str(file.path), source.parent)
    except (OSError, ValueError, KeyError, TypeError, RuleError):
        return None


def why_refused(config: Configuration) -> str | None:
    """Why the running agent did not take this file, as it is, though it reads well; None: nothing is known of that."""
    try:
        refused = (_record(config.state_dir) or {}).get("refused") or {}
        same = refused.get("stamp") == list(config.stamp or ())
        return str(refused["reason"]) if same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(state_dir: PurePath) -> dict[str, Any] | None:
    found, _ = own_files.read_bounded(state_dir / FILE, 2 * AT_MOST)
    record = json.loads(found)
    return record if isinstance(record, dict) else None


def _state_dir(text: str, folder: PurePath) -> PurePath | None:
    """Where the state is by the environment, by a file that may be broken elsewhere, or by default."""
    written = os.environ.get(_VARIABLE)
    if not written:
        found = _STATE_DIR.search(text)
        written = tomllib.loads(f"x = {found[1]}")["x"] if found is not None else None
    if written:
        return PurePath(os.path.normpath(folder / os.path.expanduser(written)))
    from platformdirs import user_state_dir

    try:
        return PurePath(user_state_dir("dropline"))
    except RuntimeError:
        return None
